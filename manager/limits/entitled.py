"""What every node should have of each limit: a function of the nodes that run, alike at all managers (Q1)."""

from collections.abc import Container, Mapping
from math import inf

from gossip.group import Group
from manager.limits.apart import Apart
from manager.limits.budgets import Holding
from manager.limits.carried import kept
from manager.limits.census import Census
from manager.limits.demand import Demand
from manager.limits.sharing import Division, added, as_share, level, rate
from manager.registry import NodeView
from manager.seats.founders import Founders
from manager.terms import Terms
from node.protocol import Limits


class Entitlements:
    """`founders`: whose rights keep something of a limit that conserves, under policy `strict`."""

    def __init__(
        self, group: Group, terms: Terms, demand: Demand, apart: Apart, founders: Founders | None
    ) -> None:
        self._group = group
        self._terms = terms
        self._demand = demand
        self._apart = apart
        self._founders = founders
        self._divisions: dict[str, Division] = {}

    def divide(
        self,
        name: str,
        total: float,
        census: Census,
        holdings: Mapping[str, Holding],
        ours: Container[str],
    ) -> tuple[dict[str, float], dict[str, float]]:
        """What each manager's nodes should have together, and what each node of this manager, per second.

        `holdings`: by manager, with what its nodes want. `ours`: whom this manager serves.
        """
        me, by_demand = self._group.name, self._is_by_demand(name)
        weights = {
            owner: added(self._weight(name, view) for view in views)
            for owner, views in census.running.items()
        }
        wishes = {
            owner: self._wishes_of(name, owner, weight, census, holdings) for owner, weight in weights.items()
        }
        keep = self.kept(total)
        division = level(total - added(keep.values()), [wish for each in wishes.values() for wish in each])
        self._divisions[name] = division
        entitled = {
            owner: added(division.part(weight, demand) for weight, demand in wishes.get(owner, ()))
            + keep.get(owner, 0.0)
            for owner in sorted({*wishes, *keep})
        }
        lent = keep.get(me, 0.0) / weights[me] if weights.get(me) else 0.0
        targets = {
            view.id: division.part(weight, self._demand.of(view.id) if by_demand else inf) + weight * lent
            for view in census.running.get(me, ())
            if view.id in ours and (weight := self._weight(name, view))
        }
        return entitled, targets

    def _wishes_of(
        self, name: str, owner: str, weight: float, census: Census, holdings: Mapping[str, Holding]
    ) -> list[tuple[float, float]]:
        """(weight, demand) of a manager's nodes; all that they can get where they do not say."""
        known: tuple[tuple[float, float], ...] = ()
        if owner == self._group.name:
            known = self.wishes(name, census)
        elif self._is_by_demand(name) and owner in holdings and owner in self._apart.alive:
            known = holdings[owner].wishes
        return list(known) or [(weight, inf)]

    def wishes(self, name: str, census: Census) -> tuple[tuple[float, float], ...]:
        """(weight, demand) of this manager's nodes, to be published; none where demand does not count."""
        if not self._is_by_demand(name):
            return ()
        views = census.running.get(self._group.name, ())
        return self._demand.alike([(view.record.weight, self._demand.of(view.id)) for view in views])

    def kept(self, total: float) -> dict[str, float]:
        """What the rights that are left carry, of whoever may give them (rule Q6)."""
        if self._founders is None or self._terms.config.limits_mode != "conserve":
            return {}
        pages = self._group.ledger.pages
        members = {self._group.name, *self._apart.alive, *filter(self._apart.is_out_of_reach, pages)}
        return kept(total, self._terms.cap, self._founders, members)

    def of(self, view: NodeView) -> Limits:
        """What a running node should have, if it wants all that it can get."""
        return {
            name: as_share(self._divisions[name].part(self._weight(name, view), inf), limit)
            for name, limit in self._terms.limits.items()
            if name in self._divisions
        }

    def usual(self) -> Limits:
        """The same for a node of weight 1, within the limit."""
        return {
            name: as_share(min(rate(limit), self._divisions[name].part(1.0, inf)), limit)
            for name, limit in self._terms.limits.items()
            if name in self._divisions
        }

    def _is_by_demand(self, name: str) -> bool:
        return self._terms.sharing(name).algorithm == "fair_share"

    def _weight(self, name: str, view: NodeView) -> float:
        return 1.0 if self._terms.sharing(name).algorithm == "equal" else view.record.weight
