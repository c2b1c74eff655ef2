"""The server's side of a WebSocket as bytes in, bytes out (RFC 6455): the handshake, and frames.

No extensions, no text beyond what a close frame has. What a client may cost is bounded by the caller's
`message_bytes_max`, and by `REQUEST_BYTES_MAX` before it is one.
"""

import base64
import binascii
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha1

REQUEST_BYTES_MAX = 8192
CONTROL_BYTES_MAX = 125
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

CLOSE_NORMAL = 1000
PROTOCOL_ERROR = 1002
MESSAGE_TOO_BIG = 1009


class Opcode(IntEnum):
    """What a frame is."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class RequestError(Exception):
    """No HTTP that we take; the text is for who sent it."""


class FrameError(Exception):
    """The client broke the protocol: close with `code`, and the text for a reason."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Request:
    """The head of an HTTP request; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]

    @property
    def key(self) -> str | None:
        """Of a client that wants a WebSocket of version 13; None for any other."""
        headers = self.headers
        upgrades = "upgrade" in _words(headers.get("connection", ""))
        wanted = upgrades and "websocket" in _words(headers.get("upgrade", ""))
        key = headers.get("sec-websocket-key", "")
        if self.method != "GET" or not wanted or headers.get("sec-websocket-version") != "13":
            return None
        try:
            return key if len(base64.b64decode(key, validate=True)) == 16 else None
        except (binascii.Error, ValueError):
            return None

    @property
    def subprotocols(self) -> list[str]:
        """Those that the client offers."""
        return [word.strip() for word in self.headers.get("sec-websocket-protocol", "").split(",")]


def _words(value: str) -> list[str]:
    return [word.strip() for word in value.lower().split(",")]


def read_request(data: bytes) -> tuple[Request, bytes] | None:
    """The head that `data` begins with, and what follows it; None where more has to come.

    Raises `RequestError`, as soon as it is certain that no request will come of it.
    """
    if data and not 65 <= data[0] <= 90:
        raise RequestError("this is not HTTP")
    end = data.find(b"\r\n\r\n")
    if end > REQUEST_BYTES_MAX or (end < 0 and len(data) > REQUEST_BYTES_MAX):
        raise RequestError(f"the request exceeds {REQUEST_BYTES_MAX} bytes")
    if end < 0:
        return None
    first, *lines = data[:end].decode("latin-1").split("\r\n")
    match first.split(" "):
        case [method, target, "HTTP/1.1" | "HTTP/1.0"]:
            pass
        case _:
            raise RequestError("this is not HTTP/1.1")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise RequestError("a header is not of the form `name: value`")
        name = name.lower()
        headers[name] = f"{headers[name]},{value.strip()}" if name in headers else value.strip()
    return Request(method, target.partition("?")[0], headers), data[end + 4 :]


def accepted(key: str, subprotocol: str) -> bytes:
    """The answer to a client with `key`; `subprotocol` may be empty."""
    accept = base64.b64encode(sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()
    chosen = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n{chosen}\r\n"
    ).encode()


def answered(status: str, text: str) -> bytes:
    """An answer in plain text, after which the connection ends."""
    body = text.encode()
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    ).encode() + body


def frame(opcode: Opcode, payload: bytes) -> bytes:
    """One frame of ours, whole and without a mask."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 0x10000:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + payload


def close_frame(code: int, reason: str) -> bytes:
    """Says goodbye; a long `reason` is cut."""
    text = reason.encode()[: CONTROL_BYTES_MAX - 2].decode(errors="ignore").encode()
    return frame(Opcode.CLOSE, code.to_bytes(2, "big") + text)


def close_code(payload: bytes) -> int | None:
    """The code in a close frame of the client; None where it gives none."""
    return int.from_bytes(payload[:2], "big") if len(payload) >= 2 else None


class Frames:
    """Puts a client's frames together: `feed` what comes, then call `take` until it gives None."""

    __slots__ = ("_begun", "_data", "_max", "_parts", "_size")

    def __init__(self, message_bytes_max: int) -> None:
        self._max = message_bytes_max
        self._data = b""
        self._parts: list[bytes] | None = None
        self._begun = Opcode.BINARY
        self._size = 0

    def feed(self, data: bytes) -> None:
        self._data = self._data + data if self._data else data

    def take(self) -> tuple[Opcode, bytes] | None:
        """The next message whole, a control frame, or a part of a message that goes on.

        That last is a `CONTINUATION` without a payload, so that whoever counts what a client sends counts
        it. Raises `FrameError`.
        """
        data = self._data
        if len(data) < 2:
            return None
        first, size = data[0], data[1] & 0x7F
        if not data[1] & 0x80:
            raise FrameError(PROTOCOL_ERROR, "a client masks its frames")
        if first & 0x70 or (opcode := _OPCODES.get(first & 0x0F)) is None:
            raise FrameError(PROTOCOL_ERROR, "a frame of no kind that was agreed on")
        at = 2
        if size > CONTROL_BYTES_MAX:
            at = 4 if size == 126 else 10
            if len(data) < at:
                return None
            size = int.from_bytes(data[2:at], "big")
        if opcode >= Opcode.CLOSE:
            if size > CONTROL_BYTES_MAX or not first & 0x80:
                raise FrameError(PROTOCOL_ERROR, "a control frame is short and whole")
        elif self._size + size > self._max:
            raise FrameError(MESSAGE_TOO_BIG, f"a message exceeds {self._max} bytes")
        end = at + 4 + size
        if len(data) < end:
            return None
        payload = _unmasked(data[at + 4 : end], data[at : at + 4])
        self._data = data[end:] if len(data) > end else b""
        if opcode >= Opcode.CLOSE or (first & 0x80 and opcode and self._parts is None):
            return opcode, payload
        return self._part(opcode, payload, final=bool(first & 0x80))

    def _part(self, opcode: Opcode, payload: bytes, *, final: bool) -> tuple[Opcode, bytes]:
        if (self._parts is None) == (opcode is Opcode.CONTINUATION):
            raise FrameError(PROTOCOL_ERROR, "a message goes on that did not begin, or begins within another")
        if self._parts is None:
            self._parts, self._begun = [], opcode
        if payload:
            self._parts.append(payload)
        self._size += len(payload)
        if not final:
            return Opcode.CONTINUATION, b""
        whole, self._parts, self._size = b"".join(self._parts), None, 0
        return self._begun, whole


_OPCODES = {int(opcode): opcode for opcode in Opcode}


def _unmasked(data: bytes, mask: bytes) -> bytes:
    # As one number: many times faster than byte by byte.
    size = len(data)
    whole = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(whole, "little")).to_bytes(size, "little")
