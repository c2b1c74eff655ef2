"""Which incarnations are believed: one that nobody could outbid must not stick to whom it is claimed of.

An honest member starts at its clock and rises by one with each refutation. Whatever is far above both, the
clock and what is known of the member, is forged or comes from a clock that is wrong; of these two only the
latter is there when it is asked by TCP, at the address that the claim itself names.
"""

from typing import Final

from gossip.messages import Incarnation

AHEAD_MAX: Final = 2**20
"""Above our clock, some twelve days."""
STEP_MAX: Final = 64
"""Above what is known: refutations that we may have missed, too few to climb by to where numbers end."""
FIRST_HAND_MAX: Final = 3_000_000_000
"""By the member's own word. A clock gets there in 2065; a billion numbers remain above to refute with."""


def is_plausible(claimed: Incarnation, known: Incarnation, unix_seconds: float, *, first_hand: bool) -> bool:
    """Whether a member known at `known` (0 for a newcomer) may be at `claimed`.

    `first_hand`: the member itself says so, or of us one that we asked.
    """
    if first_hand and claimed <= FIRST_HAND_MAX:
        return True
    return claimed <= max(unix_seconds + AHEAD_MAX, known + STEP_MAX)
