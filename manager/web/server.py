"""The HTTP port: aiohttp behind a door where nobody keeps us waiting.

aiohttp itself bounds a line and a header (8 KiB each) and how long a connection idles between two requests,
but not how slowly a request may arrive.
"""

import asyncio
import contextlib
import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from ssl import SSLContext
from typing import cast

from aiohttp import web

from manager.acceptor import Acceptor
from manager.web.problems import SERVER, Handler, problem

log = logging.getLogger(__name__)

REQUEST_SECONDS_MAX = 10.0
"""From the connection, or the first byte of a further request, until a request's headers are whole."""
CONNECTIONS_MAX = 256
"""From one address; more are closed."""
IDLE_SECONDS_MAX = 75.0
"""Between two requests."""
_STOP_SECONDS_MAX = 2.0
_DOORS = web.AppKey[dict[int, "_Door"]]("doors")


class HttpServer:
    """Serves `app`; `count(where, reason)` hears of whoever was turned away."""

    def __init__(
        self,
        app: web.Application,
        count: Callable[[str, str], None],
        handshake_failed: Callable[[str, OSError], None] = lambda peer, error: None,
    ) -> None:
        self._handshake_failed = handshake_failed
        self.count = count
        self.open_from: Counter[str] = Counter()
        self.doors: dict[int, _Door] = {}
        self._acceptor: Acceptor | None = None
        app[_DOORS] = self.doors
        app.middlewares.insert(0, _mark_busy)
        self._runner = web.AppRunner(
            app,
            handle_signals=False,
            access_log=None,
            keepalive_timeout=IDLE_SECONDS_MAX,
            shutdown_timeout=_STOP_SECONDS_MAX,
        )

    async def open(self, sockets: list[socket.socket], tls: SSLContext | None = None) -> None:
        """Serve on these listening sockets, by TLS where it is given."""
        await self._runner.setup()
        self._acceptor = Acceptor(
            lambda: _Door(self), self._too_many, tls, REQUEST_SECONDS_MAX, self._handshake_failed
        )
        self._acceptor.open(sockets)

    async def close(self) -> None:
        """Stop listening, and end what is under way."""
        if self._acceptor is not None:
            self._acceptor.close()
        await self._runner.cleanup()

    def _too_many(self, _: str) -> None:
        self.count("http", "too_many_connections")

    def handler(self) -> asyncio.Protocol:
        """aiohttp's end of a connection."""
        assert self._runner.server is not None
        return _Requests(self._runner.server, self.count)


class _Requests(web.RequestHandler):
    """aiohttp's end; what is no request that it understands is counted, and not sent back."""

    def __init__(self, server: web.Server, count: Callable[[str, str], None]) -> None:
        loop = asyncio.get_running_loop()
        kept = {"keepalive_timeout": IDLE_SECONDS_MAX, "access_log": None}
        super().__init__(server, loop=loop, **kept)  # type: ignore[arg-type]
        self._count = count

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """An answer in our form, after which the connection ends."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        if status >= 500:
            log.error("a request from %s failed", request.remote, exc_info=exc)
        else:
            self._count("http", "bad_request")
        unread = "this is no HTTP request that can be read here: a line too long, a wrong method or header"
        answer = problem(status, unread if status < 500 else "this manager failed to answer: see its log")
        answer.headers["Server"] = SERVER
        answer.force_close()
        return answer


@web.middleware
async def _mark_busy(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The request's headers are here: what takes long from now on is our own."""
    door = request.app[_DOORS].get(id(request.protocol))
    if door is None:
        return await handler(request)
    with door.busy():
        return await handler(request)


class _Door(asyncio.Protocol):
    """Between one connection and aiohttp: hands on what comes, once somebody is there to take it."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._inner: asyncio.Protocol | None = None
        """aiohttp's end."""
        self._peer = ""
        """The IP address of the other end, empty where there is none."""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._busy = False

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """While a request is answered nobody waits for its bytes."""
        self._stop_waiting()
        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if peer else ""
        if self._server.open_from[self._peer] >= CONNECTIONS_MAX:
            self._server.count("http", "too_many_connections")
            self._abort()
            return
        self._server.open_from[self._peer] += 1
        self._inner = self._server.handler()
        self._server.doors[id(self._inner)] = self
        self._await_request()
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._inner is not None:
            if self._timer is None and not self._busy:
                self._await_request()
            self._inner.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        if self._inner is not None:
            del self._server.doors[id(self._inner)]
            self._server.open_from[self._peer] -= 1
            if not self._server.open_from[self._peer]:
                del self._server.open_from[self._peer]
            self._inner.connection_lost(exc)

    def eof_received(self) -> bool | None:
        return None if self._inner is None else self._inner.eof_received()

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()

    def _await_request(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(REQUEST_SECONDS_MAX, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        self._server.count("http", "too_slow")
        self._abort()

    def _abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()
