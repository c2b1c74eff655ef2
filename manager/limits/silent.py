"""Nodes that were silent for too long, and may be at another manager that has not told us yet (rule Q6)."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from gossip.group import Group
from manager.limits.tenants import Tenant
from manager.packing import pack

ASKS = "asks"
"""Key on our page: who answers for it tells us of every node that has come to it."""


class Silent:
    """Of this manager's nodes, those whose leases are over and about whom others are asked."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._asked: dict[str, int] = {}
        """The version of our page by which others were asked about each."""

    def ask(self, tenants: Mapping[str, Tenant], now: float) -> None:
        """Ask all other managers about those that have become silent."""
        over = {id_ for id_, tenant in tenants.items() if tenant.any_over(now)}
        self._asked = {id_: version for id_, version in self._asked.items() if id_ in over}
        if new := sorted(over - self._asked.keys()):
            version = self._group.ledger.put(ASKS, pack(now))
            self._asked |= dict.fromkeys(new, version)

    def unanswered(self) -> AbstractSet[str]:
        """Those about whom somebody in reach has not answered: what they had in force still counts."""
        kin = [member.name for member in self._group.kin()]
        return {
            id_
            for id_, version in self._asked.items()
            if not all(self._group.heard_by(name, version) for name in kin)
        }
