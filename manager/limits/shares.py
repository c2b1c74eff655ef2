"""Each node's share of the cluster's limits: who shrinks, who grows, and when (rules Q1-Q5).

Shares follow from the pages: what every node should have is a function of the nodes that run, and so is the
part of each manager. What a manager gives comes out of its own budget (`budgets.py`). Whoever must
shrink is told at once; whoever may grow is told when the budget has room.
"""

from collections import defaultdict
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from math import inf

from gossip.group import Group
from manager.limits.apart import Apart
from manager.limits.budgets import HELD, Budget, Holding
from manager.limits.carried import kept
from manager.limits.demand import Demand
from manager.limits.handover import Handover
from manager.limits.sharing import Algorithm, Division, as_share, lease_of, level, rate
from manager.limits.sides import Side
from manager.limits.tenants import CLOCK_RATE, Tenant
from manager.packing import pack
from manager.page import NodePage
from manager.records import NodeState
from manager.registry import NodeView, Registry
from manager.seats.founders import Founders
from manager.terms import Terms
from node.protocol import Leases, Limit, Limits

ASKS = "asks"
"""Key on our page: who answers for it tells us of every node that has come to it."""
GAP_MIN = 0.05
GAP_PER_NODE = 0.0005
"""Seconds between two workings-out of the shares, at least: the more nodes, the longer."""
UNSETTLED_EVERY = 0.25
"""… and at most, while somebody waits for something."""
PATIENCE = 1.0
"""How long to wait for the answer of a manager that is alive (`available` only)."""
NEW_SECONDS = 2.0
"""How long a node waits for half of its share before it is told less; counted anew for each new limit."""
STEP = 0.1
"""A node that grows by less than this part of its share waits for more, rather than be told twice."""


@dataclass(frozen=True, slots=True)
class Part:
    """What is shown of one node's share of one limit, per second."""

    target: float
    """What it should have."""
    held: float
    """What it may have in force."""
    given: float
    """What it may be told."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """How one limit stands, per second.

    By manager: what its nodes should have together, and what counts for it. By node of this manager: what it
    should have, and what it may have in force.
    """

    entitled: Mapping[str, float]
    counts: Mapping[str, float]
    usable: float
    """What this manager may give of what counts for it."""
    alive: AbstractSet[str]
    split: bool
    targets: Mapping[str, float]
    held: Mapping[str, float]


@dataclass(slots=True)
class _Census:
    """The nodes that may use shares, as the pages say."""

    running: dict[str, list[NodeView]] = field(default_factory=lambda: defaultdict(list))
    left: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """By manager: nodes that ran there last, ended ones included whose leases may not be over."""


class Shares:
    """The shares of the nodes that this manager serves."""

    def __init__(
        self,
        group: Group,
        registry: Registry,
        page: NodePage,
        terms: Terms,
        founders: Founders | None = None,
    ) -> None:
        """`founders`: whose rights carry something, under policy `strict`."""
        self.fresh = True
        """Whether this manager has just started: nobody grows before it has reconciled (rule Q3)."""
        self.demand = Demand()
        self._group = group
        self._registry = registry
        self._page = page
        self._terms = terms
        self._founders = founders
        self._tenants: dict[str, Tenant] = {}
        self._budgets: dict[str, Budget] = {}
        self._parts: dict[str, dict[str, Part]] = {}
        self._divisions: dict[str, Division] = {}
        self._entitled: dict[str, dict[str, float]] = {}
        self._gone_since: dict[str, float] = {}
        self._reserved_until = -inf
        self._asked: dict[str, int] = {}
        """Nodes whose leases are over, and the version of our page by which others were asked about them."""
        self._apart = Apart(group, founders)
        self._side = Side(group, self._apart)
        self._changed = True
        self._unsettled = False
        self._next_at = -inf
        self._seen: tuple[object, ...] = ()

    # What happens to nodes

    def joined(self, id_: str, version: int, in_force: Limits, now: float) -> None:
        """`id_` said hello here and is let in; its gateway may let `in_force` through by now."""
        if not self._tenants:
            self._next_at = now  # the first one need not wait
        before = self._tenants.get(id_)
        tenant = self._tenants[id_] = Tenant(now, now)
        if in_force:
            tenant.tell(version, in_force, self.leases)
            if self._hands_over:
                tenant.origin, tenant.brought = self._brought(id_, in_force, before)
            self._cover(in_force, tenant, before if self._hands_over else None, now)
        self._changed = True

    def _brought(self, id_: str, in_force: Limits, before: Tenant | None) -> tuple[str, dict[str, float]]:
        """From whom it comes, and with what: that counts there until it is given to us (rule Q6)."""
        if before is not None:
            return before.origin, before.brought
        view = self._registry.view(id_)
        if view is None or not view.running or not self._side.is_member(view.manager):
            return "", {}
        return view.manager, {name: rate(limit) for name, limit in in_force.items()}

    def _cover(self, in_force: Limits, tenant: Tenant, before: Tenant | None, now: float) -> None:
        """Say that it is ours now, before the page says that the node is: nobody counts it as nobody's."""
        for name in sorted(in_force.keys() & self._terms.limits.keys()):
            budget, brought = self._budgets.setdefault(name, Budget()), tenant.brought.get(name, 0.0)
            covered = brought if before is None else max(brought, before.held(name, now, reserved=True))
            published = budget.published + max(0.0, rate(in_force[name]) - covered)
            if brought and before is None:
                budget.brought[tenant.origin] = budget.brought.get(tenant.origin, 0.0) + brought
            holding = Holding(float(published), float(published), handover=self._handover(budget))
            self._group.ledger.put(HELD + name, holding.pack(), ends_something=True)

    def _handover(self, budget: Budget) -> Handover | None:
        if not self._hands_over:
            return None
        return Handover(float(budget.divides), dict(budget.given), dict(budget.taken), dict(budget.brought))

    def has_lapsed(self, id_: str, now: float) -> bool:
        """Whether the node, which speaks now, was silent for so long that its shares may be others'."""
        tenant = self._tenants.get(id_)
        return tenant is not None and any(told.limits for told in tenant.told) and tenant.all_over(now)

    def revive(self, id_: str, version: int, now: float) -> None:
        """A node that had lapsed has in force what was safe; it is to be told before it is answered."""
        tenant = self._tenants[id_]
        limits = self._terms.limits
        safe = {name: as_share(tenant.held(name, now), limit) for name, limit in limits.items()}
        tenant.told, tenant.renewed = [], now
        tenant.tell(version, safe, self.leases)
        self._changed = True

    def reported(self, id_: str, version: int, counters: Mapping[str, float], now: float) -> None:
        """`id_` works under the limits of `version`; what it was told since may be in force all the same."""
        tenant = self._tenants.get(id_)
        if tenant is None:
            return
        tenant.renewed = now
        if tenant.works_under(version):
            self._changed = True
        if self.demand.measured(id_, counters, now):
            self._changed = True

    def lost(self, id_: str) -> None:
        """The session ended without a word, or its node is elsewhere: its leases run on."""
        if (tenant := self._tenants.get(id_)) is not None:
            tenant.connected = False
            self._changed = True

    def left(self, id_: str) -> None:
        """The node said that its gateway ends."""
        self._tenants.pop(id_, None)
        self.demand.forget(id_)
        self._changed = True

    def changed(self) -> None:
        """Something that shares depend on: pages, members, settings."""
        self._changed = True

    def recall(self, before: Mapping[str, bytes], now: float) -> None:
        """What stood on our page when we ended: our nodes may still have it in force."""
        for key, value in before.items():
            if key.startswith(HELD):
                try:
                    holding = Holding.unpack(value)
                except ValueError:
                    continue
                self._budgets.setdefault(key[len(HELD) :], Budget()).recall(holding)
        if self._reserved_until == -inf:
            # Counted from the first time: others may tell us of that page again and again.
            self._reserved_until = now + self._longest
        self._changed = True

    # What to tell

    @property
    def leases(self) -> Leases:
        """For how long a share may be used, by limit."""
        terms = self._terms
        return {name: lease_of(limit, terms.sharing(name), terms.cap) for name, limit in terms.limits.items()}

    def leases_of(self, share: Limits) -> Leases:
        """For how long what is in `share` may be used: a limit that is not told yet has no lease."""
        return {name: lease for name, lease in self.leases.items() if name in share}

    def told(self, id_: str, version: int, limits: Limits, leases: Leases) -> None:
        """`id_` is about to be told."""
        if (tenant := self._tenants.get(id_)) is not None:
            tenant.tell(version, limits, leases)
            tenant.awaited = {name: at for name, at in tenant.awaited.items() if name not in limits}
            self._changed = True

    def share_of(self, id_: str, now: float) -> Limits | None:
        """What to tell the node now; None as long as it should wait for more.

        A limit that is new stands in it once its share is worked out: till then it is not in force.
        """
        tenant = self._tenants.get(id_)
        if tenant is None:
            return None
        last = tenant.last_told
        share: dict[str, Limit] = {}
        for name, limit in self._terms.limits.items():
            before = None if last is None else last.limits.get(name)
            part = self._parts.get(name, {}).get(id_)
            few = part is None or part.given < part.target / 2
            if last is None and few and now < tenant.since + NEW_SECONDS:
                self._unsettled = True
                return None
            is_new = last is not None and before is None
            if is_new and few and now < tenant.awaited.setdefault(name, now + NEW_SECONDS):
                self._unsettled = True
                continue
            if part is None:
                share[name] = as_share(0.0, limit) if before is None else before
                continue
            new, whole = as_share(part.given, limit), as_share(part.target, limit)
            share[name] = new if before is None or self._is_worth(before, new, whole) else before
            self._unsettled = self._unsettled or share[name] != whole
        return share

    @staticmethod
    def _is_worth(before: Limit, new: Limit, whole: Limit) -> bool:
        """Whether it is told of `new`: less, all that it should have, or a good part more."""
        if before.per_client != new.per_client or rate(new) <= rate(before):
            return True
        return new == whole or rate(new) - rate(before) >= STEP * rate(whole)

    # When to look

    def due(self, now: float) -> bool:
        """Whether shares are to be worked out now; cheap, to be asked in every turn."""
        if not self._changed:
            seen = self._signature()
            self._changed = seen != self._seen or (self._is_pending and self._answered(now))
        if self._unsettled and self._next_at + UNSETTLED_EVERY <= now:
            self._changed = True
        return self._changed and self._next_at <= now

    def next_deadline(self) -> float:
        """When shares are to be worked out, or looked at again."""
        if self._changed:
            return self._next_at
        return self._next_at + UNSETTLED_EVERY if self._unsettled or self._is_pending else inf

    def _signature(self) -> tuple[object, ...]:
        terms = self._terms
        return self._registry.changes, terms.limits_setting, terms.cap, terms.free_only, self.fresh

    # Working out

    def work_out(self, now: float) -> None:
        """From what is known now: what each node should have, what each budget can be, what each is given."""
        self._next_at = now + max(GAP_MIN, GAP_PER_NODE * len(self._tenants))
        self._seen, self._changed, self._unsettled = self._signature(), False, False
        self._apart.look()
        self._unsettled = self._freezes
        self._ask_for_the_silent(now)
        self._forget_the_gone(now)
        limits = self._terms.limits
        census = self._census(now) if limits else _Census()
        for name in [name for name in self._budgets if name not in limits]:
            del self._budgets[name]
            self._parts.pop(name, None)
            self._group.ledger.delete(HELD + name)
        for name, limit in limits.items():
            self._work_out(name, limit, census, now)

    def _work_out(self, name: str, limit: Limit, census: _Census, now: float) -> None:
        me, total = self._group.name, rate(limit)
        holdings = self._holdings(name)
        budget = self._budgets.setdefault(name, Budget())
        entitled, targets = self._divide(name, total, census, holdings)
        reserved = self._freezes
        counts = self._counted()
        if self._hands_over:
            self._side.settle(name, budget, self._tenants, holdings, now, still=self.fresh)
        held = {id_: tenant.held(name, now, reserved=id_ in counts) for id_, tenant in self._tenants.items()}
        brought = {id_: part for id_, each in self._tenants.items() if (part := each.brought.get(name, 0.0))}
        # What counts for those from whom our nodes have brought it is none of our budget.
        net = {id_: max(0.0, amount - brought.get(id_, 0.0)) for id_, amount in held.items()}
        if now >= self._reserved_until and not reserved:
            budget.reserve = 0.0
        # Whoever came back is among those that hold something, and who is elsewhere is no longer listed here.
        back = sum(held.values()) + census.left[me] * budget.reserve_each
        budget.others = {
            owner: self._counts(owner, holding, census, now) + self._side.beside(owner, holdings)
            for owner, holding in holdings.items()
            if owner != me
        }
        if self._hands_over:
            budget.untaken = self._side.untaken(budget, holdings)
            if not self.fresh:
                rest = max(budget.usable, budget.reserve) - sum(net.values())
                self._side.pay(name, budget, holdings, rest)
        sides = reserved and self._hands_over
        if sides:
            unused = {id_: amount for id_, amount in net.items() if not self._tenants[id_].connected}
            carried = sum(part for id_, part in brought.items() if id_ not in unused)
            budget.divides = max(0.0, budget.room(total) - sum(unused.values())) + carried
            whole, entitled = entitled, self._side.divide(budget, holdings, entitled, self._kept(total))
            part = entitled[me] / whole[me] if whole.get(me) else 0.0
            targets = {id_: target * part for id_, target in targets.items()}
        self._entitled[name] = entitled
        mine = entitled.get(me, 0.0)
        if not (self._hands_over and (reserved or self.fresh)):
            budget.reserve = min(budget.reserve, back)
        budget.settle(sum(net.values()), mine, now, keeps=reserved)
        if budget.pending and self._answered(now):
            self._end_addition(budget, total, now)
        if not self.fresh:
            lacking = (mine - budget.published) + sum(
                max(0.0, entitled.get(owner, 0.0) - amount) for owner, amount in budget.others.items()
            )
            if budget.add(total, mine, lacking, now):
                self._publish(name, budget, held, census)
                budget.version = self._group.ledger.own.version
                if self._answered(now):
                    self._end_addition(budget, total, now)
        if budget.is_short(now) and mine > 0:
            most = budget.room(total) + sum(brought.values()) if sides else budget.usable
            targets = {id_: target * min(1.0, most / mine) for id_, target in targets.items()}
        self._parts[name] = self._give(total, budget, targets, held, brought)
        if sides and not self.fresh and not budget.pending:
            has = {id_: max(held[id_], brought.get(id_, 0.0)) for id_ in targets}
            grow = sum(max(0.0, target - has[id_]) for id_, target in targets.items())
            rest = budget.room(total) - sum(net.values())
            self._side.hand_over(name, budget, total, rest, grow)
        self._publish(name, budget, held, census)
        waits = budget.pending or budget.short_since is not None or budget.reserve > 0
        lost = any(not tenant.connected for tenant in self._tenants.values())
        self._unsettled = self._unsettled or waits or lost

    def _end_addition(self, budget: Budget, total: float, now: float) -> None:
        turn = sum(member.name < self._group.name for member in self._group.kin())
        if self._freezes:
            budget.withdraw(turn, now)
        else:
            budget.heard(total, turn, now)

    def _give(
        self,
        total: float,
        budget: Budget,
        targets: dict[str, float],
        held: dict[str, float],
        brought: dict[str, float],
    ) -> dict[str, Part]:
        """Who has too much gets its part; the others what the budget has, by what they lack.

        What a node has brought along stays its own.
        """
        targets = {id_: max(target, brought.get(id_, 0.0)) for id_, target in targets.items()}
        has = {id_: max(amount, brought.get(id_, 0.0)) for id_, amount in held.items()}
        room = budget.room(total) - sum(amount - brought.get(id_, 0.0) for id_, amount in has.items())
        lacking = sum(max(0.0, target - has[id_]) for id_, target in targets.items())
        part = 0.0 if self.fresh or not lacking else max(0.0, min(1.0, room / lacking))
        return {
            id_: Part(target, held[id_], min(target, has[id_]) + max(0.0, target - has[id_]) * part)
            for id_, target in targets.items()
        }

    def _divide(
        self, name: str, total: float, census: _Census, holdings: Mapping[str, Holding]
    ) -> tuple[dict[str, float], dict[str, float]]:
        """What each manager's nodes should have together, and what each of ours should have."""
        algorithm = self._terms.sharing(name).algorithm
        me = self._group.name
        weights = {
            owner: sum(self._weight(name, view) for view in views) for owner, views in census.running.items()
        }
        alive = {me, *self._apart.alive}
        wishes: dict[str, list[tuple[float, float]]] = {}
        for owner, weighs in weights.items():
            known = holdings[owner].wishes if owner in holdings and owner in alive else ()
            if owner == me and algorithm == "fair_share":
                known = self._wishes(census)
            wishes[owner] = list(known) if algorithm == "fair_share" and known else [(weighs, inf)]
        keep = self._kept(total)
        division = level(total - sum(keep.values()), [wish for each in wishes.values() for wish in each])
        self._divisions[name] = division
        entitled = {
            owner: sum(division.part(weighs, demand) for weighs, demand in wishes.get(owner, ()))
            + keep.get(owner, 0.0)
            for owner in sorted({*wishes, *keep})
        }
        lent = keep.get(me, 0.0) / weights[me] if weights.get(me) else 0.0
        ours = {
            view.id: division.part(weighs, self._wanted(view.id, algorithm)) + weighs * lent
            for view in census.running.get(me, ())
            if view.id in self._tenants and (weighs := self._weight(name, view))
        }
        return entitled, ours

    def _kept(self, total: float) -> dict[str, float]:
        """What the rights that are left carry, of whoever may give them (rule Q6)."""
        if self._founders is None or not self._conserves:
            return {}
        pages = self._group.ledger.pages
        members = {self._group.name, *self._apart.alive, *filter(self._apart.is_out_of_reach, pages)}
        return kept(total, self._terms.cap, self._founders, members)

    def _wanted(self, id_: str, algorithm: Algorithm) -> float:
        return self.demand.of(id_) if algorithm == "fair_share" else inf

    def _wishes(self, census: _Census) -> tuple[tuple[float, float], ...]:
        views = census.running.get(self._group.name, ())
        return self.demand.alike([(view.record.weight, self.demand.of(view.id)) for view in views])

    # The managers' budgets

    @property
    def _conserves(self) -> bool:
        return self._terms.config.limits_mode == "conserve"

    @property
    def _hands_over(self) -> bool:
        """Whether managers hand over to each other: their disks must keep it (policy `strict`)."""
        return self._conserves and self._founders is not None

    @property
    def _freezes(self) -> bool:
        """Whether nobody may add to its budget, nor take back what another may be using (rule Q5)."""
        return self._conserves and self._apart.is_split

    @property
    def _is_pending(self) -> bool:
        return any(budget.pending for budget in self._budgets.values())

    def _answered(self, now: float) -> bool:
        """Whether every living manager has answered for all that was added, or is not waited for."""
        pending = [budget for budget in self._budgets.values() if budget.added_at is not None]
        version = max((budget.version for budget in pending), default=0)
        since = max((budget.added_at or 0.0 for budget in pending), default=now)
        if self._freezes:
            return True  # it is taken back
        if now >= since + PATIENCE and not self._conserves:
            return True
        return all(self._group.heard_by(member.name, version) for member in self._group.kin())

    def _holdings(self, name: str) -> dict[str, Holding]:
        """What stands on each page, or stood before its owner's last start and is not taken over yet."""
        holdings: dict[str, Holding] = {}
        ledger = self._group.ledger
        for owner, page in [*ledger.pages.items(), *ledger.former.items()]:
            value = page.get(HELD + name)
            if value is not None:
                try:
                    holding = Holding.unpack(value)
                except ValueError:
                    continue
                if owner not in holdings or holdings[owner].amount < holding.amount:
                    holdings[owner] = holding
        return holdings

    def _counts(self, owner: str, holding: Holding, census: _Census, now: float) -> float:
        """How much of another manager's budget may be in force."""
        if owner in self._apart.alive:
            self._gone_since.pop(owner, None)
            return holding.amount
        since = self._gone_since.setdefault(owner, now)
        if self._conserves and self._apart.is_out_of_reach(owner):
            return holding.amount
        if now >= since + self._longest:
            return 0.0
        self._unsettled = True
        return min(holding.amount, census.left[owner] * holding.largest)

    @property
    def _longest(self) -> float:
        """Seconds after which no share that was given by now is in force any more."""
        return CLOCK_RATE * max((lease.lasts for lease in self.leases.values()), default=0.0)

    def _publish(self, name: str, budget: Budget, held: dict[str, float], census: _Census) -> None:
        fair = self._terms.sharing(name).algorithm == "fair_share"
        wishes = self._wishes(census) if fair else ()
        largest = max(
            (max(part.held, part.given) for part in self._parts.get(name, {}).values()), default=0.0
        )
        holding = Holding(float(budget.published), float(largest), wishes, self._handover(budget))
        before = self._group.ledger.own.get(HELD + name)
        if budget.published <= 0 and not wishes and not self._hands_over and before is None:
            return
        if before != (packed := holding.pack()):
            self._group.ledger.put(HELD + name, packed, ends_something=True)

    # The nodes

    def _census(self, now: float) -> _Census:
        census, ended_since = _Census(), self._group.wall(now) - self._longest
        for view in self._registry.unordered():
            if view.running and not self._is_free(view, now):
                census.running[view.manager].append(view)
            ended = view.state in (NodeState.REMOVED, NodeState.DOWN)
            if view.running or (ended and view.since > ended_since):
                census.left[view.manager] += 1
        return census

    def _ask_for_the_silent(self, now: float) -> None:
        """A node that was silent for too long may be at another manager, which has not told us yet."""
        if not self._hands_over:
            return
        over = {id_ for id_, tenant in self._tenants.items() if tenant.any_over(now)}
        self._asked = {id_: version for id_, version in self._asked.items() if id_ in over}
        if new := sorted(over - self._asked.keys()):
            version = self._group.ledger.put(ASKS, pack(now))
            self._asked |= dict.fromkeys(new, version)

    def _counted(self) -> AbstractSet[str]:
        """The nodes whose leases do not end yet: all in a split, and those of whom others may know."""
        if self._freezes:
            return self._tenants.keys()
        kin = [member.name for member in self._group.kin()]
        silent = {
            id_
            for id_, version in self._asked.items()
            if not all(self._group.heard_by(name, version) for name in kin)
        }
        self._unsettled = self._unsettled or bool(silent)
        return silent

    def _is_free(self, view: NodeView, now: float) -> bool:
        """Whether it has the free limits, since it has been over the limit for too long."""
        free = self._terms.config.free_limits
        return bool(free) and view.record.over_limit and self._page.margin_over(view.record, now)

    def _forget_the_gone(self, now: float) -> None:
        """Let go of nodes that are elsewhere, or whose leases are over and that count as gone."""
        counts = self._counted()
        for id_, tenant in list(self._tenants.items()):
            if tenant.connected:
                continue
            view = self._registry.view(id_)
            elsewhere = view is not None and view.manager != self._group.name and view.running
            running = view is not None and view.running
            if elsewhere or (not running and id_ not in counts and tenant.all_over(now)):
                self.left(id_)

    def shown(self, view: NodeView) -> Limits:
        """What people are shown as a running node's share: what ours was told, what others' should be."""
        tenant = self._tenants.get(view.id)
        if tenant is not None and (last := tenant.last_told) is not None:
            return last.limits
        return {
            name: as_share(self._divisions[name].part(self._weight(name, view), inf), limit)
            for name, limit in self._terms.limits.items()
            if name in self._divisions
        }

    def usual(self) -> Limits:
        """What a node of weight 1 that wants all it can get should have."""
        return {
            name: as_share(min(rate(limit), self._divisions[name].part(1.0, inf)), limit)
            for name, limit in self._terms.limits.items()
            if name in self._divisions
        }

    def _weight(self, name: str, view: NodeView) -> float:
        return 1.0 if self._terms.sharing(name).algorithm == "equal" else view.record.weight

    def sheet(self, name: str, now: float) -> "Sheet":
        """What is known here about the limit, for people."""
        reserved = self._freezes
        own = self._budgets.get(name, Budget())
        return Sheet(
            entitled=dict(self._entitled.get(name, {})),
            counts={**own.others, self._group.name: own.published},
            usable=own.usable,
            alive=self._apart.alive | {self._group.name},
            split=self._apart.is_split,
            targets={id_: part.target for id_, part in self._parts.get(name, {}).items()},
            held={id_: tenant.held(name, now, reserved=reserved) for id_, tenant in self._tenants.items()},
        )
