"""What this manager writes about nodes: one record for each whose last hello it got.

Only here is a record put on our page, changed by silence, aged, or taken over from before our start.
"""

from dataclasses import replace
from math import inf

from gossip.effects import FormerPage
from gossip.group import Group
from gossip.ledger import PageFull
from manager.effects import Level
from manager.identity import Ticket
from manager.outbox import Outbox
from manager.records import NODE, NodeRecord, NodeState, SessionKey
from manager.registry import Registry
from manager.terms import ManagerConfig

WITHIN_SECONDS = 3600.0
"""How long a node must have been within the limit before its margin starts afresh (rule A3)."""
_RUNNING = (NodeState.ACTIVE, NodeState.UNREACHABLE)
_NEVER_IN = (NodeState.REFUSED, NodeState.CLAIMED)


class NodePage:
    """The node records of our own page."""

    def __init__(self, group: Group, registry: Registry, config: ManagerConfig, outbox: Outbox) -> None:
        self._group = group
        self._registry = registry
        self._config = config
        self._outbox = outbox
        self._last_heard: dict[str, float] = {}
        """When a running node of ours last gave a sign of life."""
        self._calm_until = -inf
        """Nobody has been silent for long before that."""
        self._aging: dict[str, tuple[float, float]] = {}
        """`since` of a record of ours, and when that was by the clock that nobody sets."""
        self._restless: dict[str, None] = {}
        """Those of our records that time changes: of the thousands that just run, none ages."""
        self._within: dict[str, float] = {}
        """Since when a node of ours that was over the limit has been within it."""

    def record(self, id_: str) -> NodeRecord | None:
        """What stands here about `id_`."""
        return self._registry.own_record(id_)

    def write(self, id_: str, record: NodeRecord, now: float, *, newcomer: bool = False) -> bool:
        """Put `record` on our page; false where the page has no room for a newcomer."""
        key = NODE + id_
        try:
            self._group.ledger.put(key, record.pack(), ends_something=not newcomer)
        except PageFull:
            self._outbox.count("ledger", "page_full")
            return False
        self._registry.page_changed(self._group.name, (key,), now)
        if record.state not in _RUNNING or record.over_since:
            self._restless[id_] = None
        else:
            self._restless.pop(id_, None)
        return True

    def since(self, id_: str, state: NodeState, nonce: int, now: float) -> float:
        """Since when the process `nonce` of a node is in `state` for the cluster, which it may be told anew.

        Running goes on at another manager, and so does waiting for a seat, whoever refuses it.
        """
        view = self._registry.view(id_)
        if view is None or view.record.nonce != nonce:
            return self._group.wall(now)
        waits = state in _NEVER_IN and view.state in _NEVER_IN
        goes_on = waits or view.state is state is NodeState.ACTIVE
        return view.since if goes_on else self._group.wall(now)

    def refused(self, id_: str, record: NodeRecord, now: float) -> None:
        """A newcomer was refused, which may have gone on for long: what stands about it ages from now."""
        self.write(id_, record, now)
        self._aging[id_] = record.since, now

    def change(self, id_: str, record: NodeRecord, state: NodeState, why: str, now: float) -> None:
        """Change the state of `record`; a node that is down has no seat."""
        seat = record.seat and state is not NodeState.DOWN
        self.write(id_, replace(record, state=state, why=why, seat=seat, since=self._group.wall(now)), now)

    def erase(self, id_: str, now: float) -> None:
        """Forget it."""
        self._aging.pop(id_, None)
        self._restless.pop(id_, None)
        self._within.pop(id_, None)
        self._group.ledger.delete(NODE + id_)
        self._registry.page_changed(self._group.name, (NODE + id_,), now)

    def heard(self, id_: str, now: float) -> None:
        """A running node of ours gave a sign of life."""
        self._last_heard[id_] = now

    def excuse(self, late: float) -> None:
        """We did not listen for `late` seconds: nobody was silent then."""
        self._last_heard = {id_: heard + late for id_, heard in self._last_heard.items()}

    def ended(self, id_: str, record: NodeRecord, why: str, now: float) -> None:
        """The end of a running node was seen: it is removed, its seat held for the rejoin window."""
        self._last_heard.pop(id_, None)
        if record.state in _RUNNING:
            self._outbox.log(Level.INFO, f"{id_} is removed: {why}")
            self.change(id_, record, NodeState.REMOVED, why, now)

    def outdated(self, id_: str, now: float) -> SessionKey | None:
        """Mark our record as moved where another page has a newer one; gives that one's session (rule I6)."""
        own, view = self.record(id_), self._registry.view(id_)
        if own is None or view is None or view.manager == self._group.name:
            return None
        if view.record.session <= own.session:
            return None
        if own.state is not NodeState.MOVED:
            if own.state in _NEVER_IN:
                # Nothing to keep: as `moved` it would come to light as a node when the newer one is gone.
                self.erase(id_, now)
                return view.record.session
            self._last_heard.pop(id_, None)
            self.write(id_, self._moved(own, view.manager, now), now)
        return view.record.session

    def _moved(self, record: NodeRecord, manager: str, now: float) -> NodeRecord:
        if record.state is NodeState.MOVED:
            return record
        why, since = f"moved to {manager}", self._group.wall(now)
        return replace(record, state=NodeState.MOVED, why=why, since=since)

    def adopt(self, former: FormerPage, now: float) -> None:
        """Take over what stood on our page before we started: its nodes have time to come back (rule I6)."""
        taken = 0
        for key, value in former.entries:
            if key.startswith(NODE):
                taken += self._adopt(key[len(NODE) :], value, now)
        self._group.ledger.note_succession(former.marks)
        if taken:
            self._outbox.log(
                Level.INFO, f"took over {taken} node{'s' * (taken != 1)} from before this manager's start"
            )

    def _adopt(self, id_: str, value: bytes, now: float) -> bool:
        try:
            record = NodeRecord.unpack(value)
        except ValueError:
            self._outbox.count("ledger", "bad_record")
            return False
        own, view = self.record(id_), self._registry.view(id_)
        if record.state is NodeState.CLAIMED or (own is not None and own.session >= record.session):
            return False
        if view is not None and view.manager != self._group.name and view.record.session > record.session:
            if record.state not in _NEVER_IN:
                # Who has not heard of the newer record yet has only this one to list the node by.
                self.write(id_, self._moved(record, view.manager, now), now)
            return False
        if record.state in _RUNNING:
            why = f"its manager {self._group.name} has started anew"
            record = replace(record, state=NodeState.UNREACHABLE, since=self._group.wall(now), why=why)
            self._last_heard[id_], self._calm_until = now - self._config.unreachable_after, -inf
        return self.write(id_, record, now)

    def sweep(self, now: float) -> list[str]:
        """What time changes: silence, rejoin windows, forgetting. Gives the ids that are down from now on."""
        down = self._judge_silent(now) if self._calm_until < now else []
        for id_ in list(self._restless):
            if (record := self.record(id_)) is not None:
                self._age(id_, record, now)
        return down

    def _judge_silent(self, now: float) -> list[str]:
        longest = self._config.unreachable_after
        silent = [(id_, now - heard) for id_, heard in self._last_heard.items() if now - heard > longest]
        if not silent:
            # To look at thousands in every sweep would cost more than all the rest of it. A little earlier:
            # a sum and a difference round differently.
            self._calm_until = min(self._last_heard.values(), default=now) + longest - 0.01
        return [id_ for id_, seconds in silent if self._judge(id_, seconds, now)]

    def _judge(self, id_: str, silent: float, now: float) -> bool:
        """Whether `id_`, silent for longer than `unreachable_after`, is down from now on."""
        record, config = self.record(id_), self._config
        if record is None or record.state not in _RUNNING:
            del self._last_heard[id_]
            return False
        why = f"silent for {silent:.0f} s"
        if silent > config.unreachable_after + config.grace:
            del self._last_heard[id_]
            self._outbox.log(Level.WARNING, f"{id_} is down: {why}")
            self.change(id_, record, NodeState.DOWN, why, now)
            return True
        if record.state is NodeState.ACTIVE:
            self._outbox.log(Level.WARNING, f"{id_} is unreachable: {why}")
            self.change(id_, record, NodeState.UNREACHABLE, why, now)
        return False

    def _age(self, id_: str, record: NodeRecord, now: float) -> None:
        """End rejoin windows, and forget what has been gone long enough, in the right order (rule I6)."""
        age, config = self._age_of(id_, record, now), self._config
        forget_after = config.forget_after
        if record.ephemeral:
            forget_after = max(config.forget_ephemeral_after, config.rejoin_window)
        match record.state:
            case NodeState.REMOVED if record.seat and age > self._config.rejoin_window:
                self.write(id_, replace(record, seat=False), now)
            case NodeState.REMOVED | NodeState.DOWN if age > forget_after:
                if self._registry.may_forget(id_):
                    self.erase(id_, now)
            case NodeState.REFUSED if age > 3 * self._config.retry_after:
                self.erase(id_, now)
            case NodeState.ACTIVE | NodeState.UNREACHABLE if record.over_since and not record.over_limit:
                if now - self._within.setdefault(id_, now) > WITHIN_SECONDS:
                    del self._within[id_]
                    self.write(id_, replace(record, over_since=0.0), now)
            case NodeState.MOVED if (view := self._registry.view(id_)) is not None:
                if view.manager == self._group.name:
                    self.erase(id_, now)
                elif (record.seat or record.over_limit) and not view.seat and not view.running:
                    # Else this record would hold a seat again for as long as it outlives the newer one.
                    self.write(id_, replace(record, seat=False, over_limit=False), now)
            case _:
                pass

    def _age_of(self, id_: str, record: NodeRecord, now: float) -> float:
        """Seconds for which `record` has stood: a wall clock that is set changes none of them."""
        since, at = self._aging.get(id_, (0.0, 0.0))
        if since != record.since:
            at = now - max(0.0, self._group.wall(now) - record.since)
            self._aging[id_] = record.since, at
        return now - at

    def over_since(
        self, known: NodeRecord | None, *, over: bool, now: float, ticket: Ticket | None = None
    ) -> float:
        """Since when a node counts as over the limit: a margin that is known goes on (rule A3).

        `ticket` is the node's word, which counts where no page that we have knows of a later session.
        """
        before = 0.0 if known is None else known.over_since
        if ticket is not None and (known is None or known.incarnation <= ticket.incarnation):
            before = ticket.over_since or before
        return before or (self._group.wall(now) if over else 0.0)

    def margin_over(self, record: NodeRecord, now: float) -> bool:
        """Whether a node has been over the limit long enough to fall to the free limits."""
        return record.over_limit and record.over_since + self._config.margin <= self._group.wall(now)

    def mark_surplus(self, cap: int | None, now: float) -> list[str]:
        """Mark our nodes beyond the cap, and unmark those within it (rule A3); gives whom that changed."""
        if not self._registry.over and (cap is None or self._registry.used <= cap):
            return []
        surplus = set() if cap is None else self._registry.surplus(cap)
        changed = []
        for id_, record in self._registry.own_records():
            view, over = self._registry.view(id_), id_ in surplus
            newest = view is not None and view.record == record
            if record.state in _RUNNING and newest and record.over_limit != over:
                level, where = (Level.WARNING, "over") if over else (Level.INFO, "within")
                self._outbox.log(level, f"{id_} is {where} the limit")
                self._within.pop(id_, None)
                since = self.over_since(record, over=over, now=now)
                self.write(id_, replace(record, over_limit=over, seat=not over, over_since=since), now)
                changed.append(id_)
        return changed
