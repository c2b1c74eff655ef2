"""How the budget of each limit is worked out: what counts for whom, what is added, and who gets what.

What every node should have is worked out elsewhere (`entitled.py`), and so are the rules by which one budget
grows and shrinks (`budgets.py`). Here stands in which order they come.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from math import inf

from gossip.group import Group
from manager.limits.apart import Apart
from manager.limits.budgets import HELD, Budget, Holding
from manager.limits.census import Census
from manager.limits.entitled import Entitlements
from manager.limits.handover import Handover
from manager.limits.others import Others
from manager.limits.sharing import added, rate
from manager.limits.sides import Side
from manager.limits.tenants import CLOCK_RATE, Tenant
from manager.terms import Terms
from node.protocol import Limit, Limits


@dataclass(frozen=True, slots=True)
class Part:
    """What is shown of one node's share of one limit, per second."""

    target: float
    """What it should have."""
    held: float
    """What it may have in force."""
    given: float
    """What it may be told."""


@dataclass(slots=True)
class Account:
    """One limit at this manager, as it was worked out last; per second."""

    budget: Budget = field(default_factory=Budget)
    entitled: Mapping[str, float] = field(default_factory=dict)
    """What each manager's nodes should have together."""
    parts: Mapping[str, Part] = field(default_factory=dict)
    """By node of this manager."""


@dataclass(slots=True)
class _Round:
    """One limit while it is worked out: what is known, and what follows from it; per second."""

    name: str
    total: float
    account: Account
    holdings: Mapping[str, Holding]
    census: Census
    fresh: bool
    frozen: bool
    """As `Budgeting.freezes`."""
    now: float
    entitled: dict[str, float]
    """By manager, what its nodes should have together."""
    targets: dict[str, float]
    """By node, what it should have."""
    held: dict[str, float] = field(default_factory=dict)
    """By node, what it may have in force."""
    brought: dict[str, float] = field(default_factory=dict)
    """… what of that counts for the manager from which it has come …"""
    net: dict[str, float] = field(default_factory=dict)
    """… and what is of our own budget."""

    @property
    def budget(self) -> Budget:
        return self.account.budget


class Budgeting:
    """This manager's budgets, which only it writes.

    `conserves`: whether the sum holds in a split too; `hands_over`: whether managers then hand over to each
    other what they do not use, which their disks must keep (policy `strict`).
    """

    def __init__(
        self,
        group: Group,
        terms: Terms,
        apart: Apart,
        side: Side,
        entitlements: Entitlements,
        *,
        conserves: bool,
        hands_over: bool,
    ) -> None:
        self._group = group
        self._terms = terms
        self._apart = apart
        self._side = side
        self._entitlements = entitlements
        self._others = Others(group, apart, conserves=conserves)
        self._conserves = conserves
        self._hands_over = hands_over
        self._accounts: dict[str, Account] = {}
        self._reserved_until = -inf

    def account(self, name: str) -> Account | None:
        """How the limit stands; None where that was never worked out. Read only."""
        return self._accounts.get(name)

    @property
    def freezes(self) -> bool:
        """Whether nobody may add to its budget, nor take back what another may be using (rule Q5)."""
        return self._conserves and self._apart.is_split

    @property
    def is_pending(self) -> bool:
        """Whether something was added that others have not answered for."""
        return any(account.budget.pending for account in self._accounts.values())

    def is_answered(self, now: float) -> bool:
        """Whether what was added can be used, or is to be taken back."""
        budgets = [account.budget for account in self._accounts.values()]
        return self.freezes or self._others.have_answered(budgets, now)

    @property
    def longest(self) -> float:
        """Seconds after which no share that was given by now is in force any more."""
        return CLOCK_RATE * max((lease.lasts for lease in self._terms.leases.values()), default=0.0)

    def recall(self, before: Mapping[str, bytes], now: float) -> None:
        """What stood on our page when we ended: our nodes may still have it in force."""
        for key, value in before.items():
            if key.startswith(HELD) and (holding := Holding.read(value)) is not None:
                self._accounts.setdefault(key[len(HELD) :], Account()).budget.recall(holding)
        if self._reserved_until == -inf:
            # Counted from the first time: others may tell us of that page again and again.
            self._reserved_until = now + self.longest

    def counted_at(self, owner: str, in_force: Limits) -> dict[str, float]:
        """What of `in_force` counts for that manager: no more than its budget, which has no free limits."""
        budgets = {name: self._others.holdings(name).get(owner) for name in in_force}
        return {
            name: min(rate(in_force[name]), budget.amount)
            for name, budget in budgets.items()
            if budget is not None
        }

    def cover(self, in_force: Limits, tenant: Tenant, before: Tenant | None, now: float) -> None:
        """Say that a node is ours now, before its record says so: nobody counts it as nobody's.

        `before`: it was ours already, with what counts for it.
        """
        for name in sorted(in_force.keys() & self._terms.limits.keys()):
            budget = self._accounts.setdefault(name, Account()).budget
            brought = tenant.brought.get(name, 0.0)
            covered = brought if before is None else max(brought, before.held(name, now, reserved=True))
            published = budget.published + max(0.0, rate(in_force[name]) - covered)
            if brought and before is None:
                budget.brought[tenant.origin] = budget.brought.get(tenant.origin, 0.0) + brought
            holding = Holding(float(published), float(published), handover=self._handover(budget))
            self._group.ledger.put(HELD + name, holding.pack(), ends_something=True)

    def drop(self, limits: Container[str]) -> None:
        """Only `limits` are left."""
        for name in [name for name in self._accounts if name not in limits]:
            del self._accounts[name]
            self._group.ledger.delete(HELD + name)

    def work_out(
        self,
        name: str,
        limit: Limit,
        tenants: Mapping[str, Tenant],
        counted: Container[str],
        census: Census,
        now: float,
        *,
        fresh: bool,
    ) -> bool:
        """Work the limit out anew, and publish it; whether somebody waits for something.

        `counted`: nodes whose leases do not end yet. `fresh`: this manager has just started, so that nobody
        grows (rule Q3).
        """
        total, account, frozen = rate(limit), self._accounts.setdefault(name, Account()), self.freezes
        holdings = self._others.holdings(name)
        entitled, targets = self._entitlements.divide(name, total, census, holdings, tenants)
        work = _Round(name, total, account, holdings, census, fresh, frozen, now, entitled, targets)
        back = self._see_what_is_held(work, tenants, counted)
        self._count_others(work)
        sides = frozen and self._hands_over
        if sides:
            self._divide_among_those_in_reach(work, tenants)
        account.entitled = work.entitled
        if not (self._hands_over and (frozen or fresh)):
            account.budget.reserve = min(account.budget.reserve, back)
        self._fit_budget(work)
        if account.budget.is_short(now):
            self._make_do(work, sides=sides)
        account.parts = _give(work)
        if sides and not fresh and not account.budget.pending:
            self._hand_over(work)
        self._publish(work)
        budget = account.budget
        waits = budget.pending or budget.short_since is not None or budget.reserve > 0
        return waits or self._others.waits

    def _see_what_is_held(
        self, work: _Round, tenants: Mapping[str, Tenant], counted: Container[str]
    ) -> float:
        """What our nodes have in force; gives how much of our earlier process's that can still be."""
        name, budget, now = work.name, work.budget, work.now
        if self._hands_over:
            self._side.settle(name, budget, tenants, work.holdings, now, still=work.fresh)
        work.held = {id_: each.held(name, now, reserved=id_ in counted) for id_, each in tenants.items()}
        work.brought = {id_: part for id_, each in tenants.items() if (part := each.brought.get(name, 0.0))}
        work.net = {id_: max(0.0, amount - work.brought.get(id_, 0.0)) for id_, amount in work.held.items()}
        if now >= self._reserved_until and not work.frozen:
            budget.reserve = 0.0
        # Whoever came back is among those that hold something, and who is elsewhere is no longer listed here.
        return added(work.held.values()) + work.census.left[self._group.name] * budget.reserve_each

    def _count_others(self, work: _Round) -> None:
        """What counts for the other managers, and what of ours is theirs."""
        budget, holdings = work.budget, work.holdings
        self._others.waits = False
        budget.others = {
            owner: self._others.count(owner, holding, work.census, self.longest, work.now)
            + self._side.beside(owner, holdings)
            for owner, holding in holdings.items()
            if owner != self._group.name
        }
        if self._hands_over:
            budget.untaken = self._side.untaken(budget, holdings)
            if not work.fresh:
                rest = max(budget.usable, budget.reserve) - added(work.net.values())
                self._side.pay(work.name, budget, holdings, rest)

    def _divide_among_those_in_reach(self, work: _Round, tenants: Mapping[str, Tenant]) -> None:
        """In a split there is only what those in reach have together (rule Q6)."""
        budget, me, net = work.budget, self._group.name, work.net
        unused = {id_: amount for id_, amount in net.items() if not tenants[id_].connected}
        carried = added(part for id_, part in work.brought.items() if id_ not in unused)
        budget.divides = max(0.0, budget.room(work.total) - added(unused.values())) + carried
        whole, kept = work.entitled, self._entitlements.kept(work.total)
        work.entitled = self._side.divide(budget, work.holdings, whole, kept)
        part = work.entitled[me] / whole[me] if whole.get(me) else 0.0
        work.targets = {id_: target * part for id_, target in work.targets.items()}

    def _fit_budget(self, work: _Round) -> None:
        """Give back what is not ours, use what was added and is answered for, add what we lack."""
        budget, now = work.budget, work.now
        mine = work.entitled.get(self._group.name, 0.0)
        budget.settle(added(work.net.values()), mine, now, keeps=work.frozen)
        if budget.pending and self.is_answered(now):
            self._end_addition(work)
        if work.fresh:
            return
        lacking = (mine - budget.published) + added(
            max(0.0, work.entitled.get(owner, 0.0) - amount) for owner, amount in budget.others.items()
        )
        if budget.add(work.total, mine, lacking, now):
            self._publish(work)
            budget.version = self._group.ledger.own.version
            if self.is_answered(now):
                self._end_addition(work)

    def _end_addition(self, work: _Round) -> None:
        turn = sum(member.name < self._group.name for member in self._group.kin())
        if work.frozen:
            work.budget.withdraw(turn, work.now)
        else:
            work.budget.heard(work.total, turn, work.now)

    def _make_do(self, work: _Round, *, sides: bool) -> None:
        """The budget cannot be what it should: the nodes get what it is."""
        mine = work.entitled.get(self._group.name, 0.0)
        if mine <= 0:
            return
        budget = work.budget
        most = budget.room(work.total) + added(work.brought.values()) if sides else budget.usable
        work.targets = {id_: target * min(1.0, most / mine) for id_, target in work.targets.items()}

    def _hand_over(self, work: _Round) -> None:
        """Give others in reach what our nodes do not want."""
        has = {id_: max(work.held[id_], work.brought.get(id_, 0.0)) for id_ in work.targets}
        grow = added(max(0.0, target - has[id_]) for id_, target in work.targets.items())
        rest = work.budget.room(work.total) - added(work.net.values())
        self._side.hand_over(work.name, work.budget, work.total, rest, grow)

    def _publish(self, work: _Round) -> None:
        budget, key = work.budget, HELD + work.name
        wishes = self._entitlements.wishes(work.name, work.census)
        largest = max((max(part.held, part.given) for part in work.account.parts.values()), default=0.0)
        holding = Holding(float(budget.published), float(largest), wishes, self._handover(budget))
        before = self._group.ledger.own.get(key)
        if budget.published <= 0 and not wishes and not self._hands_over and before is None:
            return
        if before != (packed := holding.pack()):
            self._group.ledger.put(key, packed, ends_something=True)

    def _handover(self, budget: Budget) -> Handover | None:
        if not self._hands_over:
            return None
        return Handover(float(budget.divides), dict(budget.given), dict(budget.taken), dict(budget.brought))


def _give(work: _Round) -> dict[str, Part]:
    """Who has too much gets its part; the others what the budget has, by what they lack.

    What a node has brought along stays its own.
    """
    brought, held = work.brought, work.held
    targets = {id_: max(target, brought.get(id_, 0.0)) for id_, target in work.targets.items()}
    has = {id_: max(amount, brought.get(id_, 0.0)) for id_, amount in held.items()}
    room = work.budget.room(work.total) - added(amount - brought.get(id_, 0.0) for id_, amount in has.items())
    lacking = added(max(0.0, target - has[id_]) for id_, target in targets.items())
    part = 0.0 if work.fresh or not lacking else max(0.0, min(1.0, room / lacking))
    return {
        id_: Part(target, held[id_], min(target, has[id_]) + max(0.0, target - has[id_]) * part)
        for id_, target in targets.items()
    }
