"""One connection to a manager, from the attempt to its end: the session's shell to the network."""

import asyncio
import contextlib
import logging
import os
from ssl import SSLCertVerificationError, SSLContext, SSLError
from typing import Protocol

import aiohttp
from yarl import URL

from node.protocol import FRAME_BYTES_MAX, PATH, SUBPROTOCOL
from node.settings import HostPort
from node.tls import refusal

_LOG = logging.getLogger(__name__)

CONNECT_SECONDS_MAX = 2.0
"""For name, connection and handshake: a manager that is gone may swallow packets."""
CLOSE_SECONDS_MAX = 1.0

_NOT_A_NODE_PORT = (
    "it answers, but not as a manager's node port: nodes connect to `node_port` (7000),"
    " not to the gossip (7946) or HTTP port (9897)"
)


class Owner(Protocol):
    """Who is told what happens on a link."""

    def link_connected(self, link: "Link", remote: str) -> None: ...
    def link_failed(self, link: "Link", reason: str) -> None: ...
    def link_received(self, link: "Link", frame: bytes) -> None: ...
    def link_closed(self, link: "Link", code: int, reason: str) -> None: ...


class Link:
    """Connects at once; `close` it, and its owner is told nothing more."""

    def __init__(
        self, client: aiohttp.ClientSession, address: str, owner: Owner, tls: SSLContext | None = None
    ) -> None:
        self._client, self._address, self._owner, self._tls = client, address, owner, tls
        self._outbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._close: tuple[int, str] | None = None
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._fail_over_from_bug)

    def send(self, frame: bytes) -> None:
        self._outbox.put_nowait(frame)

    def close(self, code: int, reason: str) -> asyncio.Task[None]:
        """Send what waits to be sent, then close; the task ends soon, whatever the other end does."""
        self._close = (code, reason)
        self._outbox.put_nowait(None)
        return asyncio.create_task(self._end_soon())

    def _fail_over_from_bug(self, task: asyncio.Task[None]) -> None:
        # A fault of ours in one connection must not cost a gateway its agent.
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("The connection to %s failed", self._address, exc_info=error)
            if self._close is None:
                self._owner.link_closed(self, aiohttp.WSCloseCode.INTERNAL_ERROR, "our own fault")

    async def _end_soon(self) -> None:
        await asyncio.wait({self._task}, timeout=CLOSE_SECONDS_MAX)
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                socket = await self._connect()
        except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
            if self._close is None:
                self._owner.link_failed(self, _explain(error, by_tls=self._tls is not None))
            return
        async with socket:
            peer = socket.get_extra_info("peername")
            if self._close is None:
                self._owner.link_connected(self, str(HostPort(peer[0], peer[1])) if peer else "")
            await self._talk(socket)

    async def _connect(self) -> aiohttp.ClientWebSocketResponse:
        address = HostPort.parse(self._address)
        socket = await self._client.ws_connect(
            URL.build(
                scheme="http" if self._tls is None else "https",
                host=address.host,
                port=address.port,
                path=PATH,
            ),
            ssl=self._tls or True,
            protocols=(SUBPROTOCOL,),
            max_msg_size=FRAME_BYTES_MAX,
            timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS_MAX),
        )
        if socket.protocol != SUBPROTOCOL:
            await socket.close()
            raise ValueError(_NOT_A_NODE_PORT)
        return socket

    async def _talk(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        writer = asyncio.create_task(self._write(socket))
        try:
            reason = await self._read(socket)
            if self._close is None:
                self._owner.link_closed(
                    self, socket.close_code or aiohttp.WSCloseCode.ABNORMAL_CLOSURE, reason
                )
            else:
                await writer
        finally:
            writer.cancel()

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> str:
        """Until the end, whose reason it returns, or until we close: a `receive` would then close for us."""
        while self._close is None:
            message = await socket.receive()
            match message.type:
                case aiohttp.WSMsgType.BINARY:
                    if self._close is None:
                        self._owner.link_received(self, message.data)
                case aiohttp.WSMsgType.CLOSE:
                    return message.extra or ""
                case aiohttp.WSMsgType.ERROR:
                    return str(message.data).lower()
                case aiohttp.WSMsgType.CLOSING | aiohttp.WSMsgType.CLOSED:
                    return ""
                case _:
                    await socket.close(code=aiohttp.WSCloseCode.UNSUPPORTED_DATA)
                    return "a frame that is not binary"
        return ""

    async def _write(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        with contextlib.suppress(ConnectionError):  # the reader sees the end too
            while (frame := await self._outbox.get()) is not None:
                await socket.send_bytes(frame)
            code, reason = self._close or (aiohttp.WSCloseCode.OK, "")
            await socket.close(code=code, message=reason.encode()[:120])


def _explain(error: Exception, *, by_tls: bool) -> str:
    match error:
        case TimeoutError():
            return f"no answer within {CONNECT_SECONDS_MAX:g} s"
        case aiohttp.ClientConnectorDNSError():
            return "the name does not resolve"
        case aiohttp.ClientConnectorCertificateError(certificate_error=SSLCertVerificationError() as cause):
            return refusal(cause, "tls.ca", "tls.server_name")
        case aiohttp.ClientConnectorSSLError(os_error=SSLError(reason="WRONG_VERSION_NUMBER")):
            return "it has no TLS: give it `tls.cert` and `tls.key`, or take `tls.ca` from this node"
        case aiohttp.ClientConnectorSSLError(os_error=cause):
            return f"they do not come together by TLS ({cause})"
        case aiohttp.ClientConnectorError(os_error=cause) if cause.errno is not None:
            return os.strerror(cause.errno).lower()
        case aiohttp.WSServerHandshakeError(status=status) if status == 403:
            return "it refuses connections from here (HTTP 403)"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError() if by_tls:
            return (
                "it hangs up after the handshake: where managers have `tls.client_ca`, this node needs"
                " `tls.cert` and `tls.key` of that authority"
            )
        case aiohttp.ServerDisconnectedError():
            return f"{_NOT_A_NODE_PORT}; or it has TLS, and this node needs `tls.ca`"
        case aiohttp.ClientResponseError():
            return _NOT_A_NODE_PORT
        case _:
            return str(error) or type(error).__name__
