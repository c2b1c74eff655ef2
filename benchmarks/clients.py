"""Clients as cheap as honest ones can be: a benchmark's client shares the processors with what it measures.

Each is one connection on asyncio's protocols; a node's frames are masked with zeros, which is a mask too.
"""

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any, cast

from benchmarks.processes import BenchmarkError
from manager.identity import KEY_BYTES
from node.codec import decode, encode
from node.protocol import PATH, SUBPROTOCOL, Hello

NODE_PORT = 7000
WELCOME = b"\x92\xa7welcome"
"""What the frame of a `Welcome` begins with."""
REPORTED = b"\x92\xa8reported"
_UPGRADE = (
    f"GET {PATH} HTTP/1.1\r\nHost: m\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
).encode()


def framed(payload: bytes) -> bytes:
    """One frame of a node."""
    size = len(payload)
    head = bytes((0x82, 0x80 | size)) if size < 126 else bytes((0x82, 0xFE)) + size.to_bytes(2, "big")
    return head + bytes(4) + payload


def hello(name: str = "bench") -> bytes:
    """The first word of a node that nobody knows."""
    return framed(encode(Hello(key=os.urandom(KEY_BYTES), incarnation=1, nonce=1, name=name)))


class Node(asyncio.Protocol):
    """A connection to a manager's node port. `heard` gets each message that comes, undecoded."""

    __slots__ = ("_answers", "_data", "_transport", "_upgraded", "heard", "lost")

    def __init__(self) -> None:
        self.heard: Callable[[bytes], None] = lambda payload: None
        self.lost: Callable[[], None] = lambda: None
        self._data = b""
        self._upgraded = False
        self._answers: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport

    @classmethod
    async def dial(cls, host: str, own: str | None = None) -> "Node":
        """Connect, from the address `own`, and have it become a WebSocket."""
        loop = asyncio.get_running_loop()
        local = None if own is None else (own, 0)
        _, node = await loop.create_connection(cls, host, NODE_PORT, local_addr=local)
        answer = node._answers = loop.create_future()
        node._transport.write(_UPGRADE)
        await answer
        return node

    async def joins(self, said: bytes) -> None:
        """Say `hello()` and wait for the welcome."""
        answer = self._answers = asyncio.get_running_loop().create_future()
        self._transport.write(said)
        payload = await answer
        if not payload.startswith(WELCOME):
            raise BenchmarkError(f"no welcome but {decode(payload)}")

    def say(self, said: bytes) -> None:
        self._transport.write(said)

    def close(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answers is not None and not self._answers.done():
            self._answers.set_exception(BenchmarkError("a manager closed a node's connection"))
        self.lost()

    def data_received(self, data: bytes) -> None:
        data = self._data + data if self._data else data
        if not self._upgraded:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._data = data
                return
            if not data.startswith(b"HTTP/1.1 101 "):
                raise BenchmarkError(f"no WebSocket but {data[:end].decode(errors='replace')}")
            self._upgraded = True
            data = data[end + 4 :]
            self._answer(b"")
        at = 0
        while len(data) - at >= 4:
            size, body = data[at + 1], at + 2
            if size == 126:
                size, body = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            if len(data) < body + size:
                break
            payload = data[body : body + size]
            at = body + size
            if data[body - (2 if size < 126 else 4)] == 0x82:
                self._answer(payload)
                self.heard(payload)
        self._data = data[at:]

    def _answer(self, payload: bytes) -> None:
        if self._answers is not None and not self._answers.done():
            self._answers.set_result(payload)


class Http(asyncio.Protocol):
    """A kept connection that takes one request at a time."""

    def __init__(self) -> None:
        self._data = b""
        self._answers: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport

    @classmethod
    async def open(cls, host: str, port: int) -> "Http":
        _, link = await asyncio.get_running_loop().create_connection(cls, host, port)
        return link

    async def post(self, path: str, body: dict[str, object]) -> Any:
        """The JSON that is answered. Raises `BenchmarkError` for any status but 200."""
        text = json.dumps(body, separators=(",", ":")).encode()
        answer = self._answers = asyncio.get_running_loop().create_future()
        self._transport.write(
            f"POST {path} HTTP/1.1\r\nHost: m\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text
        )
        status, said = await answer
        if status != 200:
            raise BenchmarkError(f"{path}: {status} {said.decode(errors='replace')}")
        return json.loads(said)

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answers is not None and not self._answers.done():
            self._answers.set_exception(BenchmarkError("a server closed a kept connection"))

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        if not end:
            return
        size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(body) >= size and self._answers is not None:
            self._data = b""
            self._answers.set_result((int(head[9:12]), body))


# Protocol buffers, as far as three of etcd's calls need them


def number_field(field: int, value: int) -> bytes:
    """A whole number from 0 on."""
    return _varint(field << 3) + _varint(value)


def bytes_field(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def read_number_field(message: bytes, wanted: int) -> int:
    """The whole number in field `wanted`; 0 where there is none."""
    at = 0
    while at < len(message):
        head, at = _read_varint(message, at)
        value, at = _read_varint(message, at)
        if head & 7 == 2:
            at += value
        elif head >> 3 == wanted:
            return value
    return 0


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        part = message[at]
        at += 1
        value |= (part & 0x7F) << shift
        shift += 7
        if part < 0x80:
            return value, at
