"""Where nodes come in to a simulated manager: their connections, and what is said over them."""

from collections.abc import Callable
from itertools import count

from manager.core import Manager
from node.codec import ProtocolError, decode, encode
from node.protocol import AnyMessage, ManagerMessage, Report
from simulations.line import Line
from simulations.loop import Loop
from simulations.network import Connection


class NodeDoor:
    """Of one process, whose `core()` is told what comes; `heard()` is called whenever it was."""

    def __init__(self, loop: Loop, core: Callable[[], Manager], heard: Callable[[], None]) -> None:
        self._loop = loop
        self._core = core
        self._heard = heard
        self._line = Line(loop)
        self._connections: dict[int, Connection] = {}
        self._numbers = count(1)

    def accept(self, connection: Connection, client: str, opened: Callable[[], None]) -> None:
        """A node connects from IP address `client`."""
        number, loop = next(self._numbers), self._loop
        self._connections[number] = connection
        connection.attach(
            1,
            lambda data: loop.submit(lambda: self._received(number, data, client)),
            lambda code: loop.submit(lambda: self._closed(number, code)),
        )
        loop.submit(opened)

    def _received(self, conn: int, data: bytes, client: str) -> None:
        try:
            message = decode(data)
        except ProtocolError as error:
            raise AssertionError(f"a node sent what no manager can read: {error}") from error
        if isinstance(message, Report):
            self._line.put(conn, lambda: self._said(conn, message, client))
        else:
            self._line.take(conn)
            self._said(conn, message, client)

    def _said(self, conn: int, message: AnyMessage | None, client: str) -> None:
        if message is not None and conn in self._connections:
            self._core().node_message(conn, message, client, self._loop.now, more=True)  # type: ignore[arg-type]
            self._heard()

    def _closed(self, conn: int, code: int | None) -> None:
        self._line.take(conn)
        if self._connections.pop(conn, None) is not None:
            self._core().node_closed(conn, code, self._loop.now, more=True)
            self._heard()

    def is_open(self, conn: int) -> bool:
        """Whether that connection is there still."""
        return conn in self._connections

    def send(self, conn: int, message: ManagerMessage) -> None:
        """Say it over an open connection."""
        self._connections[conn].send(1, encode(message))

    def close(self, conn: int, code: int) -> None:
        """From our end; nothing where it is closed already."""
        if (connection := self._connections.pop(conn, None)) is not None:
            connection.close(1, code)

    def end(self, code: int | None) -> None:
        """The process ends: its connections do, by a close with `code` or, for None, without."""
        for connection in list(self._connections.values()):
            connection.close(1, code)

    def vanish(self) -> None:
        """The host is gone, without a word."""
        for connection in self._connections.values():
            connection.drop(1)
