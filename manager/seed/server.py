"""The server that nodes connect to: one WebSocket each, behind a door that costs strangers more than us."""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from ssl import SSLContext

from manager.acceptor import Acceptor
from manager.seed.allowance import RATE_MAX, REPORTS_TOLERATED
from manager.seed.connection import HELLO_SECONDS_MAX, Connection
from manager.seed.frames import TOGETHER_SECONDS
from manager.seed.together import Together
from node.codec import encode
from node.protocol import CLOSE_GOING, LimitsPush, ManagerMessage, Managers, NodeMessage, Reported

_NOTHING_TO_ANSWER = (Reported, LimitsPush, Managers)
"""Whoever is told these says its next word when its next report is due."""


class SeedServer:
    """Calls `message(conn, message, peer)` and `closed(conn, code)`; `rejected(reason, peer)` counts."""

    def __init__(
        self,
        *,
        message: Callable[[int, NodeMessage, str], None],
        closed: Callable[[int, int | None], None],
        rejected: Callable[[str, str], None],
        near: Callable[[str], bool],
        heartbeat: float = 5.0,
        handshake_failed: Callable[[str, OSError], None] = lambda peer, error: None,
    ) -> None:
        self._handshake_failed = handshake_failed
        self.rejected = rejected
        self.near = near
        self.message = message
        self.closed = closed
        self.ungreeted: Counter[str] = Counter()
        self.numbers: Iterator[int] = count(1)
        self.rate = max(RATE_MAX, REPORTS_TOLERATED / heartbeat)
        self.connections: dict[int, Connection] = {}
        """Those that speak for a node, by number. Not to be written by others than they."""
        self._open: set[Connection] = set()
        self._line: list[Connection] = []
        """Those that have said something, to be taken together."""
        self._all_gone = asyncio.Event()
        self._acceptor: Acceptor | None = None
        self.together = Together()

    async def open(self, sockets: list[socket.socket], tls: SSLContext | None = None) -> None:
        """Serve on these listening sockets, by TLS where it is given."""
        self._acceptor = Acceptor(
            lambda: Connection(self), self._too_many, tls, HELLO_SECONDS_MAX, self._handshake_failed
        )
        self._acceptor.open(sockets)

    async def close(self) -> None:
        """Stop listening and let every connection go."""
        if self._acceptor is not None:
            self._acceptor.close()
        self._take_line()
        self.connections.clear()
        for connection in list(self._open):
            connection.end(CLOSE_GOING, "this manager stops")
        if self._open:
            self._all_gone.clear()
            await self._all_gone.wait()  # each is aborted when its time is over
        self.together.close()

    def _too_many(self, peer: str) -> None:
        self.rejected("too_many_without_hello", peer)

    def came(self, connection: Connection) -> None:
        self._open.add(connection)

    def went(self, connection: Connection) -> None:
        self._open.discard(connection)
        if not self._open:
            self._all_gone.set()

    def line_up(self, connection: Connection) -> None:
        """It has said something that can wait for others."""
        if not self._line:
            asyncio.get_running_loop().call_later(TOGETHER_SECONDS, self._take_line)
        self._line.append(connection)

    def _take_line(self) -> None:
        line, self._line = self._line, []
        for connection in line:
            connection.take_alone()

    def send(self, conn: int, message: ManagerMessage) -> None:
        """Send on `conn`, if it is still there."""
        connection = self.connections.get(conn)
        if connection is None:
            return
        if not isinstance(message, _NOTHING_TO_ANSWER):
            connection.rouse()
        if not connection.put(encode(message)):
            self.rejected("slow_reader", connection.peer)
            connection.abort()

    def end(self, conn: int, code: int, reason: str) -> None:
        """Close `conn` after what was sent; `closed` is not called for it."""
        connection = self.connections.pop(conn, None)
        if connection is not None:
            connection.end(code, reason)
