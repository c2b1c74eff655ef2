"""A network of hosts: datagrams, streams and connections, with all that can happen to them on the way.

A cut link loses datagrams. What TCP carries waits and is sent again at growing intervals, so that it may
arrive long after both ends have given up on it, as it does in reality. The end of a process breaks its
connections, which the other ends see when the link is whole; a host that loses power says nothing, and
answers what comes after with a reset once it is back.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeAlias, TypeVar

from simulations.world import World

Carrier: TypeAlias = Literal["udp", "tcp"]
Undo: TypeAlias = Callable[[], None]
T = TypeVar("T")

DATAGRAM_BYTES_MAX = 1472
"""What fits into 1500 bytes beside the headers of IPv4 and UDP."""
_SYN_AGAIN = (1.0, 3.0, 7.0)
"""Seconds from the start of a connection attempt to each repetition of it."""
_CONNECT_SECONDS_MAX = 2.0
_RESEND_FIRST = 0.2
_RESEND_MAX = 16.0
_RESENDS_MAX = 5
_GIVE_UP = 900.0
"""Seconds without an acknowledgement after which a connection breaks."""


@dataclass(slots=True)
class Links:
    """How messages fare: seconds of delay (uniform, and a tail), and shares of datagrams.

    What TCP carries is not lost but sent again, which takes longer.
    """

    delay_min: float = 0.0001
    delay_max: float = 0.002
    tail: float = 0.0
    """Seconds more, exponentially distributed: their mean."""
    loss: float = 0.0
    copies: float = 0.0
    """Arrive a second time."""
    late: float = 0.0
    """Are overtaken: they take up to `late_max` seconds longer."""
    late_max: float = 3.0

    @property
    def whole(self) -> bool:
        """Whether nothing is lost and nothing is much delayed."""
        return not self.loss and not self.late and not self.tail and self.delay_max <= 0.05


class Connection:
    """Two ends in order: what one sends the other receives, sooner or later."""

    def __init__(self, network: "Network", client: str, server: str) -> None:
        self._network = network
        self._hosts = (client, server)
        self._receivers: list[Callable[[bytes], None]] = [_nobody, _nobody]
        self._closers: list[Callable[[int | None], None]] = [_nobody, _nobody]
        self._clear_at = [0.0, 0.0]
        self._open = [True, True]
        self._gone = [False, False]
        self._stalled: list[deque[tuple[Callable[[], None], bytes]]] = [deque(), deque()]
        self._stalled_since = [0.0, 0.0]

    def attach(
        self, side: int, receive: Callable[[bytes], None], closed: Callable[[int | None], None]
    ) -> None:
        """`side` 0 is the client's, 1 the server's."""
        self._receivers[side], self._closers[side] = receive, closed

    def send(self, side: int, data: bytes) -> None:
        if self._open[side]:
            self._later(side, lambda: self._received(1 - side, data), data)

    def close(self, side: int, code: int | None) -> None:
        """End it; the other side hears of it in time. `code` None: the process died."""
        if self._open[side]:
            self._open[side] = False
            self._later(side, lambda: self._ended(1 - side, code), str(code).encode())

    def drop(self, side: int) -> None:
        """The host of `side` lost its power: nothing is said, and nothing that waits is sent."""
        self._open[side], self._gone[side] = False, True
        self._stalled[side].clear()

    def _received(self, side: int, data: bytes) -> None:
        if self._open[side]:
            self._receivers[side](data)

    def _ended(self, side: int, code: int | None) -> None:
        if self._open[side]:
            self._open[side] = False
            self._closers[side](code)

    def _later(self, side: int, action: Callable[[], None], data: bytes) -> None:
        network, (source, target) = self._network, (self._hosts[side], self._hosts[1 - side])
        arrives = max(self._clear_at[side], network.carried(source, target))
        self._clear_at[side] = arrives

        def arrive() -> None:
            if self._gone[side]:
                return
            if self._stalled[side] or not network.reaches(source, target):
                if not self._stalled[side]:
                    self._stalled_since[side] = network.world.now
                    network.world.after(_RESEND_FIRST, lambda: self._again(side, _RESEND_FIRST))
                self._stalled[side].append((action, data))
            else:
                self._arrived(side, action, data)

        network.world.at(arrives, arrive)

    def _arrived(self, side: int, action: Callable[[], None], data: bytes) -> None:
        self._network.world.note("connection", *self._hosts[:: 1 - 2 * side], data)
        if self._gone[1 - side]:
            self._network.world.after(self._network.delay(*self._hosts), lambda: self._ended(side, None))
        else:
            action()

    def _again(self, side: int, waited: float) -> None:
        world = self._network.world
        if not self._stalled[side]:
            return
        if self._network.reaches(self._hosts[side], self._hosts[1 - side]):
            stalled, self._stalled[side] = self._stalled[side], deque()
            for action, data in stalled:
                self._arrived(side, action, data)
        elif world.now - self._stalled_since[side] > _GIVE_UP:
            self._stalled[side].clear()
            self._ended(side, None)
        else:
            wait = min(_RESEND_MAX, 2 * waited)
            world.after(wait, lambda: self._again(side, wait))


def _nobody(_: object) -> None:
    """Nobody listens at this end yet."""


class Network:
    """Hosts are names; whoever listens is registered by (host, port)."""

    def __init__(self, world: World, links: Links | None = None) -> None:
        self.world = world
        self.links = links or Links()
        self.packets: Counter[str] = Counter()
        """Datagrams sent, by host."""
        self.mtu = DATAGRAM_BYTES_MAX
        """Larger datagrams are lost, as behind a tunnel that tells nobody."""
        self.oversized: Counter[str] = Counter()
        """Datagrams that no network would carry, by host."""
        self._by_link: dict[tuple[str, str], Links] = {}
        self.streams: Counter[str] = Counter()
        """Streams begun, by host."""
        self._random: Random = world.random("network")
        self._datagrams: dict[tuple[str, int], Callable[[bytes, tuple[str, int]], None]] = {}
        self._streams: dict[tuple[str, int], Callable[[bytes, Callable[[bytes | None], None]], None]] = {}
        self._servers: dict[tuple[str, int], Callable[[Connection, str, Callable[[], None]], None]] = {}
        self._cut: Counter[tuple[Carrier, str, str]] = Counter()
        self._clogged: dict[tuple[str, str], float] = {}
        self._dark: set[str] = set()
        self._healed = 0

    def listen(
        self,
        host: str,
        port: int,
        datagram: Callable[[bytes, tuple[str, int]], None],
        stream: Callable[[bytes, Callable[[bytes | None], None]], None],
    ) -> None:
        """Receive datagrams (data, sender) and answer streams (request, reply) on `port` of `host`."""
        self._datagrams[host, port] = datagram
        self._streams[host, port] = stream
        self._dark.discard(host)

    def serve(
        self, host: str, port: int, accept: Callable[[Connection, str, Callable[[], None]], None]
    ) -> None:
        """Take connections on `port` of `host`: `accept` gets it, the client's host, and what opens it."""
        self._servers[host, port] = accept

    def vanish(self, host: str, *, dark: bool = False) -> None:
        """Nobody listens on `host` any more; without power it does not even say so."""
        for table in (self._datagrams, self._streams, self._servers):
            for key in [key for key in table if key[0] == host]:
                del table[key]
        if dark:
            self._dark.add(host)

    def light(self, host: str) -> None:
        """`host` has power again."""
        self._dark.discard(host)

    # What breaks

    def cut(
        self,
        left: str,
        right: str,
        *,
        one_way: bool = False,
        carriers: tuple[Carrier, ...] = ("udp", "tcp"),
    ) -> Undo:
        """Let nothing through between two hosts until it is undone, or all is healed."""
        ways = [(left, right)] if one_way else [(left, right), (right, left)]
        keys = [(carrier, *way) for carrier in carriers for way in ways]
        self._cut.update(keys)
        healed = self._healed

        def undo() -> None:
            if healed == self._healed:
                self._cut.subtract(keys)

        return undo

    def partition(self, *sides: list[str]) -> Undo:
        """Cut every link between hosts of different sides."""
        undo = [
            self.cut(left, right)
            for at, side in enumerate(sides)
            for other in sides[at + 1 :]
            for left in side
            for right in other
        ]

        def undo_all() -> None:
            for one in undo:
                one()

        return undo_all

    def set_link(self, left: str, right: str, links: Links, *, one_way: bool = False) -> Undo:
        """What travels between two hosts fares by `links` until it is undone, or all is healed."""
        ways = [(left, right)] if one_way else [(left, right), (right, left)]
        for way in ways:
            self._by_link[way] = links

        def undo() -> None:
            for way in ways:
                if self._by_link.get(way) is links:
                    del self._by_link[way]

        return undo

    def clog(self, source: str, target: str, seconds: float) -> None:
        """What is sent from `source` to `target` within the next `seconds` arrives at their end."""
        self._clogged[source, target] = self.world.now + seconds

    def heal(self) -> None:
        """All links are whole again."""
        self._cut.clear()
        self._clogged.clear()
        self._by_link.clear()
        self.mtu = DATAGRAM_BYTES_MAX
        self._healed += 1

    @property
    def whole(self) -> bool:
        """Whether every link is."""
        clogged = any(until > self.world.now for until in self._clogged.values())
        narrow = self.mtu < DATAGRAM_BYTES_MAX
        cut = any(self._cut.values())
        return not (cut or clogged or self._by_link or narrow) and self.links.whole

    def is_cut(self, source: str, target: str, carrier: Carrier) -> bool:
        return self._cut[carrier, source, target] > 0

    def reaches(self, source: str, target: str) -> bool:
        """Whether TCP gets anything from `source` to `target`."""
        return not self.is_cut(source, target, "tcp") and target not in self._dark

    def delay(self, source: str, target: str) -> float:
        """Seconds that something takes on the way, now."""
        links = self._links(source, target)
        tail = self._random.expovariate(1 / links.tail) if links.tail else 0.0
        return self._random.uniform(links.delay_min, links.delay_max) + tail

    def _links(self, source: str, target: str) -> Links:
        return self._by_link.get((source, target), self.links) if self._by_link else self.links

    def arrival(self, source: str, target: str) -> float:
        """When what is sent now arrives, if it does."""
        return max(self._clogged.get((source, target), 0.0), self.world.now) + self.delay(source, target)

    def carried(self, source: str, target: str) -> float:
        """When something that TCP carries arrives, if it does: what is lost is sent again."""
        links, again = self._links(source, target), 0.0
        for at in range(_RESENDS_MAX):
            if not self._happens(links.loss):
                break
            again += _RESEND_FIRST * 2**at
        return self.arrival(source, target) + again

    # What travels

    def send(self, source: tuple[str, int], target: tuple[str, int], data: bytes) -> None:
        """One datagram."""
        links = self._links(source[0], target[0])
        self.packets[source[0]] += 1
        if len(data) > self.mtu:
            if len(data) > DATAGRAM_BYTES_MAX:
                self.oversized[source[0]] += 1
            return
        if self.is_cut(source[0], target[0], "udp") or self._happens(links.loss):
            return

        def arrive() -> None:
            receiver = self._datagrams.get(target)
            if receiver is not None and not self.is_cut(source[0], target[0], "udp"):
                self.world.note("packet", f"{source} {target}", data)
                receiver(data, source)

        for _ in range(2 if self._happens(links.copies) else 1):
            late = self._random.uniform(0.0, links.late_max) if self._happens(links.late) else 0.0
            self.world.at(self.arrival(source[0], target[0]) + late, arrive)

    def _happens(self, share: float) -> bool:
        return share > 0.0 and self._random.random() < share

    def exchange(
        self,
        source: str,
        target: tuple[str, int],
        request: bytes,
        timeout: float,
        answered: Callable[[bytes | None], None],
    ) -> None:
        """One stream: a request and its answer, None where there is none within `timeout`.

        A request that was sent arrives even where whoever asked has given up.
        """
        outcome = _once(answered)
        self.streams[source] += 1
        self.world.after(timeout, lambda: outcome(None))

        def arrive() -> None:
            receiver = self._streams.get(target)
            self.world.note("stream", f"{source} {target}", request)
            if receiver is None:
                back(None)
            else:
                receiver(request, back)

        def back(answer: bytes | None) -> None:
            self._resent(target[0], source, lambda: returned(answer))

        def returned(answer: bytes | None) -> None:
            self.world.note("answer", f"{target} {source}", answer or b"")
            outcome(answer)

        def open_() -> None:
            self._resent(source, target[0], arrive)

        self._handshake(source, target[0], timeout, open_)

    def connect(
        self, source: str, target: tuple[str, int], connected: Callable[[Connection | None], None]
    ) -> None:
        """Open a connection; None where nobody listens, or where there is none after 2 s."""
        outcome = _once(connected)
        self.world.after(_CONNECT_SECONDS_MAX, lambda: outcome(None))

        def arrive() -> None:
            accept = self._servers.get(target)
            if accept is None:
                self.world.after(self.delay(target[0], source), lambda: outcome(None))
                return
            connection = Connection(self, source, target[0])

            def opened() -> None:
                if not outcome(connection):
                    connection.close(0, None)

            accept(connection, source, lambda: self._resent(target[0], source, opened))

        self._handshake(source, target[0], _CONNECT_SECONDS_MAX, arrive)

    def _handshake(self, source: str, target: str, patience: float, opened: Callable[[], None]) -> None:
        """`opened` where both ways are whole within `patience` seconds, at one of the attempts."""
        attempts = [self.world.now, *(self.world.now + wait for wait in _SYN_AGAIN if wait < patience)]

        def attempt(at: int) -> None:
            if self.reaches(source, target) and self.reaches(target, source):
                opened()
            elif at + 1 < len(attempts):
                self.world.at(attempts[at + 1], lambda: attempt(at + 1))

        self.world.at(self.carried(source, target), lambda: attempt(0))

    def _resent(self, source: str, target: str, action: Callable[[], None]) -> None:
        """`action` once the way from `source` to `target` is whole."""

        def attempt(wait: float) -> None:
            if self.reaches(source, target):
                action()
            elif wait < 4 * _RESEND_MAX:
                self.world.after(min(wait, _RESEND_MAX), lambda: attempt(2 * wait))

        self.world.at(self.carried(source, target), lambda: attempt(_RESEND_FIRST))


def _once(action: Callable[[T], None]) -> Callable[[T], bool]:
    """`action` for the first call only; true for that."""
    calls: list[T] = []

    def call(value: T) -> bool:
        calls.append(value)
        if len(calls) == 1:
            action(value)
        return len(calls) == 1

    return call
