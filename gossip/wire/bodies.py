"""One message: its type byte and its body, the same in a packet and on a stream."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from gossip.errors import WireError
from gossip.messages import (
    Ack,
    Address,
    Alive,
    Dead,
    IndirectPing,
    Message,
    Nack,
    NodeName,
    Ping,
    Suspect,
    User,
)
from gossip.wire.fields import (
    U32_MAX,
    Body,
    Shape,
    address,
    as_body,
    flag,
    given_name,
    incarnation,
    is_mapped,
    meta,
    name,
    number,
    octets,
    pack,
    packed_host,
    packed_text,
    shape,
    source,
    unpack,
    versions,
)
from gossip.wire.reasons import BAD_COMPRESSION

PING: Final = 0
INDIRECT_PING: Final = 1
ACK: Final = 2
SUSPECT: Final = 3
ALIVE: Final = 4
DEAD: Final = 5
PUSH_PULL: Final = 6
COMPOUND: Final = 7
USER: Final = 8
COMPRESS: Final = 9
ENCRYPT: Final = 10
NACK: Final = 11
CRC: Final = 12
ERROR: Final = 13
LABEL: Final = 244

_NEWS_KEPT: Final = 1024
"""Claims about members come and go many times, each unchanged: the last so many are read and written once."""
_NEWS_BYTES_MAX: Final = 1024
"""Longer ones are padded by somebody, and not kept."""

PING_SHAPE: Final = shape(b"SeqNo", b"Node", b"SourceAddr", b"SourcePort", b"SourceNode")
ACK_SHAPE: Final = shape(b"SeqNo", b"Payload")
_INDIRECT_PING_SHAPE: Final = shape(
    b"SeqNo", b"Target", b"Port", b"Node", b"Nack", b"SourceAddr", b"SourcePort", b"SourceNode"
)
_NACK_SHAPE: Final = shape(b"SeqNo")
_ACCUSATION_SHAPE: Final = shape(b"Incarnation", b"Node", b"From")
_ALIVE_SHAPE: Final = shape(b"Incarnation", b"Node", b"Addr", b"Port", b"Meta", b"Vsn")
COMPRESS_SHAPE: Final = shape(b"Algo", b"Buf")


def encode_message(message: Message) -> bytes:
    """The message bare, as it may stand in a packet; keys in ascending order, as peers write them."""
    if isinstance(message, Alive | Suspect | Dead):
        return _encode_news(message)
    return _ENCODERS[type(message)](message)


@lru_cache(_NEWS_KEPT)
def _encode_news(message: Alive | Suspect | Dead) -> bytes:
    return _ENCODERS[type(message)](message)


def _put_source(body: Body, source: Address | None, source_name: NodeName) -> Body:
    """Adds the three optional fields, which sort after all but `Target`."""
    if source is not None:
        body[b"SourceAddr"] = packed_host(source.host)
    if source_name:
        body[b"SourceNode"] = packed_text(source_name)
    if source is not None and source.port:
        body[b"SourcePort"] = source.port
    return body


def _encode_ping(ping: Ping) -> bytes:
    body = {b"Node": packed_text(ping.target), b"SeqNo": ping.number}
    return b"\x00" + pack(_put_source(body, ping.source, ping.source_name))


def _encode_indirect_ping(ping: IndirectPing) -> bytes:
    body = {
        b"Nack": ping.nack,
        b"Node": packed_text(ping.target),
        b"Port": ping.address.port,
        b"SeqNo": ping.number,
    }
    _put_source(body, ping.source, ping.source_name)
    body[b"Target"] = packed_host(ping.address.host)
    return b"\x01" + pack(body)


def _encode_ack(ack: Ack) -> bytes:
    return b"\x02" + pack({b"Payload": ack.payload or None, b"SeqNo": ack.number})


def _encode_nack(nack: Nack) -> bytes:
    return b"\x0b" + pack({b"SeqNo": nack.number})


def _accusation(message: Suspect | Dead) -> bytes:
    return pack(
        {
            b"From": packed_text(message.accuser),
            b"Incarnation": message.incarnation,
            b"Node": packed_text(message.node),
        }
    )


def _encode_suspect(suspect: Suspect) -> bytes:
    return b"\x03" + _accusation(suspect)


def _encode_dead(dead: Dead) -> bytes:
    return b"\x05" + _accusation(dead)


def _encode_alive(alive: Alive) -> bytes:
    return b"\x04" + pack(
        {
            b"Addr": packed_host(alive.address.host, alive.mapped),
            b"Incarnation": alive.incarnation,
            b"Meta": alive.meta or None,
            b"Node": packed_text(alive.node),
            b"Port": alive.address.port,
            b"Vsn": bytes(alive.versions),
        }
    )


def _encode_user(user: User) -> bytes:
    return b"\x08" + user.payload


_ENCODERS: Final[dict[type, Callable[[Any], bytes]]] = {
    Ping: _encode_ping,
    IndirectPing: _encode_indirect_ping,
    Ack: _encode_ack,
    Nack: _encode_nack,
    Suspect: _encode_suspect,
    Alive: _encode_alive,
    Dead: _encode_dead,
    User: _encode_user,
}


def read_ping(body: Body) -> Ping:
    return Ping(number(body, b"SeqNo", U32_MAX), name(body, b"Node"), source(body), name(body, b"SourceNode"))


def read_ack(body: Body) -> Ack:
    return Ack(number(body, b"SeqNo", U32_MAX), octets(body, b"Payload"))


def read_compressed(body: Body) -> bytes:
    """The packed bytes in the body of a compress message."""
    if (algorithm := number(body, b"Algo", U32_MAX)) != 0:
        raise WireError(BAD_COMPRESSION, f"compression algorithm {algorithm} is not known")
    return octets(body, b"Buf")


def _read_indirect_ping(body: Body) -> IndirectPing:
    return IndirectPing(
        number(body, b"SeqNo", U32_MAX),
        name(body, b"Node"),
        address(body, b"Target", b"Port"),
        flag(body, b"Nack"),
        source(body),
        name(body, b"SourceNode"),
    )


def _read_nack(body: Body) -> Nack:
    return Nack(number(body, b"SeqNo", U32_MAX))


def _read_suspect(body: Body) -> Suspect:
    return Suspect(given_name(body, b"Node"), incarnation(body), name(body, b"From"))


def _read_dead(body: Body) -> Dead:
    return Dead(given_name(body, b"Node"), incarnation(body), name(body, b"From"))


def _read_alive(body: Body) -> Alive:
    return Alive(
        given_name(body, b"Node"),
        incarnation(body),
        address(body, b"Addr", b"Port"),
        meta(body),
        versions(body),
        is_mapped(body, b"Addr"),
    )


def _decoder(shape: Shape, read: Callable[[Body], Message]) -> Callable[[bytes], Message]:
    def decode(data: bytes) -> Message:
        return read(as_body(unpack(data[1:]), shape))

    return decode


def _news(decode: Callable[[bytes], Message]) -> Callable[[bytes], Message]:
    kept = lru_cache(_NEWS_KEPT)(decode)

    def read(data: bytes) -> Message:
        return kept(data) if len(data) <= _NEWS_BYTES_MAX else decode(data)

    return read


def _decode_user(data: bytes) -> User:
    return User(data[1:])


DECODERS: Final[dict[int, Callable[[bytes], Message]]] = {
    PING: _decoder(PING_SHAPE, read_ping),
    INDIRECT_PING: _decoder(_INDIRECT_PING_SHAPE, _read_indirect_ping),
    ACK: _decoder(ACK_SHAPE, read_ack),
    NACK: _decoder(_NACK_SHAPE, _read_nack),
    SUSPECT: _news(_decoder(_ACCUSATION_SHAPE, _read_suspect)),
    ALIVE: _news(_decoder(_ALIVE_SHAPE, _read_alive)),
    DEAD: _news(_decoder(_ACCUSATION_SHAPE, _read_dead)),
    USER: _decode_user,
}
"""What a packet may carry, by type byte; each takes the message with its type byte."""
