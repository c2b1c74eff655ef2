"""What other managers may have in force, by what stands on their pages (rules Q2 and Q5)."""

from collections.abc import Collection

from gossip.group import Group
from manager.limits.apart import Apart
from manager.limits.budgets import HELD, Budget, Holding
from manager.limits.census import Census

PATIENCE = 1.0
"""Seconds to wait for the answer of a manager that is alive (`available` only)."""


class Others:
    """The managers beside this one; `conserves`: whether who is out of reach counts as long as it may be."""

    def __init__(self, group: Group, apart: Apart, *, conserves: bool) -> None:
        self._group = group
        self._apart = apart
        self._conserves = conserves
        self._gone_since: dict[str, float] = {}
        self.waits = False
        """Whether somebody was counted who will count less in a while; to be set back by who asks."""

    def holdings(self, name: str) -> dict[str, Holding]:
        """What stands on each page, or stood before its owner's last start and is not taken over yet."""
        found: dict[str, Holding] = {}
        ledger = self._group.ledger
        for owner, page in [*ledger.pages.items(), *ledger.former.items()]:
            holding = Holding.read(page.get(HELD + name))
            if holding is not None and (owner not in found or found[owner].amount < holding.amount):
                found[owner] = holding
        return found

    def count(self, owner: str, holding: Holding, census: Census, longest: float, now: float) -> float:
        """How much of its budget may be in force, where no lease lasts for more than `longest` seconds."""
        if owner in self._apart.alive:
            self._gone_since.pop(owner, None)
            return holding.amount
        since = self._gone_since.setdefault(owner, now)
        if self._conserves and self._apart.is_out_of_reach(owner):
            return holding.amount
        if now >= since + longest:
            return 0.0
        self.waits = True
        return min(holding.amount, census.left[owner] * holding.largest)

    def have_answered(self, budgets: Collection[Budget], now: float) -> bool:
        """Whether all that are in reach have answered for what was added, or are not waited for."""
        pending = [budget for budget in budgets if budget.added_at is not None]
        version = max((budget.version for budget in pending), default=0)
        since = max((budget.added_at or 0.0 for budget in pending), default=now)
        if now >= since + PATIENCE and not self._conserves:
            return True
        return all(self._group.heard_by(member.name, version) for member in self._group.kin())
