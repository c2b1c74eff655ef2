"""One manager: what it decides about nodes, seats and limits, on top of a group.

A state machine without sockets, clocks or entropy of its own. Every input gives the effects to carry out,
in order. Rules are named as in `STATE.md`: A (admission), I (identity), L (ledger).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import inf

from gossip.effects import (
    Departed,
    FormerPage,
    MemberChanged,
    NameConflict,
    OpenStream,
    Output,
    PageChanged,
    PeerFailed,
    Rejected,
    Resolve,
    Send,
)
from gossip.group import Group
from gossip.ledger import SUCCEEDS, PageFull
from gossip.messages import Address, Message, State, StreamMessage
from manager.admission import Admission, Claim
from manager.effects import CloseNode, Count, Level, Log, ManagerEffect, Stop, ToNode
from manager.identity import KEY_BYTES, Identity, Ticket, TicketError
from manager.limits import shares
from manager.records import (
    CLONE,
    GONE,
    NODE,
    SEES,
    CloneNote,
    NodeRecord,
    NodeState,
    pack_names,
    unpack_names,
)
from manager.registry import Registry
from manager.settings import Settings
from manager.stats import StatsWindow
from node.protocol import (
    CLOSE_GOING,
    CLOSE_MOVING,
    CLOSE_PROTOCOL,
    CLOSE_REFUSED,
    CLOSE_SUPERSEDED,
    PROTOCOL_MAX,
    PROTOCOL_MIN,
    Ask,
    Behind,
    Clone,
    Hello,
    Here,
    Leave,
    Limit,
    Limits,
    LimitsPush,
    ManagerMessage,
    Managers,
    NodeMessage,
    Redirect,
    Refused,
    Report,
    Reported,
    Welcome,
    is_node_id,
)

FULL = "Your current subscription does not allow more nodes running. Please upgrade to add more nodes."
SUBSCRIPTION = "subscription"
LIMITS = "limits"
TAG_NODE_PORT = "kcm_node"
TAG_HTTP_PORT = "kcm_http"

_SWEEP_EVERY = 0.5
_FRESH_SECONDS = 5.0
_LIMITS_GAP_MIN = 0.05
_LIMITS_GAP_PER_NODE = 0.0005
_GOING_SECONDS_MAX = 3.0
_CLONE_NOTE_SECONDS = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerConfig:
    """What the core needs of the configuration. Durations are seconds."""

    secret: str = ""
    node_port: int = 7000
    http_port: int = 9897
    heartbeat: float = 5.0
    unreachable_after: float = 15.0
    grace: float = 60.0
    rejoin_window: float = 60.0
    retry_after: float = 15.0
    forget_after: float = 30 * 86400.0
    max_nodes: int | None = None
    free_limits: Limits = field(default_factory=dict)
    limits: Limits = field(default_factory=dict)
    stats_window: float = 3600.0
    stats_step: float = 10.0


@dataclass(slots=True)
class _Session:
    """One connection of a node. `id` is empty until a hello has been taken."""

    conn: int
    peer: str
    id: str = ""
    hello: Hello | None = None
    admitted: bool = False
    stamp: int = 0
    limits_version: int = 0
    limits_sent: tuple[Limits, bool] | None = None
    challenge: tuple[int, int] | None = None
    """The newer (incarnation, nonce) of its id, while it is asked whether it lives (rule I3)."""
    challenge_ends: float = inf

    @property
    def order(self) -> tuple[int, int]:
        return (0, 0) if self.hello is None else (self.hello.incarnation, self.hello.nonce)


class Manager:
    """A manager's core. Call `tick` no later than `next_deadline()`."""

    def __init__(self, group: Group, config: ManagerConfig, now: float) -> None:
        self.group = group
        self.config = config
        self.name = group.name
        self.identity = Identity(group.group_name, config.secret)
        self.registry = Registry(group.ledger, config.grace, config.rejoin_window, group.wall(now) - now)
        self.settings = Settings(group.ledger)
        self.stats = StatsWindow(config.stats_window, config.stats_step)
        self.admission = Admission(group, self.registry)
        self.going = False
        self._started = now
        self._out: list[ManagerEffect] = []
        self._sessions: dict[int, _Session] = {}
        self._by_id: dict[str, _Session] = {}
        self._last_heard: dict[str, float] = {}
        self._newcomers: dict[int, _Session] = {}
        self._clone_notes: dict[str, float] = {}
        self._shares: Limits = {}
        self._limits_at = inf
        self._sweep_at = now + _SWEEP_EVERY
        self._going_ends = inf
        self._managers: tuple[str, ...] = ()
        self.fresh = True
        """Whether it has just started and admits no newcomer yet (rule A2)."""
        if config.max_nodes is not None:
            self.settings.put_yaml(SUBSCRIPTION, config.max_nodes)
        if config.limits:
            plain = {name: [limit.max_rate, limit.every] for name, limit in config.limits.items()}
            self.settings.put_yaml(LIMITS, plain)
        self._see_members(now)

    # What the operator set

    @property
    def max_nodes(self) -> int | None:
        """The cap in force; None for none."""
        setting = self.settings.get(SUBSCRIPTION)
        return None if setting is None else setting.value

    @property
    def limits(self) -> Limits:
        """The cluster-wide limits in force."""
        setting = self.settings.get(LIMITS)
        pairs = {} if setting is None else setting.value
        return {name: Limit(rate, every) for name, (rate, every) in pairs.items()}

    def set_max_nodes(self, max_nodes: int, now: float) -> list[ManagerEffect]:
        """An operator's word, which wins over every YAML file and reaches all managers."""
        setting = self.settings.set(SUBSCRIPTION, max_nodes)
        self._log(Level.INFO, f"subscription: max_nodes is {max_nodes} from now on (serial {setting.serial})")
        return self._turn(now)

    def served(self) -> list[str]:
        """The ids of the nodes that are connected here and let in."""
        return [id_ for id_, session in self._by_id.items() if session.admitted]

    # Gossip

    def packet_received(
        self, messages: Iterable[Message], sender: Address, now: float
    ) -> list[ManagerEffect]:
        self._absorb(self.group.packet_received(messages, sender, now), now)
        return self._turn(now)

    def stream_received(
        self, message: StreamMessage, now: float
    ) -> tuple[StreamMessage | None, list[ManagerEffect]]:
        answer, output = self.group.stream_received(message, now)
        self._absorb(output, now)
        return answer, self._turn(now)

    def stream_answered(self, token: int, answer: StreamMessage | None, now: float) -> list[ManagerEffect]:
        self._absorb(self.group.stream_answered(token, answer, now), now)
        return self._turn(now)

    def resolved(self, peer: str, addresses: list[Address], now: float) -> list[ManagerEffect]:
        self._absorb(self.group.resolved(peer, addresses, now), now)
        return self._turn(now)

    def adjust_clock(self, wall_offset: float) -> None:
        """The wall clock was set: what to add to `now` from here on."""
        self.group.adjust_clock(wall_offset)
        self.registry.wall_offset = wall_offset

    # Time

    def next_deadline(self) -> float:
        return min(
            self.group.next_deadline(),
            self.registry.next_deadline(),
            self.admission.next_deadline(),
            self._sweep_at,
            self._limits_at,
            self._going_ends,
        )

    def tick(self, now: float) -> list[ManagerEffect]:
        self._absorb(self.group.tick(now), now)
        self.registry.tick(now)
        if self._sweep_at <= now:
            self._sweep_at = now + _SWEEP_EVERY
            self._sweep(now)
        if self._going_ends <= now or (self.going and not self._sessions and self._going_ends < inf):
            self._going_ends = inf
            self._absorb(self.group.leave(now), now)
        return self._turn(now)

    def go(self, now: float, *, for_good: bool) -> list[ManagerEffect]:
        """Send the nodes to the other managers, then leave the group; `Departed` follows."""
        if self.going:
            return []
        self.going = True
        if for_good:
            self.group.ledger.put(GONE, b"", ends_something=True)
        others = tuple(address for address in self._managers if address != self._seed_address())
        for session in self._sessions.values():
            if others:
                self._say(session, Redirect(managers=others, going=True))
            else:
                self._out.append(CloseNode(session.conn, CLOSE_GOING, "this manager stops"))
        self._log(
            Level.INFO,
            f"leaving the group{' for good' if for_good else ''}, {len(self._sessions)} nodes move",
        )
        if not others:
            self._sessions.clear()
        self._going_ends = now + _GOING_SECONDS_MAX
        return self.tick(now)

    # Nodes

    def node_message(self, conn: int, message: NodeMessage, peer: str, now: float) -> list[ManagerEffect]:
        """A frame from the node on `conn`, which comes from IP address `peer`."""
        session = self._sessions.setdefault(conn, _Session(conn, peer))
        match message:
            case Hello():
                self._hello(session, message, now)
            case _ if session.hello is None:
                self._close(session, CLOSE_PROTOCOL, "the first message must be a hello", "no_hello")
            case Report():
                self._report(session, message, now)
            case Here():
                self._here(session, now)
            case Leave(reason=reason):
                self._ended(session, f"left: {reason}" if reason else "left", now)
        return self._turn(now)

    def node_closed(self, conn: int, code: int | None, now: float) -> list[ManagerEffect]:
        """The connection has ended, with the node's close code if there was one."""
        session = self._sessions.get(conn)
        if session is not None:
            if code == CLOSE_MOVING:
                self._detach(session)
            else:
                self._ended(session, "connection ended", now)
        return self._turn(now)

    def _hello(self, session: _Session, hello: Hello, now: float) -> None:
        if session.conn in self._newcomers or self.admission.claim_of(session.conn) is not None:
            return
        id_, stamp, refusal = self._identify(hello)
        if refusal is not None:
            code, sentence = refusal
            self._out.append(Count("node", code))
            self._log(Level.WARNING, f"refused a node from {session.peer}: {sentence}")
            self._refuse(session, code, sentence)
            return
        if self.going:
            # Not a redirect: two managers that both stop would send it to and fro without a pause.
            self._refuse(session, "starting", f"manager {self.name} is stopping")
            return
        highest = self.registry.highest(id_)
        if (hello.incarnation, hello.nonce) <= highest:
            self._say(session, Behind(incarnation=highest[0]))
            return
        earlier = self._by_id.get(id_)
        if session.id and session.id != id_:
            self._detach(session)
            self._sessions[session.conn] = session
        session.id, session.hello, session.admitted, session.stamp = id_, hello, False, stamp
        session.limits_version = max(session.limits_version, hello.limits_version)
        session.limits_sent, session.challenge, session.challenge_ends = None, None, inf
        self._by_id[id_] = session
        if earlier is not None and earlier is not session:
            self._challenge(earlier, session.order, now)
        if not self._admit_known(session, now):
            self._newcomers[session.conn] = session

    def _identify(self, hello: Hello) -> tuple[str, int, tuple[str, str] | None]:
        """Its id, the stamp of its ticket, and what is wrong with it as (code, sentence)."""
        if hello.protocol_min > PROTOCOL_MAX or hello.protocol_max < PROTOCOL_MIN:
            ours = f"{PROTOCOL_MIN} to {PROTOCOL_MAX}"
            theirs = f"{hello.protocol_min} to {hello.protocol_max}"
            return (
                "",
                0,
                ("protocol", f"it speaks protocol {theirs}, this manager {ours}: upgrade the older one"),
            )
        if len(hello.key) != KEY_BYTES or hello.incarnation < 1:
            return "", 0, ("invalid", f"hello.key must be {KEY_BYTES} bytes and hello.incarnation above 0")
        if hello.id and not is_node_id(hello.id):
            return "", 0, ("invalid", "hello.id is not of the form krakend_<uuid4>")
        id_ = self.identity.id_of(hello.key)
        if hello.id and hello.id != id_:
            return (
                id_,
                0,
                ("foreign", "its id is of another group; remove the node's state to join as a new node"),
            )
        if not hello.ticket:
            return id_, 0, None
        try:
            ticket = self.identity.open(hello.ticket)
        except TicketError as error:
            return id_, 0, ("foreign", str(error))
        if ticket.id != id_:
            return (
                id_,
                0,
                ("foreign", "its ticket is another node's; remove the node's state to join as a new node"),
            )
        return id_, ticket.stamp, None

    def _admit_known(self, session: _Session, now: float) -> bool:
        """Let in a node that is known here or brings a ticket: it is never refused (rules A2, A4)."""
        view = self.registry.view(session.id)
        if view is not None and view.shown and view.state is not NodeState.REFUSED:
            stamp = view.record.stamp or session.stamp
            if view.seat or (view.running and view.record.over_limit):
                self._welcome(session, stamp, view.record.over_limit, now)
                return True
        elif session.stamp:
            stamp = session.stamp
        else:
            return False
        cap = self.max_nodes
        free = cap is None or self.registry.used + self.registry.over < cap
        self._welcome(session, stamp if free else self.admission.new_stamp(now), not free, now)
        return True

    def _admit_newcomers(self, now: float) -> None:
        """Decide about everyone who waits, as far as that can be decided now (rules A1, A2)."""
        if self.fresh and self._newcomers:
            return
        for conn, session in list(self._newcomers.items()):
            match self.admission.way(self.max_nodes):
                case "open":
                    del self._newcomers[conn]
                    stamp = self.admission.new_stamp(now)
                    self._welcome(session, stamp, False, now)
                    self.admission.note_open()
                case "claim":
                    del self._newcomers[conn]
                    self._claim(session, now)
                case "wait":
                    break
        for claim, admitted in self.admission.judge(self.max_nodes, now):
            session = self._sessions[claim.conn]
            if admitted:
                self._welcome(session, claim.stamp, False, now)
            else:
                self._refuse_full(session, now)

    def _claim(self, session: _Session, now: float) -> None:
        assert session.hello is not None
        stamp = self.admission.new_stamp(now)
        record = self._record(
            session, NodeState.CLAIMED, stamp, seat=False, over=False, why="claims a seat", now=now
        )
        if self._write(session.id, record, now, newcomer=True):
            version = self.group.ledger.own.version
            self.admission.claimed(Claim(session.conn, session.id, stamp, version, now))
        else:
            self._refuse_page_full(session)

    def _welcome(self, session: _Session, stamp: int, over: bool, now: float) -> None:
        assert session.hello is not None
        record = self._record(
            session,
            NodeState.ACTIVE,
            stamp,
            seat=not over,
            over=over,
            why=f"said hello to {self.name}",
            now=now,
        )
        if not self._write(session.id, record, now, newcomer=self.registry.own_record(session.id) is None):
            self._refuse_page_full(session)
            return
        session.admitted, session.stamp = True, stamp
        self._last_heard[session.id] = now
        share = self._current_shares()
        session.limits_version += 1
        session.limits_sent = (share, over)
        self._say(
            session,
            Welcome(
                id=session.id,
                ticket=self.identity.seal(Ticket(self.identity.group, session.id, stamp)),
                incarnation=session.hello.incarnation,
                manager=self.name,
                managers=self._managers,
                heartbeat=self.config.heartbeat,
                limits_version=session.limits_version,
                limits=share,
                free_limits=self.config.free_limits,
                over_limit=over,
            ),
        )
        self._log(Level.INFO, f"Sending the limits to the krakend: {session.id}")

    def _refuse_full(self, session: _Session, now: float) -> None:
        record = self._record(session, NodeState.REFUSED, 0, seat=False, over=False, why=FULL, now=now)
        self._write(session.id, record, now, newcomer=False)
        self._log(Level.WARNING, FULL)
        self._log(Level.DEBUG, f"refused {session.id} ({session.peer}): all seats are taken")
        self._refuse(session, "full", FULL)

    def _refuse_page_full(self, session: _Session) -> None:
        sentence = f"manager {self.name} has no room for more nodes in its page: join by another manager"
        self._log(Level.ERROR, sentence)
        self._refuse(session, "starting", sentence)

    def _refuse(self, session: _Session, code: str, sentence: str) -> None:
        self._say(
            session,
            Refused(
                code=code,
                sentence=sentence,
                retry_after=self.config.retry_after,
                managers=self._managers,
                free_limits=self.config.free_limits,
            ),
        )
        self._out.append(CloseNode(session.conn, CLOSE_REFUSED, code))
        self._detach(session)

    def _close(self, session: _Session, code: int, reason: str, counted: str) -> None:
        self._out += [Count("node", counted), CloseNode(session.conn, code, reason)]
        self._detach(session)

    def _report(self, session: _Session, report: Report, now: float) -> None:
        assert session.hello is not None
        self._say(session, Reported(number=report.number))
        record = self.registry.own_record(session.id)
        if not session.admitted or record is None or record.order != session.order:
            return
        self._last_heard[session.id] = now
        if report.counters:
            self.stats.add(session.id, session.hello.nonce, report.counters, self.group.wall(now))
        if record.state is NodeState.DOWN:
            session.admitted = False
            self._log(Level.INFO, f"{session.id} speaks again")
            self._admit_known(session, now)
        elif record.state is NodeState.UNREACHABLE:
            self._log(Level.INFO, f"{session.id} speaks again")
            self._change(session.id, record, NodeState.ACTIVE, "speaks again", now, gateway=report.gateway)
        elif record.state is NodeState.ACTIVE and record.gateway != report.gateway:
            self._write(session.id, replace(record, gateway=report.gateway), now)

    def _ended(self, session: _Session, why: str, now: float) -> None:
        """The node's end was seen; it counts for this session's incarnation only (rules I1, I5)."""
        self._detach(session)
        claim = self.admission.withdraw(session.conn)
        record = self.registry.own_record(session.id)
        if claim is not None and record is not None and record.state is NodeState.CLAIMED:
            self._erase(session.id, now)
        elif record is not None and record.order == session.order and session.admitted:
            self._last_heard.pop(session.id, None)
            if record.state in (NodeState.ACTIVE, NodeState.UNREACHABLE):
                self._log(Level.INFO, f"{session.id} is removed: {why}")
                self._change(session.id, record, NodeState.REMOVED, why, now)

    def _detach(self, session: _Session) -> None:
        """Forget the connection; whatever its node's record says stays."""
        self._sessions.pop(session.conn, None)
        self._newcomers.pop(session.conn, None)
        if self._by_id.get(session.id) is session:
            del self._by_id[session.id]

    # Take-over and clones (rule I3)

    def _challenge(self, session: _Session, newer: tuple[int, int], now: float) -> None:
        session.admitted = False
        session.challenge = newer
        session.challenge_ends = now + self.config.unreachable_after
        self._say(session, Ask(number=newer[0]))

    def _here(self, session: _Session, now: float) -> None:
        if session.challenge is None:
            return
        newer, session.challenge, session.challenge_ends = session.challenge, None, inf
        other = self._by_id.get(session.id)
        self._log(Level.WARNING, f"{session.id} runs twice: the newer process must become a node of its own")
        if other is not None and other is not session and other.order == newer:
            self._cloned(other)
        else:
            self._put(CLONE + session.id, CloneNote(*newer).pack())
            self._clone_notes[session.id] = now + _CLONE_NOTE_SECONDS
        self._by_id[session.id] = session
        self._say(session, Behind(incarnation=newer[0]))

    def _cloned(self, session: _Session) -> None:
        self._say(
            session, Clone(sentence=f"{session.id} already runs elsewhere: this node draws a new identity")
        )
        conn = session.conn
        self._detach(session)
        self._sessions[conn] = _Session(conn, session.peer)

    # What comes from the group

    def _absorb(self, output: list[Output], now: float) -> None:
        for item in output:
            match item:
                case Send() | OpenStream() | Resolve() | Departed():
                    self._out.append(item)
                case Rejected(reason):
                    self._out.append(Count("gossip", reason))
                case MemberChanged():
                    self._member_changed(item, now)
                case PageChanged(owner, keys):
                    self._page_changed(owner, keys, now)
                case FormerPage():
                    self._adopt(item, now)
                case PeerFailed(peer, why):
                    self._log(
                        Level.WARNING, f"cannot join {peer}: {why}; trying on (peers are gossip addresses)"
                    )
                case NameConflict(name, address, ours=True):
                    text = f"another manager named {name} runs at {address}: give this one another by --name"
                    self._out.append(Stop(2, text))
                case NameConflict(name, address):
                    self._log(
                        Level.ERROR, f"two members are named {name}, one of them at {address}: rename one"
                    )

    def _member_changed(self, change: MemberChanged, now: float) -> None:
        quiet = change.after is State.SUSPECT or change.before is State.SUSPECT
        level = Level.DEBUG if quiet and change.after is not State.DEAD else Level.INFO
        if change.after is State.DEAD:
            level = Level.WARNING
        self._log(level, f"member {change.name} is {change.after.name.lower()}: {change.why}")
        self._see_members(now)

    def _see_members(self, now: float) -> None:
        """Say whom we see alive, and derive what follows from what all say (rule I7)."""
        seen = sorted(member.name for member in self.group.kin())
        packed = pack_names(seen)
        if self.group.ledger.own.get(SEES) != packed:
            self._put(SEES, packed)
        alive = {self.name, *seen}
        seen_by_alive = set(alive)
        for name in seen:
            page = self.group.ledger.pages.get(name)
            value = None if page is None else page.get(SEES)
            if value is not None:
                try:
                    seen_by_alive.update(unpack_names(value))
                except ValueError:
                    self._out.append(Count("ledger", "bad_names"))
        self.registry.liveness(alive, seen_by_alive, now)
        self.admission.forget_silence(alive)
        addresses = [self._seed_address()] + [
            str(Address(member.address.host, int(port)))
            for member in self.group.kin()
            if (port := self.group.tags(member).get(TAG_NODE_PORT, "")).isdigit()
        ]
        if tuple(addresses) != self._managers:
            self._managers = tuple(addresses)
            for session in self._by_id.values():
                if session.admitted:
                    self._say(session, Managers(managers=self._managers))

    def _page_changed(self, owner: str, keys: tuple[str, ...], now: float) -> None:
        for key in keys:
            if key.startswith(CLONE):
                self._clone_noted(owner, key[len(CLONE) :])
        for id_ in self.registry.page_changed(owner, keys, now):
            self._newer_elsewhere(id_, now)
        changed, warnings = self.settings.page_changed(keys)
        for warning in warnings:
            self._log(Level.WARNING, warning)
        if SUBSCRIPTION in changed:
            self._log(Level.INFO, f"subscription: max_nodes is {self.max_nodes} by {owner}'s word")
        self._see_members(now)

    def _clone_noted(self, owner: str, id_: str) -> None:
        page = self.group.ledger.pages.get(owner)
        value = None if page is None else page.get(CLONE + id_)
        session = self._by_id.get(id_)
        if value is None or session is None:
            return
        try:
            note = CloneNote.unpack(value)
        except ValueError:
            self._out.append(Count("ledger", "bad_clone_note"))
            return
        if session.order == (note.incarnation, note.nonce):
            self._cloned(session)

    def _newer_elsewhere(self, id_: str, now: float) -> None:
        """Our record is outdated (rule I6); a session that still stands is asked whether it lives (I3)."""
        own, view = self.registry.own_record(id_), self.registry.view(id_)
        if own is None or view is None or view.manager == self.name or view.record.order <= own.order:
            return
        if own.state is not NodeState.MOVED:
            self._last_heard.pop(id_, None)
            self._change(id_, own, NodeState.MOVED, f"moved to {view.manager}", now)
        session = self._by_id.get(id_)
        if session is not None and session.order < view.record.order and session.challenge is None:
            self._challenge(session, view.record.order, now)

    def _adopt(self, former: FormerPage, now: float) -> None:
        """Take over what stood on our page before we started: its nodes have time to come back (rule I6)."""
        taken = 0
        for key, value in former.entries:
            if not key.startswith(NODE):
                continue
            id_ = key[len(NODE) :]
            try:
                record = NodeRecord.unpack(value)
            except ValueError:
                self._out.append(Count("ledger", "bad_record"))
                continue
            if record.order <= self.registry.highest(id_) and self.registry.own_record(id_) is not None:
                continue
            if record.state is NodeState.CLAIMED or self._outdated(id_, record):
                continue
            if record.state in (NodeState.ACTIVE, NodeState.UNREACHABLE):
                why = f"its manager {self.name} has started anew"
                record = replace(record, state=NodeState.UNREACHABLE, since=self.group.wall(now), why=why)
                self._last_heard[id_] = now - self.config.unreachable_after
            taken += self._write(id_, record, now)
        self._put(SUCCEEDS, former.generation.to_bytes(8))
        if taken:
            self._log(Level.INFO, f"took over {taken} nodes from before this manager's start")

    def _outdated(self, id_: str, record: NodeRecord) -> bool:
        view = self.registry.view(id_)
        return view is not None and view.manager != self.name and view.record.order > record.order

    # Writing our page

    def _record(
        self, session: _Session, state: NodeState, stamp: int, *, seat: bool, over: bool, why: str, now: float
    ) -> NodeRecord:
        hello = session.hello
        assert hello is not None
        return NodeRecord(
            state=state,
            incarnation=hello.incarnation,
            nonce=hello.nonce,
            stamp=stamp,
            seat=seat,
            over_limit=over,
            since=self.group.wall(now),
            why=why,
            name=hello.name,
            address=hello.address or session.peer,
            gateway=hello.gateway,
        )

    def _change(
        self, id_: str, record: NodeRecord, state: NodeState, why: str, now: float, gateway: str | None = None
    ) -> None:
        seat = record.seat and state is not NodeState.DOWN
        self._write(
            id_,
            replace(
                record,
                state=state,
                why=why,
                seat=seat,
                since=self.group.wall(now),
                gateway=record.gateway if gateway is None else gateway,
            ),
            now,
        )

    def _write(self, id_: str, record: NodeRecord, now: float, *, newcomer: bool = False) -> bool:
        """Put `record` on our page; false where the page has no room for a newcomer."""
        key = NODE + id_
        try:
            self.group.ledger.put(key, record.pack(), ends_something=not newcomer)
        except PageFull:
            self._out.append(Count("ledger", "page_full"))
            return False
        self.registry.page_changed(self.name, (key,), now)
        return True

    def _erase(self, id_: str, now: float) -> None:
        self.group.ledger.delete(NODE + id_)
        self.registry.page_changed(self.name, (NODE + id_,), now)

    def _put(self, key: str, value: bytes) -> None:
        self.group.ledger.put(key, value, ends_something=True)

    # Every half second

    def _sweep(self, now: float) -> None:
        for id_, heard in list(self._last_heard.items()):
            self._judge_silence(id_, now - heard, now)
        for id_, record in self.registry.own_records():
            self._age(id_, record, now)
        for session in list(self._sessions.values()):
            if session.challenge_ends <= now:
                self._close(session, CLOSE_SUPERSEDED, "a newer session has taken over", "superseded")
        for id_ in [id_ for id_, ends in self._clone_notes.items() if ends <= now]:
            del self._clone_notes[id_]
            self.group.ledger.delete(CLONE + id_)
        self._mark_surplus(now)
        self.stats.expire(self.group.wall(now))

    def _judge_silence(self, id_: str, silent: float, now: float) -> None:
        record = self.registry.own_record(id_)
        if record is None or record.state not in (NodeState.ACTIVE, NodeState.UNREACHABLE):
            del self._last_heard[id_]
        elif silent > self.config.unreachable_after + self.config.grace:
            del self._last_heard[id_]
            self._log(Level.WARNING, f"{id_} is down: silent for {silent:.0f} s")
            self._change(id_, record, NodeState.DOWN, f"silent for {silent:.0f} s", now)
        elif record.state is NodeState.ACTIVE and silent > self.config.unreachable_after:
            self._log(Level.WARNING, f"{id_} is unreachable: silent for {silent:.0f} s")
            self._change(id_, record, NodeState.UNREACHABLE, f"silent for {silent:.0f} s", now)

    def _age(self, id_: str, record: NodeRecord, now: float) -> None:
        """End rejoin windows, and forget what has been gone long enough, in the right order (rule I6)."""
        age = self.group.wall(now) - record.since
        match record.state:
            case NodeState.REMOVED if record.seat and age > self.config.rejoin_window:
                self._write(id_, replace(record, seat=False), now)
            case NodeState.REMOVED | NodeState.DOWN if age > self.config.forget_after:
                if self.registry.may_forget(id_):
                    self._erase(id_, now)
            case NodeState.REFUSED if age > 3 * self.config.retry_after:
                self._erase(id_, now)
            case NodeState.MOVED if (
                view := self.registry.view(id_)
            ) is not None and view.manager == self.name:
                self._erase(id_, now)
            case _:
                pass

    def _mark_surplus(self, now: float) -> None:
        """Mark the nodes that we serve beyond the cap, and unmark those within it (rule A3)."""
        cap = self.max_nodes
        if not self.registry.over and (cap is None or self.registry.used <= cap):
            return
        surplus = set() if cap is None else self.registry.surplus(cap)
        for id_, record in self.registry.own_records():
            if record.state not in (NodeState.ACTIVE, NodeState.UNREACHABLE):
                continue
            view = self.registry.view(id_)
            over = id_ in surplus
            if view is not None and view.record == record and record.over_limit != over:
                self._log(
                    Level.WARNING if over else Level.INFO,
                    f"{id_} is {'over' if over else 'within'} the limit",
                )
                self._write(id_, replace(record, over_limit=over, seat=not over), now)
                if (session := self._by_id.get(id_)) is not None and session.admitted:
                    self._send_limits(session, over)

    # Limits

    def _current_shares(self) -> Limits:
        return shares(self.limits, self.registry.running)

    def _check_limits(self, now: float) -> None:
        """Push the shares whenever they change, the more nodes the less often."""
        if self._limits_at == inf:
            if self._current_shares() != self._shares:
                gap = max(_LIMITS_GAP_MIN, _LIMITS_GAP_PER_NODE * len(self._by_id))
                self._limits_at = now + gap
        elif self._limits_at <= now:
            self._limits_at = inf
            self._shares = self._current_shares()
            for session in self._by_id.values():
                record = self.registry.own_record(session.id)
                if session.admitted and record is not None:
                    self._send_limits(session, record.over_limit)

    def _send_limits(self, session: _Session, over: bool) -> None:
        share = self._current_shares()
        if session.limits_sent != (share, over):
            session.limits_version += 1
            session.limits_sent = (share, over)
            self._say(session, LimitsPush(version=session.limits_version, limits=share, over_limit=over))
            self._log(Level.DEBUG, f"Sending the limits to the krakend: {session.id}")

    # Turning

    def _turn(self, now: float) -> list[ManagerEffect]:
        """What every input ends with: decide what can now be decided, tell what was written."""
        if self.fresh and self.admission.knows_enough(now - self._started, _FRESH_SECONDS):
            self.fresh = False
        self._admit_newcomers(now)
        self._check_limits(now)
        self._absorb(self.group.flush(now), now)
        out, self._out = self._out, []
        return out

    def _say(self, session: _Session, message: ManagerMessage) -> None:
        self._out.append(ToNode(session.conn, message))

    def _log(self, level: Level, text: str) -> None:
        self._out.append(Log(level, text))

    def _seed_address(self) -> str:
        return str(Address(self.group.swim.members.me.address.host, self.config.node_port))
