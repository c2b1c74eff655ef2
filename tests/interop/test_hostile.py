"""A manager among strangers: whatever they send, it and its group carry on and keep their state.

Each case is sent to `m1`. After each its cause is counted, its memory has grown by no more than 64 MB, and
`m2` sees it alive and holds with it what an operator had set before.
"""

import os
import socket
import threading
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from random import Random

from gossip.messages import Alive, Message, Ping
from gossip.wire import PLAIN, Keyring, Layers, encode_message
from tests.e2e.cluster import GOSSIP_PORT, Cluster, wait_for
from tests.interop.hostile import CASES, NOWHERE, Case

KEY = "MDEyMzQ1Njc4OTo7PD0+P0BBQkNERUZHSElKS0xNTk8="
GROWTH_BYTES_MAX = 64 * 2**20
SILENT = 200
SLOW = 20
A_LONG_STATE = b"\x06\x83\xa4Join\xc3\xa5Nodes\x00\xacUserStateLen\xcd\xff\xff"
A_LONG_FRAME = b"\x0a\x00\x00\xff\xff"
MAX_NODES = 7
STREAM_SECONDS_MAX = 6.0
WITHOUT_THE_KEY = frozenset({"plaintext", "undecryptable", "encrypted", "empty", "too_big", "bad_type"})
"""For one of these everything is refused that comes without the key, whatever is inside."""


class Stranger:
    """Somebody at an address of its own, who sends to `m1`; with `layers` it has the key of the group."""

    def __init__(self, cluster: Cluster, layers: Layers) -> None:
        self.layers = layers
        self._target = (cluster.address("m1"), GOSSIP_PORT)
        self._source = f"{cluster.net}.99"
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((self._source, 0))

    def close(self) -> None:
        self._udp.close()

    def packets(self, packets: Iterator[bytes]) -> None:
        for at, packet in enumerate(packets):
            if at % 25 == 24:
                # What is lost in the socket's buffer tries nothing.
                time.sleep(0.005)
            packet = self.layers.around(packet) if packet else packet
            self._udp.sendto(packet[:65_000], self._target)

    def connect(self) -> socket.socket:
        return socket.create_connection(self._target, 5.0, (self._source, 0))

    def streams(self, streams: Iterator[bytes]) -> None:
        """Each on a connection of its own, until it is closed at the other end."""
        for data in streams:
            if self.layers.keyring is not None:
                frame = b"\x0a" + (len(data) + 29).to_bytes(4)
                data = frame + self.layers.sealed(data, frame)
            with self.connect() as tcp:
                tcp.settimeout(STREAM_SECONDS_MAX)
                try:
                    tcp.sendall(data)
                    tcp.shutdown(socket.SHUT_WR)
                    while tcp.recv(65536):
                        pass
                except OSError:
                    pass


class Watched:
    """The group of `m1` and `m2` as its operator sees it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._pid = cluster.managers["m1"].popen.pid

    def memory(self, of: str = "VmRSS") -> int:
        status = Path(f"/proc/{self._pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith(of)]
        return int(line.split()[1]) * 1024

    def rejected(self) -> Counter[str]:
        """What `m1` counted, by reason."""
        return self.cluster.rejected("m1")

    def well(self) -> bool:
        """Whether both run, see each other alive, and hold what was set."""
        cluster = self.cluster
        return all(
            cluster.managers[name].running
            and {"m1": "alive", "m2": "alive"}.items() <= cluster.members(name).items()
            and cluster.get(name, "subscription")["max_nodes"] == MAX_NODES
            for name in ("m1", "m2")
        )

    def counts_more(self, before: Counter[str], reasons: frozenset[str]) -> bool:
        after = self.rejected()
        return not reasons or any(after[reason] > before[reason] for reason in reasons)


@contextmanager
def watched_group(cluster: Cluster, config: str) -> Iterator[Watched]:
    cluster.start_managers(2, config=config)
    assert cluster.kcm("subscription", "set", f"--max-nodes={MAX_NODES}").returncode == 0
    watched = Watched(cluster)
    wait_for(watched.well, 5.0, "the group is formed")
    yield watched
    for name in ("m1", "m2"):
        text = cluster.managers[name].text
        assert "Traceback" not in text, text[-3000:]
        for member in ("m1", "m2"):
            assert f"member {member} is dead" not in text


@contextmanager
def slow_writers(stranger: Stranger, begun: bytes) -> Iterator[None]:
    """Connections that send a byte now and then of what they have `begun`, and never end."""
    over = threading.Event()
    with ExitStack() as stack:
        connections = [stack.enter_context(stranger.connect()) for _ in range(SLOW)]

        def write() -> None:
            for byte in begun + bytes(10_000):
                for tcp in connections:
                    with suppress(OSError):
                        tcp.send(bytes((byte,)))
                if over.wait(0.2):
                    return

        thread = threading.Thread(target=write)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def try_all(watched: Watched, strangers: list[tuple[Stranger, frozenset[str]]]) -> None:
    """Each case by each stranger: for one of `reasons` what it sends is refused, else for the case's own."""
    for case in CASES:
        for stranger, reasons in strangers:
            attempt(watched, case, stranger, reasons or case.reasons)


def attempt(watched: Watched, case: Case, stranger: Stranger, reasons: frozenset[str]) -> None:
    before, memory, began = watched.rejected(), watched.memory(), time.monotonic()
    stranger.packets(case.packets())
    stranger.streams(case.streams())
    what = f"after {case.name}"
    wait_for(lambda: watched.counts_more(before, reasons), 10.0, f"{what} one of {set(reasons)} is counted")
    wait_for(watched.well, 10.0, f"{what} all is well")
    grown = watched.memory() - memory
    print(f"{case.name}: {time.monotonic() - began:.1f} s, {grown / 2**20:+.1f} MB")
    assert grown <= GROWTH_BYTES_MAX, what


def silent_connections(watched: Watched, stranger: Stranger) -> None:
    before = watched.rejected()
    with ExitStack() as stack:
        for _ in range(SILENT):
            stack.enter_context(stranger.connect())
        wait_for(
            lambda: watched.counts_more(before, frozenset({"too_many_streams"})), 10.0, "they are too many"
        )
        wait_for(watched.well, 10.0, "all is well beside them")


def test_without_a_key_whatever_arrives_disturbs_nobody(cluster: Cluster) -> None:
    with watched_group(cluster, "") as watched, closing(Stranger(cluster, PLAIN)) as stranger:
        with slow_writers(stranger, A_LONG_STATE):
            try_all(watched, [(stranger, frozenset())])
            wait_for(lambda: watched.rejected()["too_slow"] >= SLOW, 15.0, "slow writers are cut off")
        silent_connections(watched, stranger)


def test_under_a_key_whatever_arrives_with_or_without_it_disturbs_nobody(cluster: Cluster) -> None:
    layers = Layers(Keyring([b64decode(KEY)]), b"", os.urandom)
    with (
        watched_group(cluster, f"gossip: {{key: {KEY}}}\n") as watched,
        closing(Stranger(cluster, PLAIN)) as outside,
        closing(Stranger(cluster, layers)) as inside,
    ):
        with slow_writers(outside, A_LONG_FRAME):
            try_all(watched, [(outside, WITHOUT_THE_KEY), (inside, frozenset())])
            wait_for(lambda: watched.rejected()["too_slow"] >= SLOW, 15.0, "slow writers are cut off")
        silent_connections(watched, outside)
        replayed(watched, outside, layers)


def replayed(watched: Watched, stranger: Stranger, layers: Layers) -> None:
    """Whoever has recorded packets of the group sends each of them again, spoilt and whole."""
    before, random = watched.rejected(), Random(5)
    said: list[Message] = [Ping(1, "m1"), Alive("ghost", 1, NOWHERE)]
    recorded = [layers.around(encode_message(message)) for message in said]
    for packet in recorded:
        turned = bytearray(packet)
        turned[random.randrange(13, len(turned))] ^= 1
        stranger.packets(iter((packet, packet, packet, bytes(turned))))
    wait_for(
        lambda: watched.counts_more(before, frozenset({"replayed"})), 10.0, "replayed packets are counted"
    )
    wait_for(watched.well, 10.0, "all is well after replayed packets")
