"""What members that keep the ledger say to each other about it; `gossip.wire.ledger` makes bytes of it."""

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from gossip.ledger import Digest
from gossip.messages import NodeName
from gossip.pages import Mark, Piece


class Sender(NamedTuple):
    """Who says it: a second process of the name would have another `start` than its member's metadata."""

    name: NodeName
    start: int


@dataclass(frozen=True, slots=True)
class Heard:
    """`sender` has `owner`'s page up to `upto`; its own, with all that it decided before, is at `own`."""

    sender: Sender
    owner: NodeName
    upto: Mark
    own: Mark


@dataclass(frozen=True, slots=True)
class Summary:
    """Eight bytes that are equal where all pages are; whoever differs answers with its digest."""

    sender: Sender
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class DigestIs:
    """How far `sender` holds each page."""

    sender: Sender
    digest: Digest


@dataclass(frozen=True, slots=True)
class Push:
    """News, or what the receiver's digest showed that it lacks."""

    sender: Sender
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Sync:
    """By TCP: send me what I lack. Answered by `Pieces`."""

    sender: Sender
    digest: Digest


@dataclass(frozen=True, slots=True)
class Pieces:
    """The answer to `Sync`; with `more`, ask again for the rest."""

    sender: Sender
    digest: Digest
    pieces: tuple[Piece, ...]
    more: bool


LedgerMessage: TypeAlias = Heard | Summary | DigestIs | Push | Sync | Pieces
