"""TCP: a connection carries one message each way, and without a key nothing says how long it is.

From the outside in there may be the group's label, which only the side that connected writes, the frame of a
sealed message, and compression. The label is part of what the frame authenticates, on both sides. Neither
side closes its half before it has the answer, so a reader has to find the end of a message by reading it.
Bytes after that end mean nothing, as in memberlist.
"""

from collections.abc import Callable, Generator
from struct import Struct
from typing import Any, Final

from msgpack import OutOfData, Unpacker

from gossip.errors import WireError
from gossip.messages import Ack, MemberState, Ping, PushPull, State, StreamError, StreamMessage, User
from gossip.wire.bodies import (
    ACK,
    ACK_SHAPE,
    COMPRESS,
    COMPRESS_SHAPE,
    CRC,
    ENCRYPT,
    ERROR,
    LABEL,
    PING,
    PING_SHAPE,
    PUSH_PULL,
    USER,
    encode_message,
    read_ack,
    read_compressed,
    read_ping,
)
from gossip.wire.fields import (
    U64_MAX,
    Body,
    address,
    flag,
    given_name,
    incarnation,
    is_mapped,
    meta,
    number,
    pack,
    packed_host,
    packed_text,
    shape,
    text,
    unpack_body,
    versions,
)
from gossip.wire.layers import LABEL_BYTES_MAX, PLAIN, Layers
from gossip.wire.lzw import expand
from gossip.wire.reasons import (
    BAD_MSGPACK,
    BAD_TYPE,
    CRC_MISPLACED,
    EMPTY,
    ENCRYPTED,
    HTTP,
    PLAINTEXT,
    TOO_BIG,
    TRUNCATED,
    UNDECRYPTABLE,
)
from gossip.wire.reasons import LABEL as LABELLED
from gossip.wire.seal import SEAL_OVERHEAD

STREAM_BYTES_MAX: Final = 20 * 1024 * 1024
"""The most that one side may send, and the most it may announce inside a message."""

PACKED_BYTES_MAX: Final = 4 * 1024 * 1024
"""The most that a compressed message may have: unpacking takes a second for each 4 MiB."""

UNPACKED_BYTES_MAX: Final = 40 * 1024 * 1024
"""The most that a compressed message may unpack to."""

MEMBERS_MAX: Final = 10_000
"""The most entries of a push/pull."""

_CHUNK_BYTES: Final = 64 * 1024
_U32: Final = Struct(">I")
_FRAME_BYTES: Final = 1 + _U32.size
"""What stands before a sealed message: the type and the length."""

_HEADERS_MAX: Final = 2 + LABEL_BYTES_MAX + _FRAME_BYTES
"""Label and frame, which a stream may have on top of its largest message."""
_HTTP_METHODS: Final = tuple(
    f"{method} ".encode()
    for method in ("GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "CONNECT", "PATCH", "TRACE")
)

_HEADER_SHAPE: Final = shape(b"Nodes", b"UserStateLen", b"Join")
_MEMBER_SHAPE: Final = shape(b"Name", b"Addr", b"Port", b"Meta", b"Incarnation", b"State", b"Vsn")
_USER_SHAPE: Final = shape(b"UserMsgLen")
_ERROR_SHAPE: Final = shape(b"Error")
_STATES: Final = tuple(State)


def encode_stream(message: StreamMessage, layers: Layers = PLAIN, *, answer: bool = False) -> bytes:
    """All that one side of a connection sends; uncompressed, keys in ascending order.

    `answer` says that it is the side that was connected to.
    """
    data = _encode(message)
    if layers.keyring is not None:
        assert len(data) + SEAL_OVERHEAD <= STREAM_BYTES_MAX
        frame = bytes((ENCRYPT,)) + _U32.pack(len(data) + SEAL_OVERHEAD)
        data = frame + layers.sealed(data, frame + layers.label)
    return data if answer else layers.label_header + data


def _encode(message: StreamMessage) -> bytes:
    match message:
        case PushPull():
            return _encode_push_pull(message)
        case User(payload):
            assert len(payload) <= STREAM_BYTES_MAX
            return b"\x08" + pack({b"UserMsgLen": len(payload)}) + payload
        case StreamError():
            return b"\x0d" + pack({b"Error": packed_text(message.text)})
        case Ping() | Ack():
            return encode_message(message)


def _encode_push_pull(exchange: PushPull) -> bytes:
    assert len(exchange.members) <= MEMBERS_MAX
    header = {
        b"Join": exchange.join,
        b"Nodes": len(exchange.members),
        b"UserStateLen": len(exchange.user_state),
    }
    members = [
        pack(
            {
                b"Addr": packed_host(member.address.host, member.mapped),
                b"Incarnation": member.incarnation,
                b"Meta": member.meta or None,
                b"Name": packed_text(member.name),
                b"Port": member.address.port,
                b"State": member.state,
                b"Vsn": bytes(member.versions),
            }
        )
        for member in exchange.members
    ]
    data = b"".join((b"\x06", pack(header), *members, exchange.user_state))
    assert len(data) <= STREAM_BYTES_MAX
    return data


class StreamReader:
    """Takes what one side of a connection sends, in pieces of any size, until a message is whole.

    A reader is for one message. Once it has returned it or has raised, it takes no notice of
    further bytes. What it holds never passes the bounds above, whatever the sender announces; the
    time it takes grows with the bytes, not with the pieces.
    """

    def __init__(self, layers: Layers = PLAIN, *, answer: bool = False, deferred: bool = False) -> None:
        """`answer` says that it is the side that was connected to whose bytes are read.

        `deferred`: do not unpack what is compressed by itself: see `unpacks_next`.
        """
        self.unpacks_next = False
        """Whether a compressed message is whole, and `feed(b"")` will unpack it, which takes its time."""
        self.rejected: list[str] = []
        """The reason for each entry of a push/pull that was dropped; the others stand."""
        self._received = _Bytes()
        self._steps = _stream(self._received, self.rejected, layers, answer)
        self._deferred = deferred
        self._ended = False
        self._most = STREAM_BYTES_MAX + (0 if layers is PLAIN else _HEADERS_MAX)

    def feed(self, data: bytes) -> StreamMessage | None:
        """The message, if `data` makes it whole. Raises `WireError` as soon as it cannot become one."""
        if self._ended:
            return None
        room = self._most - len(self._received.data)
        self._received.data += data if len(data) <= room else memoryview(data)[:room]
        try:
            if next(self._steps) is _UNPACKS_NEXT:
                self.unpacks_next = self._deferred
                if not self._deferred:
                    next(self._steps)
        except StopIteration as stop:
            self._ended = True
            message: StreamMessage = stop.value
            return message
        except WireError:
            self._ended = True
            raise
        if len(data) > room:
            self._ended = True
            raise WireError(TOO_BIG, f"no message within {self._most} bytes")
        return None

    def end(self) -> None:
        """Says that no more will come: raises `WireError` if the message is not whole."""
        if self._ended:
            return
        self._ended = True
        if not self._received.data:
            raise WireError(EMPTY, "closed before the first byte")
        raise WireError(TRUNCATED, f"closed after {len(self._received.data)} bytes, inside a message")


class _Bytes:
    """Bytes of which more may come, read from the front.

    The readers are generators that yield where they need more and return what they have read.
    """

    def __init__(self, data: bytes = b"", at: int = 0) -> None:
        self.data = bytearray(data)
        self._at = at
        self._values_from = 0
        self._scanned = 0
        self._scanner: Any = None

    def take(self, count: int) -> Generator[None, None, bytes]:
        while len(self.data) - self._at < count:
            yield
        self._at += count
        return bytes(self.data[self._at - count : self._at])

    def value(self) -> Generator[None, None, bytes]:
        """The bytes of the msgpack value that comes next; nothing is built, so its size costs nothing.

        The scanner keeps its place in a value that is not whole yet.
        """
        if self._scanner is None:
            self._scanner = Unpacker(max_buffer_size=UNPACKED_BYTES_MAX + _CHUNK_BYTES, read_size=1)
            self._values_from = self._scanned = self._at
        while True:
            try:
                self._scanner.skip()
                break
            except OutOfData:
                pass
            except ValueError as error:
                raise WireError(BAD_MSGPACK, str(error) or type(error).__name__) from None
            while self._scanned == len(self.data):
                yield
            chunk = self.data[self._scanned : self._scanned + _CHUNK_BYTES]
            self._scanner.feed(chunk)
            self._scanned += len(chunk)
        start, self._at = self._at, self._values_from + self._scanner.tell()
        return bytes(self.data[start : self._at])


_UNPACKS_NEXT: Final = "unpacks next"

_Reader = Generator[str | None, None, StreamMessage]
"""Yields None where it needs more bytes."""


def _stream(received: _Bytes, rejected: list[str], layers: Layers, answer: bool) -> _Reader:
    """The outermost layers of what one side sends."""
    label = b"" if answer else layers.label
    kind = (yield from received.take(1))[0]
    if labelled := kind == LABEL:
        yield from _pass_label(received, label)
        kind = (yield from received.take(1))[0]
    yield from _refuse_http(kind, received)
    if label and not labelled:
        raise WireError(LABELLED, "the stream is not labelled as those of our group")
    if kind == ENCRYPT:
        return (yield from _whole((yield from _unsealed(received, layers)), rejected))
    if kind == CRC:
        raise WireError(CRC_MISPLACED, "a checksum on a stream")
    if kind != COMPRESS and kind not in _READERS:
        raise WireError(BAD_TYPE, f"message type {kind} has no place on a stream")
    if layers.keyring is not None:
        raise WireError(PLAINTEXT, "the stream is in plain text, and there is a key")
    if kind == COMPRESS:
        return (yield from _packed((yield from received.value()), rejected))
    return (yield from _READERS[kind](received, rejected))


def _pass_label(received: _Bytes, label: bytes) -> Generator[None, None, None]:
    if not label:
        raise WireError(LABELLED, "a label where none belongs")
    length = (yield from received.take(1))[0]
    if length != len(label) or (yield from received.take(length)) != label:
        raise WireError(LABELLED, "the stream is not labelled as those of our group")


def _refuse_http(kind: int, received: _Bytes) -> Generator[None, None, None]:
    start = bytes((kind,))
    while any(method.startswith(start) for method in _HTTP_METHODS):
        if start in _HTTP_METHODS:
            raise WireError(HTTP, f"{start.decode()}... is a web request, and this is the gossip port")
        start += yield from received.take(1)


def _unsealed(received: _Bytes, layers: Layers) -> Generator[None, None, bytes]:
    if layers.keyring is None:
        raise WireError(ENCRYPTED, "the stream is encrypted, and there is no key")
    length = yield from received.take(_U32.size)
    size = _U32.unpack(length)[0]
    if size > STREAM_BYTES_MAX:
        raise WireError(TOO_BIG, f"a frame announces {size} bytes, of {STREAM_BYTES_MAX} at most")
    payload = yield from received.take(size)
    plain = layers.keyring.open(payload, bytes((ENCRYPT,)) + length + layers.label)
    if plain is None:
        raise WireError(UNDECRYPTABLE, "no installed key opens the stream")
    return plain


def _packed(body: bytes, rejected: list[str]) -> _Reader:
    """The message in the body of a compressed one."""
    packed = read_compressed(unpack_body(body, COMPRESS_SHAPE))
    if len(packed) > PACKED_BYTES_MAX:
        raise WireError(TOO_BIG, f"{len(packed)} compressed bytes, of {PACKED_BYTES_MAX} at most")
    yield _UNPACKS_NEXT
    return _plain(expand(packed, UNPACKED_BYTES_MAX), rejected)


def _whole(data: bytes, rejected: list[str]) -> _Reader:
    """The message that `data` starts with, compressed or not."""
    if data[:1] == bytes((COMPRESS,)):
        return (yield from _packed(data[1:], rejected))
    return _plain(data, rejected)


def _plain(data: bytes, rejected: list[str]) -> StreamMessage:
    """The message that `data` starts with, nothing wrapped."""
    if not data:
        raise WireError(EMPTY, "nothing where a message belongs")
    read = _READERS.get(data[0])
    if read is None:
        raise WireError(BAD_TYPE, f"message type {data[0]} has no place in a wrapping")
    try:
        next(read(_Bytes(data, at=1), rejected))
    except StopIteration as stop:
        message: StreamMessage = stop.value
        return message
    raise WireError(TRUNCATED, f"the {len(data)} bytes in a wrapping end inside a message")


def _read_push_pull(received: _Bytes, rejected: list[str]) -> _Reader:
    header = unpack_body((yield from received.value()), _HEADER_SHAPE)
    join = flag(header, b"Join")
    count = _announced(header, b"Nodes", MEMBERS_MAX)
    state_bytes = _announced(header, b"UserStateLen", STREAM_BYTES_MAX)
    members = []
    for _ in range(count):
        entry = yield from received.value()
        try:
            members.append(_member(entry))
        except WireError as error:
            rejected.append(error.reason)
    return PushPull(join, tuple(members), (yield from received.take(state_bytes)))


def _announced(header: Body, key: bytes, largest: int) -> int:
    count = number(header, key, U64_MAX)
    if count > largest:
        raise WireError(TOO_BIG, f"{key.decode()} announces {count}, of {largest} at most")
    return count


def _member(entry: bytes) -> MemberState:
    body = unpack_body(entry, _MEMBER_SHAPE)
    return MemberState(
        given_name(body, b"Name"),
        address(body, b"Addr", b"Port"),
        meta(body),
        incarnation(body),
        _STATES[number(body, b"State", len(_STATES) - 1)],
        versions(body),
        is_mapped(body, b"Addr"),
    )


def _read_user(received: _Bytes, rejected: list[str]) -> _Reader:
    header = unpack_body((yield from received.value()), _USER_SHAPE)
    return User((yield from received.take(_announced(header, b"UserMsgLen", STREAM_BYTES_MAX))))


def _read_ping(received: _Bytes, rejected: list[str]) -> _Reader:
    return read_ping(unpack_body((yield from received.value()), PING_SHAPE))


def _read_ack(received: _Bytes, rejected: list[str]) -> _Reader:
    return read_ack(unpack_body((yield from received.value()), ACK_SHAPE))


def _read_error(received: _Bytes, rejected: list[str]) -> _Reader:
    return StreamError(text(unpack_body((yield from received.value()), _ERROR_SHAPE), b"Error"))


_READERS: Final[dict[int, Callable[[_Bytes, list[str]], _Reader]]] = {
    PING: _read_ping,
    ACK: _read_ack,
    PUSH_PULL: _read_push_pull,
    USER: _read_user,
    ERROR: _read_error,
}
"""What a stream may carry, by type byte; each reads what follows that byte."""
