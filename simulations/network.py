"""A network of hosts: datagrams, streams and connections, with delay, loss and cuts.

A cut link loses what is sent over it and breaks nothing: both ends of a connection see silence. The end of
a process breaks its connections, which the other ends see if the link is whole.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from simulations.world import World


@dataclass(slots=True)
class Links:
    """How messages fare: seconds of delay (uniform), and the share of datagrams that is lost."""

    delay_min: float = 0.0001
    delay_max: float = 0.002
    loss: float = 0.0


class Connection:
    """Two ends in order: what one sends, the other receives, or nobody where the link is cut."""

    def __init__(self, network: "Network", client: str, server: str) -> None:
        self._network = network
        self._hosts = (client, server)
        self._receivers: list[Callable[[bytes], None]] = [_nobody, _nobody]
        self._closers: list[Callable[[int | None], None]] = [_nobody, _nobody]
        self._clear_at = [0.0, 0.0]
        self._open = [True, True]

    def attach(
        self, side: int, receive: Callable[[bytes], None], closed: Callable[[int | None], None]
    ) -> None:
        """`side` 0 is the client's, 1 the server's."""
        self._receivers[side], self._closers[side] = receive, closed

    def send(self, side: int, data: bytes) -> None:
        if self._open[side]:
            self._later(side, lambda: self._receivers[1 - side](data), data)

    def close(self, side: int, code: int | None) -> None:
        """End it; the other side hears of it if the link is whole. `code` None: the process died."""
        if self._open[side]:
            self._open[side] = False
            self._later(side, lambda: self._ended(1 - side, code), str(code).encode())

    def _ended(self, side: int, code: int | None) -> None:
        if self._open[side]:
            self._open[side] = False
            self._closers[side](code)

    def _later(self, side: int, action: Callable[[], None], data: bytes) -> None:
        source, target = self._hosts[side], self._hosts[1 - side]
        if self._network.is_cut(source, target):
            return
        world = self._network.world
        arrives = max(self._clear_at[side], world.now + self._network.delay())
        self._clear_at[side] = arrives

        def arrive() -> None:
            if self._open[1 - side] and not self._network.is_cut(source, target):
                world.note("connection", source, target, data)
                action()

        world.at(arrives, arrive)


def _nobody(_: object) -> None:
    """Nobody listens at this end yet."""


class Network:
    """Hosts are names; whoever listens is registered by (host, port)."""

    def __init__(self, world: World, links: Links | None = None) -> None:
        self.world = world
        self.links = links or Links()
        self.packets = 0
        self._random: Random = world.random("network")
        self._datagrams: dict[tuple[str, int], Callable[[bytes, tuple[str, int]], None]] = {}
        self._streams: dict[tuple[str, int], Callable[[bytes], bytes | None]] = {}
        self._servers: dict[tuple[str, int], Callable[[Connection, str], None]] = {}
        self._cut: set[tuple[str, str]] = set()

    def listen(
        self,
        host: str,
        port: int,
        datagram: Callable[[bytes, tuple[str, int]], None],
        stream: Callable[[bytes], bytes | None],
    ) -> None:
        """Receive datagrams (data, sender) and answer streams on `port` of `host`."""
        self._datagrams[host, port] = datagram
        self._streams[host, port] = stream

    def serve(self, host: str, port: int, accept: Callable[[Connection, str], None]) -> None:
        """Take connections on `port` of `host`; `accept` gets the connection and the client's host."""
        self._servers[host, port] = accept

    def vanish(self, host: str) -> None:
        """Nobody listens on `host` any more."""
        for table in (self._datagrams, self._streams, self._servers):
            for key in [key for key in table if key[0] == host]:
                del table[key]

    def cut(self, left: str, right: str) -> None:
        """Lose everything between two hosts, both ways."""
        self._cut |= {(left, right), (right, left)}

    def partition(self, *sides: list[str]) -> None:
        """Cut every link between hosts of different sides."""
        for at, side in enumerate(sides):
            for other in sides[at + 1 :]:
                for left in side:
                    for right in other:
                        self.cut(left, right)

    def heal(self) -> None:
        """All links are whole again."""
        self._cut.clear()

    def is_cut(self, source: str, target: str) -> bool:
        return (source, target) in self._cut

    def delay(self) -> float:
        return self._random.uniform(self.links.delay_min, self.links.delay_max)

    def send(self, source: tuple[str, int], target: tuple[str, int], data: bytes) -> None:
        """One datagram."""
        self.packets += 1
        if self.is_cut(source[0], target[0]) or self._random.random() < self.links.loss:
            return

        def arrive() -> None:
            receiver = self._datagrams.get(target)
            if receiver is not None and not self.is_cut(source[0], target[0]):
                self.world.note("packet", f"{source} {target}", data)
                receiver(data, source)

        self.world.after(self.delay(), arrive)

    def exchange(
        self,
        source: str,
        target: tuple[str, int],
        request: bytes,
        timeout: float,
        answered: Callable[[bytes | None], None],
    ) -> None:
        """One stream: a request and its answer, None where there is none within `timeout`."""
        ends = self.world.now + timeout

        def arrive() -> None:
            if self.is_cut(source, target[0]):
                self.world.at(ends, lambda: answered(None))
                return
            receiver = self._streams.get(target)
            self.world.note("stream", f"{source} {target}", request)
            answer = None if receiver is None else receiver(request)
            self.world.after(self.delay(), lambda: back(answer))

        def back(answer: bytes | None) -> None:
            if self.is_cut(source, target[0]):
                self.world.at(ends, lambda: answered(None))
                return
            self.world.note("answer", f"{target} {source}", answer or b"")
            answered(answer)

        self.world.after(self.delay() + self.delay(), arrive)

    def connect(
        self, source: str, target: tuple[str, int], connected: Callable[[Connection | None], None]
    ) -> None:
        """Open a connection; None where nobody listens, or, after 2 s, where the link is cut."""

        def arrive() -> None:
            if self.is_cut(source, target[0]):
                self.world.after(2.0, lambda: connected(None))
                return
            accept = self._servers.get(target)
            if accept is None:
                self.world.after(self.delay(), lambda: connected(None))
                return
            connection = Connection(self, source, target[0])
            accept(connection, source)
            self.world.after(self.delay(), lambda: connected(connection))

        self.world.after(self.delay(), arrive)
