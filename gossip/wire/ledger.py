"""The ledger's messages as bytes.

They travel as memberlist user messages whose first byte no Serf message has, by UDP or TCP, and only
between members whose metadata announces them: `K`, then a MessagePack array that starts with the kind.
"""

from typing import Any, TypeAlias

import msgpack

from gossip.errors import WireError
from gossip.ledger import Digest
from gossip.ledger_messages import DigestIs, Heard, LedgerMessage, Pieces, Push, Sender, Summary, Sync
from gossip.pages import KEY_CHARS_MAX, MESSAGE_ENTRIES_MAX, VALUE_BYTES_MAX, Entry, Mark, Piece

PREFIX = b"K"
NAME_BYTES_MAX = 255
PIECES_MAX = 4096
DIGEST_MAX = 4096
FINGERPRINT_BYTES = 8
_FIELDS = {0: 8, 1: 4, 2: 4, 3: 4, 4: 4, 5: 6}
"""Of each kind, with the kind itself. A later version may add to the end, of these and of what is in them."""
_PIECE_FIELDS = 7
_FURTHER_MAX = 16
_SMALL_ARRAY_MAX = 8
"""Of those that are built in one go: an entry, a mark."""

_Fields: TypeAlias = list[Any]


def _plain_digest(digest: Digest) -> dict[str, list[int]]:
    return {owner: [mark.generation, mark.version] for owner, mark in digest.items()}


def _plain_piece(piece: Piece) -> _Fields:
    entries = [[entry.key, entry.version, entry.value] for entry in piece.entries]
    return [piece.owner, piece.generation, piece.after, piece.upto, piece.floor, piece.reset, entries]


def encode_ledger(message: LedgerMessage) -> bytes:
    """The payload of a user message."""
    match message:
        case Heard(sender, owner, upto, own):
            fields: _Fields = [0, *sender, owner, *upto, *own]
        case Summary(sender, fingerprint):
            fields = [1, *sender, fingerprint]
        case DigestIs(sender, digest):
            fields = [2, *sender, _plain_digest(digest)]
        case Push(sender, pieces):
            fields = [3, *sender, [_plain_piece(piece) for piece in pieces]]
        case Sync(sender, digest):
            fields = [4, *sender, _plain_digest(digest)]
        case Pieces(sender, digest, pieces, more):
            fields = [5, *sender, _plain_digest(digest), [_plain_piece(piece) for piece in pieces], more]
    packed: bytes = msgpack.packb(fields, unicode_errors="surrogateescape")
    return PREFIX + packed


def decode_ledger(payload: bytes) -> LedgerMessage:
    """The message in `payload`, which starts with `PREFIX`; raises `WireError` for anything else."""
    # Walked through and not built whole: a container is allocated as announced, whatever follows.
    unpacker = msgpack.Unpacker(
        max_buffer_size=max(len(payload), 1),
        unicode_errors="surrogateescape",
        max_array_len=_SMALL_ARRAY_MAX,
        max_map_len=0,
        max_ext_len=0,
    )
    unpacker.feed(payload[len(PREFIX) :])
    try:
        message = _message(unpacker)
        if unpacker.tell() != len(payload) - len(PREFIX):
            raise ValueError("bytes after the end")
    except (ValueError, msgpack.UnpackException) as error:
        raise WireError("bad_ledger", str(error) or type(error).__name__) from error
    return message


def _message(unpacker: Any) -> LedgerMessage:
    length, kind = unpacker.read_array_header(), read_number(unpacker.unpack())
    if length < (known := _FIELDS.get(kind, length + 1)):
        raise ValueError("no ledger message of this version")
    message = _known(kind, _sender(unpacker.unpack(), unpacker.unpack()), unpacker)
    _skip(unpacker, length - known)
    return message


def _skip(unpacker: Any, count: int) -> None:
    """Pass over what a later version has added at the end."""
    for _ in range(_announced(count, _FURTHER_MAX, "fields that are not known here")):
        unpacker.skip()


def _known(kind: int, sender: Sender, unpacker: Any) -> LedgerMessage:
    match kind:
        case 0:
            owner, *marks = (unpacker.unpack() for _ in range(5))
            generation, version, own_generation, own_version = map(read_number, marks)
            return Heard(
                sender, read_name(owner), Mark(generation, version), Mark(own_generation, own_version)
            )
        case 1:
            fingerprint = unpacker.unpack()
            if not isinstance(fingerprint, bytes) or len(fingerprint) != FINGERPRINT_BYTES:
                raise ValueError(f"not a fingerprint of {FINGERPRINT_BYTES} bytes")
            return Summary(sender, fingerprint)
        case 2:
            return DigestIs(sender, _digest(unpacker))
        case 3:
            return Push(sender, _pieces(unpacker))
        case 4:
            return Sync(sender, _digest(unpacker))
        case _:
            return Pieces(sender, _digest(unpacker), _pieces(unpacker), _flag(unpacker.unpack()))


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("not a bool")
    return value


def read_number(value: object) -> int:
    """An unsigned 64-bit number. Raises `ValueError`."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**64:
        raise ValueError("not a whole number from 0 to 2^64 - 1")
    return value


def _sender(name: object, start: object) -> Sender:
    return Sender(read_name(name), read_number(start))


def read_name(value: object) -> str:
    """A member's name. Raises `ValueError`."""
    if not isinstance(value, str) or not 0 < len(value) <= NAME_BYTES_MAX:
        raise ValueError(f"not a name of 1 to {NAME_BYTES_MAX} characters")
    return value


def _digest(unpacker: Any) -> Digest:
    digest: Digest = {}
    for _ in range(_announced(unpacker.read_map_header(), DIGEST_MAX, "owners")):
        owner = read_name(unpacker.unpack())
        match unpacker.unpack():
            case [generation, version, *_]:
                digest[owner] = Mark(read_number(generation), read_number(version))
            case _:
                raise ValueError("a digest maps owners to [generation, version]")
    return digest


def _announced(count: int, most: int, what: str) -> int:
    if count > most:
        raise ValueError(f"{count} {what}, of {most} at most")
    return count


def _pieces(unpacker: Any) -> tuple[Piece, ...]:
    room = MESSAGE_ENTRIES_MAX
    pieces = []
    for _ in range(_announced(unpacker.read_array_header(), PIECES_MAX, "pieces")):
        piece = _piece(unpacker, room)
        room -= len(piece.entries)
        pieces.append(piece)
    return tuple(pieces)


def _piece(unpacker: Any, room: int) -> Piece:
    if (length := unpacker.read_array_header()) < _PIECE_FIELDS:
        raise ValueError("not a piece of a page")
    owner = read_name(unpacker.unpack())
    generation, after, upto, floor = (read_number(unpacker.unpack()) for _ in range(4))
    reset = _flag(unpacker.unpack())
    count = _announced(unpacker.read_array_header(), room, "entries")
    entries = tuple(_entry(unpacker.unpack()) for _ in range(count))
    _skip(unpacker, length - _PIECE_FIELDS)
    piece = Piece(owner, generation, after, upto, floor, entries, reset)
    previous = piece.after
    for entry in piece.entries:
        if not previous < entry.version <= piece.upto:
            raise ValueError("the entries of a piece must ascend within it")
        previous = entry.version
    empty = piece.after >= piece.upto and not (piece.reset and piece.upto == 0)
    if empty or piece.floor > piece.upto or (piece.reset and piece.after):
        raise ValueError("the bounds of a piece contradict each other")
    return piece


def _entry(fields: object) -> Entry:
    match fields:
        case [str(key), version, None | bytes() as value, *_] if len(key) <= KEY_CHARS_MAX:
            if value is not None and len(value) > VALUE_BYTES_MAX:
                raise ValueError(f"a value exceeds {VALUE_BYTES_MAX} bytes")
            return Entry(key, read_number(version), value)
        case _:
            raise ValueError("not an entry of a page")
