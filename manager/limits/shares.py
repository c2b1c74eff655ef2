"""Each node's share of the cluster's limits: who shrinks, who grows, and when (rules Q1-Q5).

Shares follow from the pages: what every node should have is a function of the nodes that run, and so is the
part of each manager (`entitled.py`). What a manager gives comes out of its own budget (`budgeting.py`).
Whoever must shrink is told at once; whoever may grow is told when the budget has room.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from math import inf

from gossip.group import Group
from manager.limits.apart import Apart
from manager.limits.budgeting import Account, Budgeting
from manager.limits.census import take_census
from manager.limits.demand import Demand
from manager.limits.entitled import Entitlements
from manager.limits.sharing import as_share, rate
from manager.limits.sides import Side
from manager.limits.silent import Silent
from manager.limits.tenants import Tenant
from manager.page import NodePage
from manager.registry import NodeView, Registry
from manager.seats.founders import Founders
from manager.terms import Terms
from node.protocol import Leases, Limit, Limits

GAP_MIN = 0.05
GAP_PER_NODE = 0.0005
"""Seconds between two workings-out of the shares, at least: the more nodes, the longer."""
UNSETTLED_EVERY = 0.25
"""… and at most, while somebody waits for something."""
NEW_SECONDS = 2.0
"""How long a node waits for half of its share before it is told less; counted anew for each new limit."""
STEP = 0.1
"""A node that grows by less than this part of its share waits for more, rather than be told twice."""


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
        self._tenants: dict[str, Tenant] = {}
        self._silent = Silent(group)
        self._apart = Apart(group, founders)
        self._side = Side(group, self._apart)
        self._entitlements = Entitlements(group, terms, self.demand, self._apart, founders)
        conserves = terms.config.limits_mode == "conserve"
        self._hands_over = conserves and founders is not None
        self._budgeting = Budgeting(
            group,
            terms,
            self._apart,
            self._side,
            self._entitlements,
            conserves=conserves,
            hands_over=self._hands_over,
        )
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
            self._budgeting.cover(in_force, tenant, before if self._hands_over else None, now)
        self._changed = True

    def _brought(self, id_: str, in_force: Limits, before: Tenant | None) -> tuple[str, dict[str, float]]:
        """From whom it comes, and with what: that counts there until it is given to us (rule Q6)."""
        if before is not None:
            return before.origin, before.brought
        view = self._registry.view(id_)
        if view is None or not view.running or not self._side.is_member(view.manager):
            return "", {}
        return view.manager, self._budgeting.counted_at(view.manager, in_force)

    def has_lapsed(self, id_: str, now: float) -> bool:
        """Whether the node, which speaks now, was silent for so long that its shares may be others'."""
        tenant = self._tenants.get(id_)
        return tenant is not None and tenant.has_lapsed(now)

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
        self._budgeting.recall(before, now)
        self._changed = True

    # What to tell

    @property
    def leases(self) -> Leases:
        """For how long a share may be used, by limit."""
        return self._terms.leases

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
            account = self._budgeting.account(name)
            part = None if account is None else account.parts.get(id_)
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
            answered = self._budgeting.is_pending and self._budgeting.is_answered(now)
            self._changed = answered or self._signature() != self._seen
        if self._unsettled and self._next_at + UNSETTLED_EVERY <= now:
            self._changed = True
        return self._changed and self._next_at <= now

    def next_deadline(self) -> float:
        """When shares are to be worked out, or looked at again."""
        if self._changed:
            return self._next_at
        return self._next_at + UNSETTLED_EVERY if self._unsettled or self._budgeting.is_pending else inf

    def _signature(self) -> tuple[object, ...]:
        terms = self._terms
        return self._registry.changes, terms.limits_setting, terms.cap, terms.free_only, self.fresh

    # What each should have

    def work_out(self, now: float) -> None:
        """From what is known now: what each node should have, what each budget can be, what each is given."""
        self._next_at = now + max(GAP_MIN, GAP_PER_NODE * len(self._tenants))
        self._seen, self._changed, self._unsettled = self._signature(), False, False
        self._apart.look()
        self._unsettled = self._budgeting.freezes
        if self._hands_over:
            self._silent.ask(self._tenants, now)
        counted = self._counted()
        self._forget_the_gone(counted, now)
        limits = self._terms.limits
        self._budgeting.drop(limits)
        if not limits:
            return
        census = take_census(
            self._registry.unordered(),
            lambda view: self._is_free(view, now),
            self._group.wall(now) - self._budgeting.longest,
        )
        for name, limit in limits.items():
            waits = self._budgeting.work_out(
                name, limit, self._tenants, counted, census, now, fresh=self.fresh
            )
            self._unsettled = self._unsettled or waits
        lost = any(not tenant.connected for tenant in self._tenants.values())
        self._unsettled = self._unsettled or lost

    def _counted(self) -> AbstractSet[str]:
        """The nodes whose leases do not end yet: all in a split, and those of whom others may know."""
        if self._budgeting.freezes:
            return self._tenants.keys()
        silent = self._silent.unanswered()
        self._unsettled = self._unsettled or bool(silent)
        return silent

    def _is_free(self, view: NodeView, now: float) -> bool:
        """Whether it has the free limits, since it has been over the limit for too long."""
        free = self._terms.config.free_limits
        return bool(free) and view.record.over_limit and self._page.margin_over(view.record, now)

    def _forget_the_gone(self, counted: AbstractSet[str], now: float) -> None:
        """Let go of nodes that are elsewhere, or whose leases are over and that count as gone."""
        for id_, tenant in list(self._tenants.items()):
            if tenant.connected:
                continue
            view = self._registry.view(id_)
            elsewhere = view is not None and view.manager != self._group.name and view.running
            running = view is not None and view.running
            if elsewhere or (not running and id_ not in counted and tenant.all_over(now)):
                self.left(id_)

    # What people are shown

    def shown(self, view: NodeView) -> Limits:
        """A running node's share: what ours was told, what others' should be."""
        tenant = self._tenants.get(view.id)
        if tenant is not None and (last := tenant.last_told) is not None:
            return last.limits
        return self._entitlements.of(view)

    def usual(self) -> Limits:
        """What a node of weight 1 that wants all it can get should have."""
        return self._entitlements.usual()

    def sheet(self, name: str, now: float) -> Sheet:
        """What is known here about the limit, for people."""
        account, reserved = self._budgeting.account(name) or Account(), self._budgeting.freezes
        own = account.budget
        return Sheet(
            entitled=account.entitled,
            counts={**own.others, self._group.name: own.published},
            usable=own.usable,
            alive=self._apart.alive | {self._group.name},
            split=self._apart.is_split,
            targets={id_: part.target for id_, part in account.parts.items()},
            held={id_: tenant.held(name, now, reserved=reserved) for id_, tenant in self._tenants.items()},
        )
