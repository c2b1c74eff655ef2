"""What a member keeps over a restart, as its caller stored it (`PROTOCOL.md` § Ledger, L4 and L5)."""

from dataclasses import dataclass

from gossip.messages import Address, Incarnation
from gossip.pages import Piece


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """All pages are whole ones. What a member says must be in the next one's memory before it is sent."""

    own: Piece | None = None
    """Our own page, with all that was ever told of it; None for a member that starts anew."""
    copies: tuple[Piece, ...] = ()
    """What we held of others' pages; it may be old."""
    former: tuple[Piece, ...] = ()
    """What we kept of others' earlier pages, since they had not taken it over."""
    incarnation: Incarnation = 0
    """The highest that we claimed."""
    members: tuple[Address, ...] = ()
    """Where others were: they are looked for beside the configured peers."""


NO_MEMORY = Memory()
