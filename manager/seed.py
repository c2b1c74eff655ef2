"""The server that nodes connect to: one WebSocket each, behind a door that costs strangers more than us."""

import asyncio
import contextlib
import socket
from collections import Counter, deque
from collections.abc import Callable
from itertools import count
from ssl import SSLContext

from aiohttp import WSCloseCode, WSMsgType, web

from manager.passage import Passage
from node.protocol import (
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
        self.ungreeted: Counter[str] = Counter()
        self._message = message
        self._closed = closed
        self._rate = max(RATE_MAX, REPORTS_TOLERATED / heartbeat)
        self._numbers = count(1)
        self._connections: dict[int, _Connection] = {}
        self._doors: dict[int, _Door] = {}
        self._servers: list[asyncio.Server] = []
        app = web.Application()
        app.router.add_get(PATH, self._serve)
        app.router.add_route("*", "/{rest:.*}", self._other)
        self._runner = web.AppRunner(app, handle_signals=False, access_log=None)

    async def open(self, sockets: list[socket.socket], tls: SSLContext | None = None) -> None:
        """Serve on these listening sockets, by TLS where it is given."""
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        for sock in sockets:
            self._servers.append(
                await loop.create_server(
                    lambda: _Door(self),
                    sock=sock,
                    ssl=tls,
                    ssl_handshake_timeout=None if tls is None else HELLO_SECONDS_MAX,
                )
            )

    async def close(self) -> None:
        """Stop listening and let every connection go."""
        for server in self._servers:
            server.close()
        for connection in list(self._connections.values()):
            connection.end(WSCloseCode.GOING_AWAY, "this manager stops")
        await self._runner.cleanup()

    def send(self, conn: int, message: ManagerMessage) -> None:
        """Send on `conn`, if it is still there."""
        connection = self._connections.get(conn)
        if connection is not None and not connection.put(encode(message)):
            self.rejected("slow_reader", connection.peer)
            connection.abort()

    def end(self, conn: int, code: int, reason: str) -> None:
        """Close `conn` after what was sent; `closed` is not called for it."""
        connection = self._connections.pop(conn, None)
        if connection is not None:
            connection.end(code, reason)

    def handler(self, door: "_Door") -> asyncio.Protocol:
        """aiohttp's end of a connection that came through `door`."""
        assert self._runner.server is not None
        handler = self._runner.server()
        self._doors[id(handler)] = door
        return handler

    def forget(self, handler: asyncio.Protocol) -> None:
        self._doors.pop(id(handler), None)

    def wrong_port(self, peer: str) -> None:
        """A member of a gossip group took this port for its own."""
        self.rejected("memberlist_on_node_port", peer)

    async def _other(self, request: web.Request) -> web.Response:
        text = f"This port takes gateway nodes at {PATH}; the page and the API are on the HTTP port (9897).\n"
        return web.Response(status=404, text=text)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        socket_ = web.WebSocketResponse(
            protocols=(SUBPROTOCOL,), max_msg_size=FRAME_BYTES_MAX, compress=False, autoping=True
        )
        peer = request.remote or ""
        try:
            await socket_.prepare(request)
        except OSError:  # it went away in the middle of the handshake
            self.rejected("gone_in_handshake", peer)
            # aiohttp would take a WebSocket that was not prepared for an error of ours.
            return web.Response(status=400)
        door = self._doors.get(id(request.protocol))
        number = next(self._numbers)
        connection = self._connections[number] = _Connection(socket_, peer, request.transport)
        writer = asyncio.ensure_future(connection.write())
        try:
            await self._read(number, connection, door)
        finally:
            if self._connections.pop(number, None) is not None:
                self._closed(number, socket_.close_code)
            if not connection.ending:
                writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer
        return socket_

    async def _read(self, number: int, connection: "_Connection", door: "_Door | None") -> None:
        allowance = Allowance(self._rate, BURST_MAX)
        loop = asyncio.get_running_loop()
        async for frame in connection.socket:
            if (wait := allowance.take(loop.time())) is not None:
                if wait and not connection.floods:
                    connection.floods = True
                    self.rejected("flood", connection.peer)
                await asyncio.sleep(wait)  # its socket fills meanwhile, and the others have their turn
            if number not in self._connections:
                return
            if frame.type is WSMsgType.ERROR:
                # aiohttp has told the node and closed: a frame was too large, or none at all.
                big = getattr(frame.data, "code", None) == WSCloseCode.MESSAGE_TOO_BIG
                self.rejected("oversized_frame" if big else "protocol", connection.peer)
                return
            if frame.type is not WSMsgType.BINARY:
                self._broken(number, connection, "frames must be binary")
                return
            try:
                message = decode(frame.data)
            except ProtocolError as error:
                self._broken(number, connection, str(error))
                return
            if message is None:
                continue
            if isinstance(message, Hello) and door is not None:
                door.greeted()
            if not isinstance(message, NodeMessage):
                self._broken(number, connection, f"a node does not say {type(message).__name__.lower()}")
                return
            self._message(number, message, connection.peer)

    def _broken(self, number: int, connection: "_Connection", reason: str) -> None:
        self.rejected("protocol", connection.peer)
        self._connections.pop(number, None)
        self._closed(number, CLOSE_PROTOCOL)
        connection.end(CLOSE_PROTOCOL, reason)


class Allowance:
    """How much of one node's is taken: `burst` at once, then `rate` a second."""

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


class _Connection:
    """One node's WebSocket and what waits to be written to it."""

    def __init__(
        self, socket_: web.WebSocketResponse, peer: str, transport: asyncio.Transport | None
    ) -> None:
        self.socket = socket_
        self.peer = peer
        self.ending: tuple[int, str] | None = None
        self.floods = False
        """Whether it has sent more than it may, so that it was made to wait."""
        self._transport = transport
        self._frames: deque[bytes] = deque()
        self._news = asyncio.Event()

    def put(self, frame: bytes) -> bool:
        """Queue `frame`; false where too many wait already."""
        self._frames.append(frame)
        self._news.set()
        return len(self._frames) <= UNSENT_MESSAGES_MAX

    def end(self, code: int, reason: str) -> None:
        """Close after what is queued, and at the latest after a while: the other end may not read."""
        self.ending = (code, reason)
        self._news.set()
        asyncio.get_running_loop().call_later(CLOSE_SECONDS_MAX, self.abort)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def write(self) -> None:
        """Send what is queued until the connection ends."""
        with contextlib.suppress(ConnectionError, RuntimeError):
            while True:
                while self._frames:
                    await self.socket.send_bytes(self._frames.popleft())
                if self.ending is not None:
                    code, reason = self.ending
                    await self.socket.close(code=code, message=reason.encode()[:120])
                    return
                self._news.clear()
                await self._news.wait()


class _Door(Passage):
    """Stands before aiohttp: turns away who may not come in, and who does not say hello."""

    def __init__(self, server: SeedServer) -> None:
        super().__init__()
        self._server = server
        self._counted = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not self._server.near(self._peer):
            self._turn_away("not_near")
        elif self._server.ungreeted[self._peer] >= UNGREETED_MAX:
            self._turn_away("too_many_without_hello")
        else:
            self._counted = True
            self._server.ungreeted[self._peer] += 1
            self._timer = asyncio.get_running_loop().call_later(
                HELLO_SECONDS_MAX, self._turn_away, "no_hello"
            )

    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._inner is None:
            if data[0] in _MEMBERLIST_FIRST_BYTES:
                self._server.wrong_port(self._peer)
                self._abort()
                return
            self._inner = self._server.handler(self)
            self._inner.connection_made(self._transport)
        self._inner.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.greeted()
        if self._inner is not None:
            self._server.forget(self._inner)
            self._inner.connection_lost(exc)

    def greeted(self) -> None:
        """A hello has come, or never will: it no longer counts as a stranger."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._counted:
            self._counted = False
            self._server.ungreeted[self._peer] -= 1
            if not self._server.ungreeted[self._peer]:
                del self._server.ungreeted[self._peer]

    def _turn_away(self, reason: str) -> None:
        self._server.rejected(reason, self._peer)
        self._abort()
