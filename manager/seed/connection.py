"""One connection of a node, from its first byte: it costs a stranger more than us."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, cast, get_args

from websockets import Subprotocol
from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from manager.seed.allowance import BURST_MAX, Allowance
from manager.seed.frames import begins_report, frame_size, framed, message_in
from manager.seed.together import Together
from node.codec import ProtocolError, decode
from node.protocol import CLOSE_PROTOCOL, FRAME_BYTES_MAX, PATH, SUBPROTOCOL, Hello, NodeMessage, Report

UNGREETED_MAX = 256
"""Connections from one address that have not said hello; more are closed."""
HELLO_SECONDS_MAX = 10.0
"""A connection that has not said hello by then is closed."""
UNSENT_MESSAGES_MAX = 256
"""Messages that wait for a node which does not read, before it is let go."""
CLOSE_SECONDS_MAX = 2.0
REQUEST_BYTES_MAX = 8192
"""Of the HTTP request by which a connection becomes a WebSocket."""

_MEMBERLIST_FIRST_BYTES = frozenset({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 244})
_WHOLE_BYTES_MAX = FRAME_BYTES_MAX + 14
"""Of a frame with its head; a longer one is not waited for."""
_REASON_BYTES_MAX = 123
"""RFC 6455, section 5.5: the payload of a control frame is 125 bytes, of which the code takes 2."""
_FROM_NODES = frozenset(get_args(NodeMessage))
_SILENT = logging.getLogger(f"{__name__}.websocket")
_SILENT.disabled = True  # what the operator should know is counted under `rejected`
_ELSEWHERE = f"This port takes gateway nodes at {PATH}; the page and the API are on the HTTP port (9897).\n"


class Server(Protocol):
    """What a connection needs of its server; each of those that speak for a node enters itself by number."""

    message: Callable[[int, NodeMessage, str], None]
    closed: Callable[[int, int | None], None]
    rejected: Callable[[str, str], None]
    near: Callable[[str], bool]
    ungreeted: Counter[str]
    numbers: Iterator[int]
    rate: float
    connections: dict[int, "Connection"]
    together: Together

    def came(self, connection: "Connection") -> None: ...
    def went(self, connection: "Connection") -> None: ...
    def line_up(self, connection: "Connection") -> None: ...


class Connection(asyncio.Protocol):
    """One TCP connection: a stranger, then a WebSocket, then, with its first hello, a node's."""

    __slots__ = (
        "_allowance", "_asked_bytes", "_counted", "_ending", "_floods", "_hello_by", "_in_line", "_loop",
        "_number", "_parts", "_plain", "_rests", "_server", "_socket", "_transport", "_unfed", "_unread",
        "_unsent", "_waits", "peer",
    )  # fmt: skip

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self.peer = ""
        """The IP address of the other end, empty where there is none."""
        self._socket = ServerProtocol(
            select_subprotocol=_ours_if_offered, max_size=FRAME_BYTES_MAX, logger=_SILENT
        )
        self._unfed = b""
        """What has come and is not looked at yet."""
        self._asked_bytes = 0
        """How much has come before it was a WebSocket."""
        self._in_line = False
        """Whether it is to be looked at together with what others have said."""
        self._plain = -1
        """The descriptor of its socket, -1 where that speaks TLS."""
        self._rests = False
        """Whether it is read together with others, having reported and not been asked since."""
        self._parts: list[bytes] = []
        """The beginning of a message that goes on."""
        self._number = 0
        """By which it is known once it is a WebSocket."""
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
        if transport.get_extra_info("ssl_object") is None:
            self._plain = transport.get_extra_info("socket").fileno()
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
        self._leave_others()
        self.take_alone()
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
        if not self._number:
            if not self._asked_bytes and data[0] in _MEMBERLIST_FIRST_BYTES:
                # A member of a gossip group took this port for its own.
                self._turn_away("memberlist_on_node_port")
                return
            self._asked_bytes += len(data)
        self._unfed += data
        if not (self._number and begins_report(data)) or len(self._unfed) > FRAME_BYTES_MAX:
            self.take()
        elif not self._in_line:
            self._in_line = True
            self._server.line_up(self)

    def _rest(self) -> None:
        """It says nothing more for some time: read it together with others."""
        if self._plain < 0 or self._rests or self._ending or self._waits is not None:
            return
        if self._transport is None or self._transport.is_closing():
            return
        if self._server.together.add(self._plain, self._heard):
            self._rests = True
            self._transport.pause_reading()

    def _heard(self, data: bytes) -> None:
        if data:
            self._unfed += data
            self.take_alone()
        else:
            self.rouse()  # the transport finds the end, or what has failed

    def rouse(self) -> None:
        """Read what it says as soon as it says it."""
        if self._rests:
            self._leave_others()
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()

    def _leave_others(self) -> None:
        if self._rests:
            self._rests = False
            self._server.together.remove(self._plain)

    def take_alone(self) -> None:
        """Take what has come; a fault of ours with it ends this connection and nobody else's."""
        try:
            self.take()
        except Exception:
            log = logging.getLogger(__name__)
            log.exception("what a node at %s said could not be taken: its connection is ended", self.peer)
            self.abort()

    def take(self) -> None:
        """Take what has come, as far as it is whole and may have its turn."""
        self._in_line = False
        while self._unfed and self._waits is None:
            size = frame_size(self._unfed) if self._number else _request_size(self._unfed)
            if size is None or len(self._unfed) < size <= _WHOLE_BYTES_MAX:
                return
            part, self._unfed = self._unfed[:size], self._unfed[size:]
            if not self._number:
                self._feed(part)
                continue
            self._unread = False
            message = None if self._ending or self._parts else message_in(part)
            if message is None:
                self._feed(part)
            else:
                self._message(message)
            self._let_wait()

    def _feed(self, data: bytes) -> None:
        """Let `websockets` read a request, or a whole frame."""
        self._socket.receive_data(data)
        for event in self._socket.events_received():
            if isinstance(event, Request):
                self._asked(event)
            elif isinstance(event, Frame):
                self._frame(event)
        if self._socket.parser_exc is not None:
            self._failed(self._socket.parser_exc)
        if not self._number and not self._ending:
            if self._socket.handshake_exc is not None:
                self._refused()
            elif self._asked_bytes > REQUEST_BYTES_MAX:
                self._answer(431, f"the request exceeds {REQUEST_BYTES_MAX} bytes\n")
        if not self._flush():
            self._turn_away("slow_reader")

    def _asked(self, request: Request) -> None:
        if request.path.partition("?")[0] != PATH:
            self._ending = True
            self._socket.send_response(self._socket.reject(404, _ELSEWHERE))
            return
        self._socket.send_response(self._socket.accept(request))
        if self._socket.state is State.OPEN:
            self._number = next(self._server.numbers)
            self._server.connections[self._number] = self

    def _answer(self, status: int, text: str) -> None:
        self._refused()
        self._socket.send_response(self._socket.reject(status, text))

    def _refused(self) -> None:
        self._server.rejected("protocol", self.peer)
        self._ending = True

    def _failed(self, error: Exception) -> None:
        """What came is no WebSocket's: its end has been told."""
        if not self._ending:
            self._server.rejected(
                "oversized_frame" if isinstance(error, PayloadTooBig) else "protocol", self.peer
            )
            self._ending = True
            self._over(CLOSE_PROTOCOL)

    def _frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            if not self._ending:
                self._ending = True
                received = self._socket.close_rcvd
                self._over(None if received is None else received.code)
        elif self._ending:
            pass
        elif frame.opcode is Opcode.TEXT:
            self._broken("frames must be binary")
        elif frame.opcode is Opcode.BINARY and frame.fin:
            self._message(bytes(frame.data))
        elif frame.opcode in (Opcode.BINARY, Opcode.CONT):
            self._parts.append(bytes(frame.data))
            if frame.fin:
                whole, self._parts = b"".join(self._parts), []
                self._message(whole)

    def _let_wait(self) -> None:
        """Let the others have their turn first where it has sent much; its socket fills meanwhile."""
        if self._allowance is None:
            self._allowance = Allowance(self._server.rate, BURST_MAX)
        wait = self._allowance.take(self._loop.time())
        if wait is None or self._transport is None or self._transport.is_closing():
            return
        if wait and not self._floods:
            self._floods = True
            self._server.rejected("flood", self.peer)
        self._leave_others()
        self._transport.pause_reading()
        self._waits = self._loop.call_later(wait, self._go_on)

    def _go_on(self) -> None:
        self._waits = None
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self.take_alone()

    def _message(self, payload: bytes) -> None:
        try:
            message = decode(payload)
        except ProtocolError as error:
            self._broken(str(error))
            return
        if message is None:
            return
        if type(message) not in _FROM_NODES:
            self._broken(f"a node does not say {type(message).__name__.lower()}")
            return
        if isinstance(message, Hello):
            self._greeted()
        self._server.message(self._number, cast("NodeMessage", message), self.peer)
        if isinstance(message, Report):
            self._rest()

    def _broken(self, reason: str) -> None:
        self._server.rejected("protocol", self.peer)
        self._over(CLOSE_PROTOCOL)
        self.end(CLOSE_PROTOCOL, reason)

    # What it is told

    def put(self, message: bytes) -> bool:
        """Send a message; false where too many wait already."""
        if self._transport is None or self._transport.is_closing():
            return True  # whoever is let go for that is counted once
        if self._number and not self._ending:
            frame = framed(message)
            if frame is None:
                self._socket.send_binary(message)
                return self._flush()
            self._write(frame)
        return self._unsent <= UNSENT_MESSAGES_MAX

    def _flush(self) -> bool:
        """Write what the WebSocket has to say; false where too much waits already."""
        for data in self._socket.data_to_send():
            if data:
                self._write(data)
            else:
                self._finish()
        return self._unsent <= UNSENT_MESSAGES_MAX

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
            if self._unsent >= 0:
                self._unsent += 1

    def _finish(self) -> None:
        """Nothing more is said: close, but after a failure not before the other end has read why."""
        if self._transport is None:
            return
        if self._number and self._socket.close_rcvd is None:
            self._loop.call_later(CLOSE_SECONDS_MAX, self.abort)
        else:
            self._leave_others()
            self._transport.close()
            if self._transport.get_write_buffer_size():
                self._loop.call_later(CLOSE_SECONDS_MAX, self.abort)  # the other end may not read

    def pause_writing(self) -> None:
        self._unsent = 0

    def resume_writing(self) -> None:
        self._unsent = -1

    def end(self, code: int, reason: str) -> None:
        """Close after what was sent, and at the latest after a while: the other end may not read."""
        if self._ending:
            return
        self._ending = True
        self.rouse()
        if self._hello_by is not None:
            self._hello_by.cancel()
        if self._socket.state is not State.OPEN:
            self.abort()
            return
        text = reason.encode()[:_REASON_BYTES_MAX].decode(errors="ignore")
        self._socket.send_close(code, text)
        self._flush()
        self._loop.call_later(CLOSE_SECONDS_MAX, self.abort)

    def abort(self) -> None:
        """End the connection at once."""
        self._leave_others()
        if self._transport is not None:
            self._transport.abort()


def _request_size(data: bytes) -> int | None:
    """How much of it is the request by which it becomes a WebSocket; None: its end has not come yet."""
    end = data.find(b"\r\n\r\n")
    if end >= 0:
        return end + 4
    # What never becomes one is refused at once.
    return None if b"GET ".startswith(data[:4]) and len(data) <= REQUEST_BYTES_MAX else len(data)


def _ours_if_offered(_: ServerProtocol, offered: Sequence[str]) -> Subprotocol | None:
    return Subprotocol(SUBPROTOCOL) if SUBPROTOCOL in offered else None
