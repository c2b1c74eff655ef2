"""What members that keep the ledger say to each other about it; `gossip.wire.ledger` makes bytes of it."""

from dataclasses import dataclass
from typing import TypeAlias

from gossip.ledger import Digest, Mark, Piece
from gossip.messages import NodeName


@dataclass(frozen=True, slots=True)
class Heard:
    """`sender` has `owner`'s page up to `upto`; its own, with all that it decided before, is at `own`."""

    sender: NodeName
    owner: NodeName
    upto: Mark
    own: Mark


@dataclass(frozen=True, slots=True)
class Summary:
    """Eight bytes that are equal where all pages are; whoever differs answers with its digest."""

    sender: NodeName
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class DigestIs:
    """How far `sender` holds each page."""

    sender: NodeName
    digest: Digest


@dataclass(frozen=True, slots=True)
class Push:
    """News, or what the receiver's digest showed that it lacks."""

    sender: NodeName
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Sync:
    """By TCP: send me what I lack. Answered by `Pieces`."""

    sender: NodeName
    digest: Digest


@dataclass(frozen=True, slots=True)
class Pieces:
    """The answer to `Sync`; with `more`, ask again for the rest."""

    sender: NodeName
    digest: Digest
    pieces: tuple[Piece, ...]
    more: bool


LedgerMessage: TypeAlias = Heard | Summary | DigestIs | Push | Sync | Pieces
