"""UDP: a packet is a message, or a compound of them, in wrappings.

From the outside in a peer may wrap in the label and the seal of its group, a checksum, then in
compression and compounds, in each other as it likes. We write a compound where there is more than one
message, a checksum if asked to, and never compression, which nobody requires.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final
from zlib import crc32

from gossip.errors import WireError
from gossip.messages import Message
from gossip.wire.bodies import (
    COMPOUND,
    COMPRESS,
    COMPRESS_SHAPE,
    CRC,
    DECODERS,
    LABEL,
    encode_message,
    read_compressed,
)
from gossip.wire.fields import U16_MAX, as_body, unpack
from gossip.wire.layers import PLAIN, Layers
from gossip.wire.lzw import expand
from gossip.wire.reasons import (
    BAD_CRC,
    BAD_TYPE,
    CRC_MISPLACED,
    EMPTY,
    EMPTY_PART,
    PLAINTEXT,
    TOO_DEEP,
    TRUNCATED,
    UNDECRYPTABLE,
)
from gossip.wire.reasons import LABEL as LABELLED

COMPOUND_OVERHEAD: Final = 2
"""Bytes of a compound before its first part: the type and the count."""

PARTS_MAX: Final = 127
"""serf 0.9.4 misreads 128 and more."""

PART_OVERHEAD: Final = 2
"""Bytes of a compound for each part besides the part itself: its length."""

CRC_OVERHEAD: Final = 5
"""Bytes a checksum adds to a packet."""

UNPACKED_BYTES_MAX: Final = 64 * 1024
"""All that may be unpacked from one packet: as much as fits into one without compression."""

_WRAPPINGS_MAX: Final = 4
_U32: Final = Struct(">I")
_TABLES: Final = tuple(Struct(f">{count}H") for count in range(256))
"""The lengths of a compound's parts, by their number."""


@dataclass(frozen=True, slots=True)
class Packet:
    """The messages of a packet, in order, and for each part that had to be dropped the reason."""

    messages: tuple[Message, ...]
    rejected: tuple[str, ...] = ()


def part_cost(size: int) -> int:
    """Bytes that a message of `size` takes in a compound, its entry in the length table included."""
    return size + PART_OVERHEAD


def encode_packet(messages: Sequence[Message], crc: bool = False, layers: Layers = PLAIN) -> bytes:
    """One packet with 1 to 127 messages: bare if it is one, a compound if there are more.

    `crc` puts a checksum around it, which a peer understands from protocol 5 on. The caller keeps
    to its packet size by `encode_message`, `part_cost`, `COMPOUND_OVERHEAD` and `Layers.overhead`.
    """
    packet = join_parts([encode_message(message) for message in messages], crc)
    return packet if layers is PLAIN else layers.around(packet)


def join_parts(parts: Sequence[bytes], crc: bool = False) -> bytes:
    """As `encode_packet`, from messages already encoded and without layers."""
    count = len(parts)
    if count == 1:
        packet = parts[0]
        assert packet
    else:
        assert 1 < count <= PARTS_MAX
        lengths = [len(part) for part in parts]
        # An empty part makes serf 0.9.4 crash.
        assert min(lengths) > 0
        assert max(lengths) <= U16_MAX
        table = _TABLES[count].pack(*lengths)
        packet = b"".join((bytes((COMPOUND, count)), table, *parts))
    return bytes((CRC,)) + _U32.pack(crc32(packet)) + packet if crc else packet


def decode_packet(data: bytes, layers: Layers = PLAIN) -> Packet:
    """What one datagram says; a bad part of a compound costs only itself.

    Raises `WireError` if nothing can be made of the whole. A compound whose parts are cut short is
    worth its whole parts, as in memberlist. Without a key a sealed packet cannot be told from noise.
    """
    if layers is not PLAIN:
        data = _without_layers(data, layers)
    if data and (decode := DECODERS.get(data[0])) is not None:
        return Packet((decode(data),))
    opened = _Opened()
    opened.take(_unlabelled(data), _WRAPPINGS_MAX)
    return Packet(tuple(opened.messages), tuple(opened.rejected))


def _without_layers(data: bytes, layers: Layers) -> bytes:
    data = layers.unlabelled(data)
    if layers.keyring is None:
        return data
    plain = layers.keyring.open(data, layers.label)
    if plain is not None:
        return plain
    if _says_something(data):
        raise WireError(PLAINTEXT, "the packet is in plain text, and there is a key")
    raise WireError(UNDECRYPTABLE, f"no key opens the {len(data)} bytes")


def _says_something(data: bytes) -> bool:
    """Whether bytes that no key opens read as a packet without a seal. Costs little, whatever they are."""
    kind = data[0] if data else None
    if kind in (COMPOUND, COMPRESS):
        return True
    try:
        if kind == CRC:
            return bool(_unlabelled(data))
        return kind in DECODERS and bool(DECODERS[kind](data))
    except WireError:
        return False


def _unlabelled(data: bytes) -> bytes:
    """Strips what stands outermost or nowhere."""
    if data[:1] == bytes((LABEL,)):
        raise WireError(LABELLED, "the packet belongs to a group with a label")
    if data[:1] != bytes((CRC,)):
        return data
    inner = data[CRC_OVERHEAD:]
    if len(data) < CRC_OVERHEAD:
        raise WireError(TRUNCATED, "a checksum of less than four bytes")
    if _U32.unpack_from(data, 1)[0] != crc32(inner):
        raise WireError(BAD_CRC, f"the checksum does not fit the {len(inner)} bytes after it")
    return inner


class _Opened:
    """What has come out of the wrappings of one packet so far, and how much more may."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.rejected: list[str] = []
        self.room = UNPACKED_BYTES_MAX

    def take(self, data: bytes, wrappings: int) -> None:
        if not data:
            raise WireError(EMPTY, "nothing where a message belongs")
        kind = data[0]
        if (decode := DECODERS.get(kind)) is not None:
            self.messages.append(decode(data))
        elif kind in (COMPOUND, COMPRESS):
            if wrappings == 0:
                raise WireError(TOO_DEEP, f"more than {_WRAPPINGS_MAX} wrappings")
            if kind == COMPRESS:
                self.take(self._expanded(data), wrappings - 1)
            else:
                self._take_parts(data, wrappings - 1)
        elif kind == CRC:
            raise WireError(CRC_MISPLACED, "a checksum inside a packet")
        else:
            raise WireError(BAD_TYPE, f"message type {kind} has no place in a packet")

    def _expanded(self, data: bytes) -> bytes:
        packed = read_compressed(as_body(unpack(data[1:]), COMPRESS_SHAPE))
        # Refused data has cost as much work as good data: it uses up all the room.
        room, self.room = self.room, 0
        plain = expand(packed, room)
        self.room = room - len(plain)
        return plain

    def _take_parts(self, data: bytes, wrappings: int) -> None:
        if len(data) < COMPOUND_OVERHEAD or len(data) < (
            start := COMPOUND_OVERHEAD + PART_OVERHEAD * data[1]
        ):
            raise WireError(TRUNCATED, "a compound ends inside its table of lengths")
        lengths = _TABLES[data[1]].unpack_from(data, COMPOUND_OVERHEAD)
        if not lengths:
            raise WireError(EMPTY, "a compound of no parts")
        if 0 in lengths:
            raise WireError(EMPTY_PART, "a compound with an empty part")
        for length in lengths:
            end = start + length
            if end > len(data):
                self.rejected.append(TRUNCATED)
                break
            try:
                self.take(data[start:end], wrappings)
            except WireError as error:
                self.rejected.append(error.reason)
            start = end
