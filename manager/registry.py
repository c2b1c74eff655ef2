"""Gateway nodes, merged from every page: a pure function of pages, of who is alive, and of time.

The newest record of a node prevails, whoever wrote it (rule I1). Where its writer is dead the state is
derived (rule I7): unreachable while anybody alive still sees that manager, then, after the grace, down. Where
its writer left in good order the node is on its way to another manager, and stands as it did for `MOVING`.
Managers that hold the same pages and see the same members derive the same.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import inf
from typing import NamedTuple

from gossip.ledger import Ledger
from manager.outbox import Outbox
from manager.records import NODE, NodeRecord, NodeState, SessionKey
from node.protocol import NODE_ID

MOVING = 2.0
"""Seconds within which nodes that their manager sent away before it left are expected at another."""
_RUNNING = frozenset({NodeState.ACTIVE, NodeState.UNREACHABLE})


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node as it stands: `record` is the newest, `state`, `seat`, `since` and `why` are derived from it."""

    id: str
    record: NodeRecord
    manager: str
    state: NodeState
    seat: bool
    since: float
    why: str

    @property
    def running(self) -> bool:
        """Whether its gateway may be serving traffic."""
        return self.state in _RUNNING

    @property
    def shown(self) -> bool:
        """Whether it is listed: a claim is not a node yet."""
        return self.state is not NodeState.CLAIMED


class _Source(NamedTuple):
    """Where a record stands: on its owner's page, or on the one from before the owner's last start."""

    owner: str
    former: bool


@dataclass(slots=True)
class _Lost:
    """A manager that is gone here: since when, and since when nobody alive here sees it."""

    here_since: float
    everywhere_since: float | None
    moving_until: float = -inf
    """Its nodes are on their way elsewhere until then."""


class Registry:
    """All nodes by id. `grace` and `rejoin_window` in seconds."""

    def __init__(
        self, ledger: Ledger, grace: float, rejoin_window: float, wall_offset: float, outbox: Outbox
    ) -> None:
        self._ledger = ledger
        self._own = _Source(ledger.own.owner, False)
        self._grace = grace
        self._rejoin_window = rejoin_window
        self.wall_offset = wall_offset
        self._outbox = outbox
        self._records: dict[str, dict[_Source, NodeRecord]] = {}
        self._by_source: dict[_Source, dict[str, None]] = {}
        # A dict for a set: its order is the same in every process.
        self._views: dict[str, NodeView] = {}
        self._claims: dict[str, NodeView] = {}
        self._alive: frozenset[str] = frozenset()
        self._lost: dict[str, _Lost] = {}
        self._former_since: dict[str, float] = {}
        self.used = 0
        """Seats taken."""
        self.over = 0
        """Nodes that run beyond the cap."""
        self.running = 0
        """Nodes that may be serving traffic."""
        self.changes = 0
        """How often a node came to run, ceased to, or went to another manager."""
        self.derived = 0
        """How often some view was derived anew: as long as it is the same, so are all views."""
        self.highest_stamp = 0
        self.uses: Counter[str] = Counter()
        """By the name of a join token: how many nodes are known that came in by it."""
        self._ticked = -inf
        self._before: dict[str, NodeView | None] = {}
        """The nodes that changed since `take_changes`, as they were then."""

    # Reading

    def view(self, id_: str) -> NodeView | None:
        return self._views.get(id_)

    def views(self) -> Iterator[NodeView]:
        """Every node that is shown, by id."""
        return (self._views[id_] for id_ in sorted(self._views) if self._views[id_].shown)

    def unordered(self) -> Iterable[NodeView]:
        """The same in no order, for whoever looks at all of them often."""
        return (view for view in self._views.values() if view.shown)

    def with_names(self, text: str) -> str:
        """`text`, for people, with the names of nodes in place of their ids: both where others run by it."""
        if not NODE_ID.search(text):
            return text
        run_by = Counter(view.record.name for view in self._views.values() if view.running)

        def name_of(found: re.Match[str]) -> str:
            id_ = found[0]
            view = self._views.get(id_)
            name = "" if view is None else view.record.name
            alone = view is None or run_by[name] - view.running == 0
            return id_ if not name else name if alone else f"{name} ({id_})"

        return NODE_ID.sub(name_of, text)

    def claims(self) -> Iterable[NodeView]:
        """Newcomers that wait for a seat, here or elsewhere."""
        return self._claims.values()

    def own_records(self) -> Iterator[tuple[str, NodeRecord]]:
        """What stands on our own page; it may be written meanwhile."""
        for id_ in list(self._by_source.get(self._own, ())):
            yield id_, self._records[id_][self._own]

    def stand_at(self, owner: str) -> bool:
        """Whether the newest record of any node that is shown stands on `owner`'s page."""
        ids = [id_ for former in (False, True) for id_ in self._by_source.get(_Source(owner, former), ())]
        views = filter(None, map(self._views.get, ids))
        return any(view.manager == owner and view.shown for view in views)

    def own_record(self, id_: str) -> NodeRecord | None:
        records = self._records.get(id_)
        return None if records is None else records.get(self._own)

    def highest(self, id_: str) -> SessionKey:
        """The newest session that any page names; (0, 0) for an unknown node."""
        view = self._views.get(id_)
        return (0, 0) if view is None else view.record.session

    def may_forget(self, id_: str) -> bool:
        """Whether no page names an older record whose writer does not know that it is outdated (rule I6)."""
        others = [record for source, record in self._records.get(id_, {}).items() if source != self._own]
        mine = self._records[id_][self._own]
        return all(r.state is NodeState.MOVED or r.session > mine.session for r in others)

    def surplus(self, cap: int) -> set[str]:
        """The nodes beyond `cap`, in the order (stamp, id) of all that hold a seat or lack one."""
        candidates = [view for view in self._views.values() if view.seat or view.record.over_limit]
        candidates = [view for view in candidates if view.shown and (view.running or view.seat)]
        candidates.sort(key=lambda view: (view.record.stamp, view.id))
        return {view.id for view in candidates[cap:]}

    def take_changes(self) -> list[tuple[NodeView | None, NodeView | None]]:
        """Each node that changed since the last time, as it was and as it is: None where it is not shown."""
        if not self._before:
            return []
        # Whoever claims is neither there nor gone: a refused node that tries again stays listed meanwhile.
        waiting = {id_: was for id_, was in self._before.items() if id_ in self._claims}
        taken = {id_: was for id_, was in self._before.items() if id_ not in waiting}
        self._before = waiting
        return [(_if_shown(was), _if_shown(self._views.get(id_))) for id_, was in taken.items()]

    # What changes

    def page_changed(self, owner: str, keys: Iterable[str], now: float) -> list[str]:
        """Read `keys` of `owner`'s page and of its former one; gives the ids whose newest record changed."""
        former = self._ledger.former.get(owner)
        if former is None:
            self._former_since.pop(owner, None)
        else:
            self._former_since.setdefault(owner, now)
        changed = []
        for key in keys:
            if key.startswith(NODE):
                id_ = key[len(NODE) :]
                before = self._views.get(id_)
                page = self._ledger.pages.get(owner)
                self._read(id_, _Source(owner, False), None if page is None else page.get(key))
                self._read(id_, _Source(owner, True), None if former is None else former.get(key))
                self._derive(id_, now)
                if self._views.get(id_) != before:
                    changed.append(id_)
        return changed

    @property
    def all_alive(self) -> bool:
        """Whether the manager of every node is: then it does not matter whom others see."""
        return all(source.owner in self._alive for source in self._by_source)

    def liveness(self, alive: set[str], seen_by_alive: set[str], left: set[str], now: float) -> None:
        """`alive`: the managers alive here, with ourselves; `seen_by_alive`: all that any of them sees.

        `left`: those that left in good order.
        """
        owners = {source.owner for source in self._by_source}
        for owner in sorted(owners):
            if owner in alive:
                if self._lost.pop(owner, None) is not None:
                    self._derive_all(owner, now)
                continue
            lost = self._lost.get(owner)
            before = None if lost is None else (lost.here_since, lost.everywhere_since)
            if lost is None:
                # Of one that left before we met it nobody is on the way any more.
                goes = owner in left and owner in self._alive
                lost = self._lost[owner] = _Lost(now, None, now + MOVING if goes else -inf)
            if owner in seen_by_alive:
                lost.everywhere_since = None
            elif lost.everywhere_since is None:
                lost.everywhere_since = now
            if before != (lost.here_since, lost.everywhere_since):
                self._derive_all(owner, now)
        self._alive = frozenset(alive)

    def next_deadline(self) -> float:
        """When a derived state changes by itself."""
        if not self._lost and not self._former_since:
            return inf
        return min((at for at in self._turns() if at > self._ticked), default=inf)

    def tick(self, now: float) -> None:
        """Derive anew what time has changed."""
        due = [at for at in self._turns() if self._ticked < at <= now]
        self._ticked = now
        if due:
            for owner in sorted({source.owner for source in self._by_source}):
                if owner in self._lost or owner in self._former_since:
                    self._derive_all(owner, now)

    def _turns(self) -> Iterator[float]:
        """When derived states change by themselves."""
        for lost in self._lost.values():
            yield lost.moving_until
            if lost.everywhere_since is not None:
                yield lost.everywhere_since + self._grace
                yield lost.everywhere_since + self._rejoin_window
        for since in self._former_since.values():
            yield since + self._grace
            yield since + self._rejoin_window

    def _read(self, id_: str, source: _Source, value: bytes | None) -> None:
        records = self._records.setdefault(id_, {})
        try:
            record = None if value is None else NodeRecord.unpack(value)
        except ValueError:
            self._outbox.count("ledger", "bad_record")
            record = None
        if record is None:
            records.pop(source, None)
            self._by_source.get(source, {}).pop(id_, None)
            if not records:
                del self._records[id_]
            return
        records[source] = record
        self._by_source.setdefault(source, {})[id_] = None
        self.highest_stamp = max(self.highest_stamp, record.stamp)

    def _derive_all(self, owner: str, now: float) -> None:
        for former in (False, True):
            for id_ in list(self._by_source.get(_Source(owner, former), ())):
                self._derive(id_, now)

    def _derive(self, id_: str, now: float) -> None:
        records = self._records.get(id_)
        if not records:
            self._put(id_, None)
            return
        if len(records) == 1:
            [(source, record)] = records.items()
        else:
            source, record = max(
                records.items(), key=lambda item: (item[1].session, not item[0].former, item[0].owner)
            )
        self._put(id_, self._as_seen(id_, source, record, now))

    def _as_seen(self, id_: str, source: _Source, record: NodeRecord, now: float) -> NodeView:
        view = NodeView(id_, record, source.owner, record.state, record.seat, record.since, record.why)
        if record.state is NodeState.MOVED and not record.seat and not record.over_limit:
            # The newer record was down, and is forgotten.
            return replace(view, state=NodeState.DOWN)
        if source.former:
            since: float | None = self._former_since[source.owner]
            here, reason = self._former_since[source.owner], "has started anew"
        elif (lost := self._lost.get(source.owner)) is not None and lost.moving_until <= now:
            since, here, reason = lost.everywhere_since, lost.here_since, "is gone"
        else:
            if record.state is NodeState.MOVED:
                return replace(view, state=NodeState.UNREACHABLE)
            return view
        # Compared as in `tick`, and not by a difference: a sum and a difference round differently.
        grace_over = since is not None and since + self._grace <= now
        window_over = since is not None and since + self._rejoin_window <= now
        why = f"its manager {source.owner} {reason}"
        if record.state in _RUNNING or record.state is NodeState.MOVED:
            if not grace_over:
                return replace(view, state=NodeState.UNREACHABLE, since=here + self.wall_offset, why=why)
            since_wall = (since or now) + self._grace + self.wall_offset
            return replace(view, state=NodeState.DOWN, seat=False, since=since_wall, why=why)
        if record.state is NodeState.REMOVED:
            return replace(view, seat=record.seat and not window_over)
        if record.state is NodeState.CLAIMED:
            # Whoever waited there was never let in: it is not known (rule A4), and is ahead of nobody.
            return replace(view, state=NodeState.REFUSED, seat=False, why=why)
        return view

    def _put(self, id_: str, view: NodeView | None) -> None:
        old = self._views.get(id_)
        self.derived += 1
        self._before.setdefault(id_, old)
        for counted, sign in ((old, -1), (view, 1)):
            if counted is not None and counted.shown:
                self.used += sign * counted.seat
                self.running += sign * counted.running
                self.over += sign * (counted.record.over_limit and counted.running)
                if counted.record.token and counted.record.stamp and counted.state is not NodeState.REFUSED:
                    self.uses[counted.record.token] += sign
        self.changes += _uses_a_share(old) != _uses_a_share(view)
        self._claims.pop(id_, None)
        if view is None:
            self._views.pop(id_, None)
            return
        self._views[id_] = view
        if not view.shown:
            self._claims[id_] = view


def _if_shown(view: NodeView | None) -> NodeView | None:
    return view if view is not None and view.shown else None


def _uses_a_share(view: NodeView | None) -> tuple[str, NodeState, float] | None:
    return None if view is None else (view.manager, view.state, view.record.weight)
