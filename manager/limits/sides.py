"""What managers that reach each other make of their budgets while another is out of reach (rule Q6)."""

from collections.abc import Mapping

from gossip.group import Group
from manager.limits.apart import Apart
from manager.limits.budgets import HELD, Budget, Holding
from manager.limits.handover import Handover, gifts, outstanding, parts
from manager.limits.sharing import added
from manager.limits.tenants import Tenant

UNPAID_SECONDS = 60.0
"""Whoever is gone is known to be by then: what a node brought from one in reach is taken for our own."""


class Side:
    """Those in reach of this manager. For limits that conserve."""

    def __init__(self, group: Group, apart: Apart) -> None:
        self._group = group
        self._apart = apart
        self._has: dict[str, float] = {}
        self._should: dict[str, float] = {}
        self._holdings: Mapping[str, Holding] = {}

    def is_member(self, owner: str) -> bool:
        """Whether it is in reach, or out of reach and not gone for good."""
        known = owner in self._group.ledger.pages
        return known and (owner in self._apart.alive or self._apart.is_out_of_reach(owner))

    def settle(
        self,
        name: str,
        budget: Budget,
        tenants: Mapping[str, Tenant],
        holdings: Mapping[str, Holding],
        now: float,
        *,
        still: bool,
    ) -> None:
        """Take what was given to us, and pay with it for what nodes have brought along from the giver.

        `still`: nothing is taken yet.
        """
        me, generation = self._group.name, self._group.ledger.own.generation
        for owner, holding in sorted(holdings.items()):
            gift = None if holding.handover is None or owner == me else holding.handover.given.get(me)
            paid = budget.take(owner, gift, generation) if gift is not None and not still else 0.0
            for _, tenant in sorted(tenants.items()) if paid else ():
                if tenant.origin == owner and (part := min(paid, tenant.brought.get(name, 0.0))):
                    tenant.brought[name] -= part
                    paid -= part
        split, budget.brought = self._apart.is_split, {}
        for tenant in tenants.values():
            unpaid = not split and now > tenant.since + UNPAID_SECONDS
            if tenant.origin and (unpaid or not self.is_member(tenant.origin)):
                tenant.origin, tenant.brought = "", {}
            if name in tenant.brought and not self._apart.is_out_of_reach(tenant.origin):
                # A limit may have been lowered since: no more counts there than that one's budget is now.
                counts = holdings[tenant.origin].amount if tenant.origin in holdings else 0.0
                tenant.brought[name] = min(tenant.brought[name], counts)
            if part := tenant.brought.get(name, 0.0):
                budget.brought[tenant.origin] = budget.brought.get(tenant.origin, 0.0) + part
        budget.owed = self._owed(budget.brought)

    def untaken(self, budget: Budget, holdings: Mapping[str, Holding]) -> float:
        """What we gave, and was not taken yet."""
        return added(
            max(0.0, gift.amount - self._taken(to, holdings))
            for to, gift in sorted(budget.given.items())
            if to in holdings or self.is_member(to)
        )

    def _taken(self, to: str, holdings: Mapping[str, Holding]) -> float:
        handover = holdings[to].handover if to in holdings else None
        return 0.0 if handover is None else handover.taken.get(self._group.name, 0.0)

    def beside(self, owner: str, holdings: Mapping[str, Holding]) -> float:
        """What counts for another manager beside its budget: what its nodes brought, what it gave away."""
        handover = holdings[owner].handover
        if handover is None:
            return 0.0
        return self._owed(handover.brought) + added(
            self._outstanding(owner, to, holdings) for to in sorted(handover.given) if to in holdings
        )

    def _owed(self, brought: Mapping[str, float]) -> float:
        """Less what counts for the managers that are out of reach, from which it came."""
        pages = self._group.ledger.pages
        return added(
            part
            for origin, part in sorted(brought.items())
            if not (origin in pages and self._apart.is_out_of_reach(origin))
        )

    @staticmethod
    def _outstanding(giver: str, to: str, holdings: Mapping[str, Holding]) -> float:
        return outstanding(holdings[giver].handover, giver, holdings[to].handover, to)

    def divide(
        self,
        budget: Budget,
        holdings: Mapping[str, Holding],
        entitled: Mapping[str, float],
        kept: Mapping[str, float],
    ) -> dict[str, float]:
        """What each manager's nodes should have, of what those in reach have together."""
        me = self._group.name
        has = {me: budget.divides}
        for owner in sorted(self._apart.alive & holdings.keys()):
            if (handover := holdings[owner].handover) is not None:
                has[owner] = handover.divides
        for to in has:
            if to != me:
                has[to] += budget.given[to].amount - self._taken(to, holdings) if to in budget.given else 0.0
                has[to] += added(
                    self._outstanding(giver, to, holdings) for giver in has if giver not in (me, to)
                )
        self._has, self._holdings = has, holdings
        self._should = parts(has, entitled, kept)
        return {**entitled, **self._should}

    def pay(self, name: str, budget: Budget, holdings: Mapping[str, Holding], rest: float) -> None:
        """Give others what their nodes have brought along from us; `rest` is in no use here."""
        for owner, handover in self._open(name, budget, holdings).items():
            debt = min(rest, handover.brought.get(self._group.name, 0.0))
            if debt > 0:
                budget.give(owner, self._group.ledger.pages[owner].generation, debt)
                rest -= debt

    def hand_over(self, name: str, budget: Budget, total: float, rest: float, grow: float) -> None:
        """Give others in reach what they lack: `rest` is in no use here, `grow` of it wanted by our nodes.

        After `divide`.
        """
        me, open_ = self._group.name, self._open(name, budget, self._holdings)
        for owner, amount in gifts(me, rest - grow, total, self._has, self._should).items():
            if owner in open_ and not open_[owner].brought.get(me):
                budget.give(owner, self._group.ledger.pages[owner].generation, amount)

    def _open(self, name: str, budget: Budget, holdings: Mapping[str, Holding]) -> dict[str, Handover]:
        """To whom something can be given now: whoever has taken all that it was given before."""
        pages, me = self._group.ledger.pages, self._group.name
        members = [owner for owner in sorted(pages) if owner != me and self.is_member(owner)]
        found = {}
        for owner in members:
            if owner not in holdings or holdings[owner].handover is None:
                return {}  # a manager of an earlier version would count it as nobody's
            holding = Holding.read(pages[owner].get(HELD + name))
            before = budget.given[owner].amount if owner in budget.given else 0.0
            handover = holding.handover if holding is not None and owner in self._apart.alive else None
            if handover is not None and handover.taken.get(me, 0.0) >= before:
                found[owner] = handover
        return found
