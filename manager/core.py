"""One manager: what it decides about nodes, seats and limits, on top of a group.

A state machine without sockets, clocks or entropy of its own. Every input gives the effects to carry out,
in order. Rules are named as in `STATE.md`: A (admission), I (identity), L (ledger).
"""

from collections.abc import Iterable
from math import inf

from gossip.effects import (
    CameBack,
    CannotRefute,
    Departed,
    FormerPage,
    JoinTried,
    KeyringChanged,
    KeysDone,
    MemberChanged,
    NameConflict,
    OpenStream,
    OtherGroup,
    Output,
    PageChanged,
    PeerFailed,
    Reached,
    Rejected,
    Resolve,
    RoundaboutOnly,
    SaveKeyring,
    Send,
    StoodAside,
)
from gossip.group import Group
from gossip.messages import Address, Message, State, StreamMessage
from manager.audit import Audit
from manager.disk.keeper import Keeper
from manager.disk.saved import RESTORED, Saved
from manager.effects import Level, ManagerEffect, Persist, Stop
from manager.events import EventLog
from manager.history import History
from manager.limits.sharing import Sharing
from manager.liveness import Liveness
from manager.membership import MemberLog
from manager.operator import Operator
from manager.outbox import Outbox
from manager.page import NodePage
from manager.reading import Reading
from manager.records import GONE
from manager.registry import Registry
from manager.retention import Retention
from manager.rollout.configs import Configs
from manager.rollout.rollouts import Rollouts
from manager.seats.desk import Desk
from manager.seats.founders import Founders
from manager.seats.home import Home
from manager.seats.surplus import Surplus
from manager.seats.vouching import Vouching
from manager.sessions.sessions import Sessions
from manager.sight import Sight
from manager.subscription.days import Days
from manager.subscription.renewals import Renewals
from manager.terms import ManagerConfig, Terms
from node.protocol import Limits, NodeMessage

WENT_BACK = (
    "the others know more of this manager than its state directory does: that was set back, or restored from "
    "an old copy. What they know is taken over; what only this manager knew since that copy is lost"
)
_SWEEP_EVERY = 0.5
_LAG_TOLERATED = 1.0
"""A sweep later than this was our own fault: silence meanwhile is nobody else's."""
_FRESH_SECONDS = 5.0
"""How long a manager that cannot reconcile admits no newcomer after its start (rule A2)."""
_GOING_SECONDS_MAX = 3.0
"""How long a manager that leaves waits for its nodes to have moved."""


class Manager:
    """A manager's core. Call `tick` no later than `next_deadline()`; people have their say by `operator`."""

    def __init__(self, group: Group, config: ManagerConfig, now: float, saved: Saved | None = None) -> None:
        """`saved`: what is on disk, whose `memory` the group has; None where nothing is kept."""
        self.group = group
        self.name = group.name
        facts = {} if saved is None else saved.facts
        self._outbox = Outbox()
        self._member_log = MemberLog(self._outbox, group.group_name)
        self.registry = Registry(
            group.ledger, config.grace, config.rejoin_window, group.wall(now) - now, self._outbox
        )
        self.config = config
        self.events = EventLog(group.name, group.wall(now))
        self.history = History(config.stats_window, config.stats_step)
        self.days = Days(facts)
        self.audit = Audit(facts)
        self._started = now
        self._terms = Terms(group.ledger, group.group_name, config)
        self.settings = self._terms.settings
        """Where cap and limits come from. Read-only for others, as all parts are."""
        self.subscription = self._terms.subscription
        """The signed documents."""
        before = () if group.before is None else group.before.entries
        for line in self._terms.start(before, facts):
            self._outbox.log(Level.INFO, line)
        self._renewals = Renewals(group, self._terms, self.events, self._outbox)
        self._page = NodePage(group, self.registry, config, self._outbox)
        contents = {} if saved is None else saved.contents
        self.configs = Configs(self.settings, contents, group.wall, self._outbox)
        self.founders = Founders(group.ledger, config.founders) if config.policy == "strict" else None
        """Who may give rights to run nodes, under policy `strict`."""
        self.rollouts = Rollouts(group, self.registry, self.configs, self._outbox, self.founders)
        self.rollouts.recall(before)
        self.rollouts.contents_changed()
        self.home: Home | None = None
        """Where this manager is a founder itself."""
        self.desk: Desk | None = None
        if self.founders is not None:
            if self.name in config.founders:
                self.home = Home(group, self.founders, config, self._outbox)
            self.desk = Desk(group, self.founders, self.home, config, now)
        self._retention = Retention(group, self.registry, self.founders, config.page_retention, facts, now)
        self._sessions = Sessions(
            group, self.registry, self._page, self._terms, self.rollouts, self._outbox, self.desk
        )
        self.stats = self._sessions.stats
        """What the nodes reported to this manager."""
        self.traffic = self._sessions.traffic
        """What the gateways of those nodes answered."""
        self.shares = self._sessions.shares
        """Of the limits, for the nodes that this manager serves."""
        self.surplus = Surplus(group, self.registry, self._page, self._terms, self._sessions)
        self._sight = Sight(group, self._outbox)
        self._liveness = Liveness(group, self.registry, self._sight, self._sessions, config.node_port)
        self._reading = Reading(
            group,
            self.registry,
            self._page,
            self._terms,
            self.rollouts,
            self._renewals,
            self._sessions,
            self._liveness,
            self.founders,
            self.home,
            self._outbox,
        )
        self.operator = Operator(
            group,
            self._terms,
            self._renewals,
            self.surplus,
            Vouching(group, self.registry, self._page, self.founders, self.home, self.desk, self._outbox),
            self.rollouts,
            self._retention,
            self._sessions,
            self.audit,
            self._outbox,
            absorb=self._absorb,
            turn=self._turn,
        )
        """What an operator has this manager do."""
        self._sweep_at = now + _SWEEP_EVERY
        self._going_ends = inf
        self._keeper: Keeper | None = None
        if saved is not None:
            self._recall(saved, now)
            self._keeper = self._keep(saved, now)
        self._recall_rights(before, now)
        if self.home is not None and facts.get(RESTORED) == "1":
            self.home.bar(now)
        self._sight.tick()
        self._absorb(self._retention.recall(before, now), now)

    def _keep(self, saved: Saved, now: float) -> Keeper:
        return Keeper(
            self.group,
            self.stats,
            self.traffic,
            self.audit,
            self.configs,
            saved,
            at_once=self._terms.facts() | {RESTORED: "0"},
            lazy_facts=(self.days.take_facts, self._retention.facts),
            now=now,
        )

    def _recall(self, saved: Saved, now: float) -> None:
        """Go on from where we ended, as our disk has it."""
        self._reading.recall(saved.pages, now)
        if self.group.before is not None:
            self._page.adopt(self.group.before, now)
            self.shares.recall(dict(self.group.before.entries), now)
        self.stats.recall(saved.steps, self.group.wall(now))
        self.traffic.recall(saved.traffic, self.group.wall(now))

    def _recall_rights(self, before: Iterable[tuple[str, bytes]], now: float) -> None:
        """Under policy `strict`: what a founder spent, and what was said of it, stands as it stood."""
        if self.founders is not None and self.desk is not None:
            self.founders.recall(before)
            self.desk.recall(before)
        if self.home is not None:
            self.home.recall(before, now)

    # What there is to see

    @property
    def max_nodes(self) -> int | None:
        """The cap as it was granted, or set; None for none."""
        return self._terms.max_nodes

    @property
    def cap(self) -> int | None:
        """How many nodes may hold a seat, overage included; None for any number."""
        return self._terms.cap

    @property
    def limits(self) -> Limits:
        """The cluster-wide limits in force."""
        return self._terms.limits

    def sharing(self, name: str) -> Sharing:
        """How the limit is divided."""
        return self._terms.sharing(name)

    @property
    def fresh(self) -> bool:
        """Whether it has just started and admits no newcomer yet (rule A2)."""
        return self._sessions.fresh

    @property
    def going(self) -> bool:
        """Whether it is on its way out."""
        return self._sessions.going

    @property
    def lost(self) -> int:
        """How many sessions of nodes that were let in here ended without a goodbye."""
        return self._sessions.lost

    def seeds(self) -> tuple[str, ...]:
        """The node ports of all managers alive, `host:port`."""
        return self._sessions.managers

    def served(self) -> list[str]:
        """The ids of the nodes that are connected here and let in."""
        return self._sessions.served()

    # What the shell was asked to get

    def issuer_answered(self, text: str, now: float) -> list[ManagerEffect]:
        """The issuer's URL gave `text`; no call where it gave nothing."""
        self._renewals.answered(text, self.group.wall(now))
        return self._turn(now)

    def content_fetched(self, content: bytes | None, now: float) -> list[ManagerEffect]:
        """What `FetchContent` has brought, None for nothing."""
        self.rollouts.content_fetched(content, now)
        return self._turn(now)

    # Gossip

    def packet_received(
        self, messages: Iterable[Message], sender: Address, now: float, *, more: bool = False
    ) -> list[ManagerEffect]:
        """`more`: nothing is decided nor told before `end_turn`, for what arrived together."""
        self._absorb(self.group.packet_received(messages, sender, now), now)
        return [] if more else self._turn(now)

    def stream_received(
        self, message: StreamMessage, now: float
    ) -> tuple[StreamMessage | None, list[ManagerEffect]]:
        answer, output = self.group.stream_received(message, now)
        self._absorb(output, now)
        return answer, self._turn(now)

    def stream_answered(
        self, token: int, answer: StreamMessage | None, now: float, why: str = ""
    ) -> list[ManagerEffect]:
        self._absorb(self.group.stream_answered(token, answer, now, why), now)
        return self._turn(now)

    def resolved(self, peer: str, addresses: list[Address], now: float) -> list[ManagerEffect]:
        self._absorb(self.group.resolved(peer, addresses, now), now)
        return self._turn(now)

    def keyring_saved(self, why: str, now: float) -> list[ManagerEffect]:
        """The outcome of `SaveKeyring`: why it failed, or empty where it is on disk and in force."""
        self._absorb(self.group.keyring_saved(why, now), now)
        return self._turn(now)

    # Nodes

    def node_message(
        self, conn: int, message: NodeMessage, peer: str, now: float, *, more: bool = False
    ) -> list[ManagerEffect]:
        """A frame from the node on `conn`, which comes from IP address `peer`; `more` as above."""
        self._sessions.received(conn, message, peer, now)
        return [] if more else self._turn(now)

    def node_closed(
        self, conn: int, code: int | None, now: float, *, more: bool = False
    ) -> list[ManagerEffect]:
        """The connection has ended, with the node's close code if there was one; `more` as above."""
        self._sessions.closed(conn, code, now)
        return [] if more else self._turn(now)

    def end_turn(self, now: float) -> list[ManagerEffect]:
        """What follows from all that came with `more`: one turn, and so one commit and one piece of news."""
        return self._turn(now)

    # Going, and time

    def go(self, now: float, *, for_good: bool) -> list[ManagerEffect]:
        """Send the nodes to the other managers, then leave the group; `Departed` follows."""
        if self.going:
            return []
        if for_good:
            self.group.ledger.put(GONE, b"", ends_something=True)
        farewell = "leaving the group for good" if for_good else "leaving the group"
        self._outbox.log(Level.INFO, f"{farewell}, {len(self._sessions)} nodes move")
        self._note("manager", self.name, "", "leaving", farewell, now)
        self._sessions.send_away(now)
        self._going_ends = now + _GOING_SECONDS_MAX
        return self.tick(now)

    def adjust_clock(self, wall_offset: float) -> None:
        """The wall clock was set: what to add to `now` from here on."""
        self.group.adjust_clock(wall_offset)
        self.registry.wall_offset = wall_offset

    def next_deadline(self) -> float:
        """The latest time at which `tick` wants to be called."""
        return min(
            inf if self._keeper is None else self._keeper.next_deadline(),
            self.group.next_deadline(),
            self.registry.next_deadline(),
            self._sessions.next_deadline(),
            inf if self.home is None else self.home.next_deadline(),
            self._sight.next_deadline(),
            self._sweep_at,
            self._going_ends,
        )

    def tick(self, now: float) -> list[ManagerEffect]:
        """Whatever has become due by `now`."""
        self._absorb(self.group.tick(now), now)
        self.registry.tick(now)
        if self._sight.next_deadline() <= now:
            self._sight.tick()
        if self._sweep_at <= now:
            if (late := now - self._sweep_at) > _LAG_TOLERATED:
                # We were away ourselves: what the nodes sent meanwhile waits in our sockets.
                self._page.excuse(late)
                self._sessions.takeover.excuse(late)
                why = f"it was held up for {late:.1f} s: paused, or its host is overloaded"
                self._outbox.log(Level.WARNING, f"manager {self.name} is late: {why}")
                self._note("manager", self.name, "", "late", why, now)
            self._sweep_at = now + _SWEEP_EVERY
            self._sweep(now)
        nobody_left = self.going and not len(self._sessions) and self._going_ends < inf
        if self._going_ends <= now or nobody_left:
            self._going_ends = inf
            self._absorb(self.group.leave(now), now)
        return self._turn(now)

    def _sweep(self, now: float) -> None:
        for id_ in self._page.sweep(now):
            self._sessions.is_down(id_, now)
        self._sessions.sweep(now)
        self.settings.copy_winners(now, sum(member.name < self.name for member in self.group.kin()))
        self.surplus.mark(now)
        if self.desk is not None:
            self.desk.sweep(now)
        if self.home is not None:
            self.home.sweep(now)
        settled = not self.going and not self.fresh
        if settled:
            self.rollouts.sweep(now)
        self.rollouts.fetch_content(now)
        wall = self.group.wall(now)
        self._renewals.sweep(wall, may_ask=settled)
        if settled:
            self._forget_pages(now)
        self.history.sample(wall, self.registry, self.cap)
        self.days.sample(wall, self.registry.used, self.cap)

    def _forget_pages(self, now: float) -> None:
        forgotten, output = self._retention.sweep(now)
        for owner in forgotten:
            self._outbox.log(Level.INFO, f"what manager {owner} wrote is let go of: it has gone")
        self._absorb(output, now)

    def _turn(self, now: float) -> list[ManagerEffect]:
        """What every input ends with: decide what can now be decided, tell what was written."""
        if self.fresh and self._sessions.admission.knows_enough(now - self._started, _FRESH_SECONDS):
            self._sessions.fresh = self.shares.fresh = False
        if self.home is not None:
            self.home.look(self.cap, self._terms.serial, now)
        self._sessions.admit_newcomers(now)
        self._sessions.telling.check(now)
        if self.home is not None:
            self.home.look(self.cap, self._terms.serial, now)
        self._absorb(self.group.flush(now), now)
        for before, after in self.registry.take_changes():
            self.events.node_changed(before, after, self.group.wall(now))
        return [*self._kept(now), *self._outbox.take()]

    def _note(self, kind: str, subject: str, before: str, state: str, why: str, now: float) -> None:
        self.events.note(kind, subject, before, state, why, self.group.wall(now))

    def _kept(self, now: float, *, everything: bool = False) -> list[Persist]:
        changes = None if self._keeper is None else self._keeper.unsaved(now, everything=everything)
        return [] if changes is None else [Persist(changes)]

    def end(self, now: float) -> list[Persist]:
        """What is still to be kept when the process ends in good order."""
        return self._kept(now, everything=True)

    # What comes from the group

    def _absorb(self, output: list[Output], now: float) -> None:
        for item in output:
            self._take(item, now)
        self._liveness.look(now)

    def _take(self, item: Output, now: float) -> None:
        match item:
            case Send() | OpenStream() | Resolve() | Departed() | SaveKeyring():
                self._outbox.add(item)  # the shell carries it out …
            case KeysDone() | Reached() | JoinTried():
                self._outbox.add(item)  # … or somebody waits for it there
            case KeyringChanged(verb, fingerprint, by):
                text = f"gossip keys: {verb.value} {fingerprint}, by the word of {by}"
                self._outbox.log(Level.INFO, text)
            case Rejected(reason):
                self._outbox.count("gossip", reason)
            case MemberChanged():
                self._member_log.tell(item, now)
                self._member_changed(item, now)
            case PageChanged(owner, keys):
                self._reading.page_changed(owner, keys, now)
            case FormerPage():
                if self.group.before is not None:
                    self._outbox.log(Level.WARNING, WENT_BACK)
                    if self.home is not None:
                        self.home.went_back(item.entries, now)
                self._page.adopt(item, now)
                self._absorb(self._retention.recall(item.entries, now), now)
                self.rollouts.recall(item.entries)
                self.shares.recall(dict(item.entries), now)
            case NameConflict(name, address, ours=True):
                text = f"another manager named {name} runs at {address}: give this one another by --name"
                self._outbox.add(Stop(2, text))
            case (
                PeerFailed()
                | OtherGroup()
                | CannotRefute()
                | NameConflict()
                | RoundaboutOnly()
                | StoodAside()
                | CameBack()
            ):
                self._member_log.tell(item, now)

    def _member_changed(self, change: MemberChanged, now: float) -> None:
        before = "" if change.before is None else change.before.name.lower()
        self._note("member", change.name, before, change.after.name.lower(), change.why, now)
        if change.after is not State.SUSPECT:  # who still counts as running
            self._liveness.changed()
        gone = change.after in (State.DEAD, State.LEFT)
        if gone and self.desk is not None and (warning := self.desk.loses(change.name)):
            self._outbox.log(Level.WARNING, warning)
