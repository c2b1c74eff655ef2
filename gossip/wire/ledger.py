"""The ledger's messages as bytes.

They travel as memberlist user messages whose first byte no Serf message has, by UDP or TCP, and only
between members whose metadata announces them: `K`, then a MessagePack array that starts with the kind.
"""

from typing import Any, TypeAlias

import msgpack

from gossip.errors import WireError
from gossip.ledger import KEY_CHARS_MAX, VALUE_BYTES_MAX, Digest, Entry, Mark, Piece
from gossip.ledger_messages import DigestIs, Heard, LedgerMessage, Pieces, Push, Sender, Summary, Sync

PREFIX = b"K"
NAME_BYTES_MAX = 255
PIECES_MAX = 4096
FINGERPRINT_BYTES = 8

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
    try:
        fields = msgpack.unpackb(
            payload[len(PREFIX) :], unicode_errors="surrogateescape", strict_map_key=True
        )
        match fields:
            case [0, name, start, owner, generation, version, own_generation, own_version]:
                own = Mark(_number(own_generation), _number(own_version))
                return Heard(
                    _sender(name, start), _name(owner), Mark(_number(generation), _number(version)), own
                )
            case [1, name, start, bytes(fingerprint)] if len(fingerprint) == FINGERPRINT_BYTES:
                return Summary(_sender(name, start), fingerprint)
            case [2, name, start, dict(digest)]:
                return DigestIs(_sender(name, start), _digest(digest))
            case [3, name, start, list(pieces)]:
                return Push(_sender(name, start), _pieces(pieces))
            case [4, name, start, dict(digest)]:
                return Sync(_sender(name, start), _digest(digest))
            case [5, name, start, dict(digest), list(pieces), bool(more)]:
                return Pieces(_sender(name, start), _digest(digest), _pieces(pieces), more)
            case _:
                raise ValueError("no ledger message of this version")
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise WireError("bad_ledger", str(error)) from error


def _number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**64:
        raise ValueError("not a whole number from 0 to 2^64 - 1")
    return value


def _sender(name: object, start: object) -> Sender:
    return Sender(_name(name), _number(start))


def _name(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= NAME_BYTES_MAX:
        raise ValueError(f"not a name of 1 to {NAME_BYTES_MAX} characters")
    return value


def _digest(value: dict[Any, Any]) -> Digest:
    digest: Digest = {}
    for owner, mark in value.items():
        if not isinstance(mark, list) or len(mark) != 2:
            raise ValueError("a digest maps owners to [generation, version]")
        digest[_name(owner)] = Mark(_number(mark[0]), _number(mark[1]))
    return digest


def _pieces(value: list[Any]) -> tuple[Piece, ...]:
    if len(value) > PIECES_MAX:
        raise ValueError(f"more than {PIECES_MAX} pieces")
    return tuple(_piece(fields) for fields in value)


def _piece(fields: object) -> Piece:
    match fields:
        case [owner, generation, after, upto, floor, bool(reset), list(entries)]:
            piece = Piece(
                _name(owner),
                _number(generation),
                _number(after),
                _number(upto),
                _number(floor),
                tuple(_entry(entry) for entry in entries),
                reset,
            )
        case _:
            raise ValueError("not a piece of a page")
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
        case [str(key), version, None | bytes() as value] if len(key) <= KEY_CHARS_MAX:
            if value is not None and len(value) > VALUE_BYTES_MAX:
                raise ValueError(f"a value exceeds {VALUE_BYTES_MAX} bytes")
            return Entry(key, _number(version), value)
        case _:
            raise ValueError("not an entry of a page")
