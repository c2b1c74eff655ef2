"""The server that nodes connect to: one WebSocket each, behind a door that costs strangers more than us."""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from itertools import count
from ssl import SSLContext
from typing import cast

from manager.acceptor import Acceptor
from manager.websocket import (
    CLOSE_NORMAL,
    MESSAGE_TOO_BIG,
    FrameError,
    Frames,
    Opcode,
    RequestError,
    accepted,
    answered,
    close_code,
    close_frame,
    frame,
    read_request,
)
from node.protocol import (
    CLOSE_GOING,
    CLOSE_PROTOCOL,
    FRAME_BYTES_MAX,
    PATH,
    SUBPROTOCOL,
    Hello,
    ManagerMessage,
    NodeMessage,
    ProtocolError,
    decode,
    encode,
)

UNGREETED_MAX = 256
"""Connections from one address that have not said hello; more are closed."""
HELLO_SECONDS_MAX = 10.0
"""A connection that has not said hello by then is closed."""
UNSENT_MESSAGES_MAX = 256
"""Messages that wait for a node which does not read, before it is let go."""
CLOSE_SECONDS_MAX = 2.0
BURST_MAX = 40
"""Messages of one node that are taken at once; the rest waits its turn, in the node's own socket …"""
RATE_MAX = 5.0
"""… for so many a second, where the nodes are to report less often than that."""
REPORTS_TOLERATED = 4.0
"""How many times as often as every heartbeat a node may report for long: leases are renewed more often."""

_MEMBERLIST_FIRST_BYTES = frozenset({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 244})
_ELSEWHERE = f"This port takes gateway nodes at {PATH}; the page and the API are on the HTTP port (9897).\n"


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
    ) -> None:
        self.rejected = rejected
        self.near = near
        self.message = message
        self.closed = closed
        self.ungreeted: Counter[str] = Counter()
        self.numbers = count(1)
        self.rate = max(RATE_MAX, REPORTS_TOLERATED / heartbeat)
        self.connections: dict[int, _Connection] = {}
        """Those that speak for a node, by number. Not to be written by others than they."""
        self._open: set[_Connection] = set()
        self._all_gone = asyncio.Event()
        self._acceptor: Acceptor | None = None

    async def open(self, sockets: list[socket.socket], tls: SSLContext | None = None) -> None:
        """Serve on these listening sockets, by TLS where it is given."""
        self._acceptor = Acceptor(lambda: _Connection(self), self._too_many, tls, HELLO_SECONDS_MAX)
        self._acceptor.open(sockets)

    async def close(self) -> None:
        """Stop listening and let every connection go."""
        if self._acceptor is not None:
            self._acceptor.close()
        self.connections.clear()
        for connection in list(self._open):
            connection.end(CLOSE_GOING, "this manager stops")
        if self._open:
            self._all_gone.clear()
            await self._all_gone.wait()  # each is aborted when its time is over

    def _too_many(self, peer: str) -> None:
        self.rejected("too_many_without_hello", peer)

    def came(self, connection: "_Connection") -> None:
        self._open.add(connection)

    def went(self, connection: "_Connection") -> None:
        self._open.discard(connection)
        if not self._open:
            self._all_gone.set()

    def send(self, conn: int, message: ManagerMessage) -> None:
        """Send on `conn`, if it is still there."""
        connection = self.connections.get(conn)
        if connection is not None and not connection.put(encode(message)):
            self.rejected("slow_reader", connection.peer)
            connection.abort()

    def end(self, conn: int, code: int, reason: str) -> None:
        """Close `conn` after what was sent; `closed` is not called for it."""
        connection = self.connections.pop(conn, None)
        if connection is not None:
            connection.end(code, reason)


class Allowance:
    """How much of one node's is taken: `burst` at once, then `rate` a second."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: int) -> None:
        self._rate, self._burst = rate, burst
        self._left, self._at = float(burst), 0.0

    def take(self, now: float) -> float | None:
        """One more: None to go on, else for how long to wait first; 0 to let others have their turn."""
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        self._left -= 1.0
        if self._left < 0:
            return -self._left / self._rate
        return 0.0 if self._left < self._burst / 2 else None


class _Connection(asyncio.Protocol):
    """One TCP connection: a stranger, then a WebSocket, then, with its first hello, a node's."""

    __slots__ = (
        "_allowance", "_counted", "_ending", "_floods", "_frames", "_hello_by", "_loop", "_number",
        "_request", "_server", "_transport", "_unread", "_unsent", "_waits", "peer",
    )  # fmt: skip

    def __init__(self, server: SeedServer) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self.peer = ""
        """The IP address of the other end, empty where there is none."""
        self._request = b""
        """What has come of its handshake."""
        self._number = 0
        """By which it is known once it is a WebSocket."""
        self._frames = Frames(FRAME_BYTES_MAX)
        self._allowance: Allowance | None = None
        self._counted = False
        self._hello_by: asyncio.TimerHandle | None = None
        self._unread = True
        """Whether no frame has come yet."""
        self._waits: asyncio.TimerHandle | None = None
        """While it has sent more than is taken at once."""
        self._floods = False
        """Whether it has sent more than it may, so that it was made to wait."""
        self._unsent = -1
        """Messages that were put while its socket took none; -1 while it takes them."""
        self._ending = False

    # The other end comes and goes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.peer = str(peer[0]) if peer else ""
        self._server.came(self)
        if not self._server.near(self.peer):
            self._turn_away("not_near")
        elif self._server.ungreeted[self.peer] >= UNGREETED_MAX:
            self._turn_away("too_many_without_hello")
        else:
            self._counted = True
            self._server.ungreeted[self.peer] += 1
            self._hello_by = self._loop.call_later(HELLO_SECONDS_MAX, self._turn_away, "no_hello")

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.went(self)
        self._greeted()
        if self._waits is not None:
            self._waits.cancel()
        if self._number and self._unread and not self._ending:
            self._server.rejected("gone_in_handshake", self.peer)
        self._over(None)

    def _over(self, code: int | None) -> None:
        """Tell the owner, once, that the node of this connection is gone."""
        if self._server.connections.pop(self._number, None) is not None:
            self._server.closed(self._number, code)

    def _turn_away(self, reason: str) -> None:
        self._server.rejected(reason, self.peer)
        self._ending = True
        self.abort()

    def _greeted(self) -> None:
        """A hello has come, or never will: it no longer counts as a stranger."""
        if self._hello_by is not None:
            self._hello_by.cancel()
            self._hello_by = None
        if self._counted:
            self._counted = False
            ungreeted = self._server.ungreeted
            ungreeted[self.peer] -= 1
            if not ungreeted[self.peer]:
                del ungreeted[self.peer]

    # What it says

    def data_received(self, data: bytes) -> None:
        if self._number:
            self._frames.feed(data)
            if self._waits is None:
                self._take()
        elif not self._ending:
            self._shake_hands(data)

    def _shake_hands(self, data: bytes) -> None:
        if not self._request and data[0] in _MEMBERLIST_FIRST_BYTES:
            # A member of a gossip group took this port for its own.
            self._turn_away("memberlist_on_node_port")
            return
        self._request += data
        try:
            read = read_request(self._request)
        except RequestError as error:
            self._server.rejected("protocol", self.peer)
            self._answer("400 Bad Request", f"{error}\n")
            return
        if read is None:
            return
        request, rest = read
        self._request = b""
        if request.path != PATH:
            self._answer("404 Not Found", _ELSEWHERE)
        elif (key := request.key) is None:
            self._server.rejected("protocol", self.peer)
            self._answer("400 Bad Request", f"{PATH} takes WebSockets of version 13 only\n")
        else:
            self._number = next(self._server.numbers)
            self._server.connections[self._number] = self
            self._write(accepted(key, SUBPROTOCOL if SUBPROTOCOL in request.subprotocols else ""))
            if rest:
                self.data_received(rest)

    def _answer(self, status: str, text: str) -> None:
        self._ending = True
        self._write(answered(status, text))
        if self._transport is not None:
            self._transport.close()

    def _take(self) -> None:
        """Take what has come, as far as it may have its turn."""
        try:
            while (found := self._frames.take()) is not None:
                self._unread = False
                self._frame(*found)
                if self._has_to_wait():
                    return
        except FrameError as error:
            self._unread = False
            if not self._ending:
                big = error.code == MESSAGE_TOO_BIG
                self._server.rejected("oversized_frame" if big else "protocol", self.peer)
                self._over(error.code)
                self.end(error.code, str(error))

    def _frame(self, opcode: Opcode, payload: bytes) -> None:
        match opcode:
            case Opcode.CLOSE:
                self._closed_by_it(payload)
            case _ if self._ending:
                pass
            case Opcode.BINARY:
                self._message(payload)
            case Opcode.PING:
                if not self._put(frame(Opcode.PONG, payload)):
                    self._turn_away("slow_reader")
            case Opcode.TEXT:
                self._broken("frames must be binary")
            case _:
                pass

    def _has_to_wait(self) -> bool:
        """Whether it has sent so much that the others have their turn first; its socket fills meanwhile."""
        if self._allowance is None:
            self._allowance = Allowance(self._server.rate, BURST_MAX)
        wait = self._allowance.take(self._loop.time())
        if wait is None or self._transport is None or self._transport.is_closing():
            return False
        if wait and not self._floods:
            self._floods = True
            self._server.rejected("flood", self.peer)
        self._transport.pause_reading()
        self._waits = self._loop.call_later(wait, self._go_on)
        return True

    def _go_on(self) -> None:
        self._waits = None
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self._take()

    def _message(self, payload: bytes) -> None:
        try:
            message = decode(payload)
        except ProtocolError as error:
            self._broken(str(error))
            return
        if message is None:
            return
        if isinstance(message, Hello):
            self._greeted()
        if not isinstance(message, NodeMessage):
            self._broken(f"a node does not say {type(message).__name__.lower()}")
            return
        self._server.message(self._number, message, self.peer)

    def _broken(self, reason: str) -> None:
        self._server.rejected("protocol", self.peer)
        self._over(CLOSE_PROTOCOL)
        self.end(CLOSE_PROTOCOL, reason)

    def _closed_by_it(self, payload: bytes) -> None:
        if not self._ending:
            self._ending = True
            self._over(close_code(payload))
            self._write(close_frame(CLOSE_NORMAL, ""))
        if self._transport is not None:
            self._transport.close()

    # What it is told

    def put(self, message: bytes) -> bool:
        """Send a message; false where too many wait already."""
        return self._put(frame(Opcode.BINARY, message))

    def _put(self, data: bytes) -> bool:
        self._write(data)
        if self._unsent >= 0:
            self._unsent += 1
        return self._unsent <= UNSENT_MESSAGES_MAX

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def pause_writing(self) -> None:
        self._unsent = 0

    def resume_writing(self) -> None:
        self._unsent = -1

    def end(self, code: int, reason: str) -> None:
        """Close after what was sent, and at the latest after a while: the other end may not read."""
        if self._ending:
            return
        self._ending = True
        if self._hello_by is not None:
            self._hello_by.cancel()
        if not self._number:
            self.abort()
            return
        self._write(close_frame(code, reason))
        self._loop.call_later(CLOSE_SECONDS_MAX, self.abort)

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()
