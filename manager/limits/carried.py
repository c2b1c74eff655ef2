"""What each founder keeps of a limit for the rights that it has left (rule Q6)."""

from collections.abc import Collection

from manager.seats.founders import Founders

KEPT_PART = 0.1
"""Of the limit, at most, by all founders together."""


def kept(total: float, cap: int | None, founders: Founders, members: Collection[str]) -> dict[str, float]:
    """By founder, of a limit of `total` that `cap` nodes may share; `members`: who has not left for good.

    Nothing for one that was expelled: its budget is the others' when its nodes' leases are over.
    """
    if not cap:
        return {}
    part = KEPT_PART * total / len(founders.names)
    return {
        name: min(account.room * total / cap, part)
        for name, account in sorted(founders.known.accounts.items())
        if name in members and name not in founders.known.expelled
    }
