"""The nodes that are connected here: hello, admission, reports, take-over, and what they are sent.

Rules are named as in `STATE.md`: A (admission), I (identity).
"""

from dataclasses import replace
from math import inf

from gossip.group import Group
from manager.effects import Level
from manager.identity import Identity, Ticket, TicketError
from manager.limits.shares import Shares
from manager.limits.telling import Telling
from manager.outbox import Outbox
from manager.page import NodePage
from manager.records import CLONE, CONNECTION_ENDED, CloneNote, NodeRecord, NodeState, SessionKey, kind_of
from manager.registry import Registry
from manager.rollout.rollouts import Rollouts
from manager.seats.admission import Admission, Claim, Verdict
from manager.seats.desk import Answer, Desk, Question
from manager.seats.refusals import FULL
from manager.seats.surge import Surge
from manager.session import Session, identify
from manager.stats import StatsWindow
from manager.terms import Terms
from manager.tokens import JoinToken, find_token, used_up, why_not
from manager.traffic import TrafficWindow
from node.protocol import (
    CLOSE_GOING,
    CLOSE_MOVING,
    CLOSE_PROTOCOL,
    CLOSE_REFUSED,
    CLOSE_SILENT,
    CLOSE_SUPERSEDED,
    Ask,
    Behind,
    Clone,
    Fetch,
    Hello,
    Here,
    Leave,
    Managers,
    NewTicket,
    NodeMessage,
    Redirect,
    Refused,
    Renew,
    Report,
    Reported,
    Tried,
    Void,
    Welcome,
)

_CLONE_NOTE_SECONDS = 3600.0


class Sessions:
    """All connections of nodes, by number, and the one that speaks for each id."""

    def __init__(
        self,
        group: Group,
        registry: Registry,
        page: NodePage,
        terms: Terms,
        rollouts: Rollouts,
        outbox: Outbox,
        desk: Desk | None = None,
    ) -> None:
        """`desk`: where tickets come from, under policy `strict`."""
        self.surge = Surge(registry, terms.config.surge_seats, terms.config.surge_seconds)
        self.admission = Admission(group, registry, self.surge)
        self.stats = StatsWindow(terms.config.stats_window, terms.config.stats_step)
        self.traffic = TrafficWindow(terms.config.stats_window, terms.config.stats_step)
        self.managers: tuple[str, ...] = ()
        """Seed addresses of all managers alive, ours first."""
        self.going = False
        self.fresh = True
        """Whether this manager has just started and admits no newcomer yet (rule A2)."""
        self._identity = Identity(group.group_name, terms.config.secret)
        self._group = group
        self._registry = registry
        self._page = page
        self._terms = terms
        self._rollouts = rollouts
        self._outbox = outbox
        self._desk = desk
        self._sessions: dict[int, Session] = {}
        self._by_id: dict[str, Session] = {}
        self._newcomers: dict[int, Session] = {}
        self._clone_notes: dict[str, float] = {}
        self._challenged = False
        """Whether a session may be there that is asked whether it lives."""
        self.lost = 0
        """How often a node that was let in here was gone without a goodbye."""
        self.shares = Shares(group, registry, page, terms, None if desk is None else desk.founders)
        self.telling = Telling(
            self.shares, page, terms, outbox, self._by_id, self._ticket, strict=desk is not None
        )

    def __len__(self) -> int:
        return len(self._sessions)

    def served(self) -> list[str]:
        """The ids of the nodes that are connected here and let in."""
        return [id_ for id_, session in self._by_id.items() if session.admitted]

    def next_deadline(self) -> float:
        tickets = inf if self._desk is None else self._desk.next_deadline()
        return min(self.shares.next_deadline(), self.admission.next_deadline(), tickets)

    # What arrives

    def received(self, conn: int, message: NodeMessage, peer: str, now: float) -> None:
        """A frame from the node on `conn`, which comes from IP address `peer`."""
        session = self._sessions.get(conn)
        if session is None:
            session = self._sessions[conn] = Session(conn, peer)
        match message:
            case Hello():
                self._hello(session, message, now)
            case _ if session.cloned and session.hello is None:
                return
            case _ if session.hello is None:
                self._outbox.count("node", "no_hello")
                self._outbox.close(conn, CLOSE_PROTOCOL, "the first message must be a hello")
                self._detach(session)
            case Report():
                self._report(session, message, now)
            case Here():
                self._here(session, now)
            case Fetch(sha256=hash_, offset=offset):
                if session.admitted:
                    self._rollouts.fetch(conn, hash_, offset)
            case Tried(number=number, error=error):
                self._rollouts.trials.tried(session.id, number, error)
            case Renew():
                self._renew(session, message, now)
            case Leave(reason=reason):
                self.shares.left(session.id)
                if self._desk is not None:
                    self._desk.left(session.id, session.ticket, session.asked, now)
                self._ended(session, f"left: {reason}" if reason else "left", now)

    def closed(self, conn: int, code: int | None, now: float) -> None:
        """The connection has ended, with the node's close code if there was one (rule I5)."""
        session = self._sessions.get(conn)
        if session is None:
            return
        if code == CLOSE_MOVING:
            self._detach(session)
            self._withdraw(session, now)
        else:
            self.lost += session.admitted
            self._ended(session, CONNECTION_ENDED, now)

    def _hello(self, session: Session, hello: Hello, now: float) -> None:
        if session.conn in self._newcomers or self.admission.claim_of(session.conn) is not None:
            return
        if self._desk is not None and not session.admitted and self._desk.waits(session.conn):
            return
        id_, ticket, refusal = identify(self._identity, hello)
        token = find_token(hello.token, self._terms.config.join_tokens)
        stamp = 0 if ticket is None else ticket.stamp
        if refusal is None and (lacks := self._lacks_token(hello, id_, stamp, token, now)):
            refusal = "token", lacks
        if refusal is not None:
            self._turn_away(session, *refusal)
            return
        if self.going:
            # Not a redirect: two managers that both stop would send it to and fro without a pause.
            self._refuse(session, "starting", f"manager {self._group.name} is stopping")
            return
        highest = self._registry.highest(id_)
        if (hello.incarnation, hello.nonce) <= highest:
            self._outbox.say(session.conn, Behind(incarnation=highest[0]))
            return
        earlier = self._by_id.get(id_)
        if session.id and session.id != id_:
            self._detach(session)
            self._sessions[session.conn] = session
        session.id, session.hello, session.key = id_, hello, (hello.incarnation, hello.nonce)
        session.admitted = False
        session.ticket, session.left, session.asks = ticket, hello.left, 0
        session.token, session.counted, session.told = token, False, None
        session.limits_version = max(session.limits_version, hello.limits_version)
        session.limits_sent, session.challenge, session.challenge_ends = None, None, inf
        self._by_id[id_] = session
        if earlier is not None and earlier is not session:
            self._challenge(earlier, session.key, now)
        if not self._admit_known(session, now):
            self._newcomers[session.conn] = session

    def _lacks_token(self, hello: Hello, id_: str, stamp: int, token: JoinToken | None, now: float) -> str:
        """Why a newcomer is not let in for its token; a known node needs none (rule A4)."""
        view = self._registry.view(id_)
        known = stamp or (view is not None and view.shown and view.state is not NodeState.REFUSED)
        if known or not self._terms.config.join_tokens:
            return ""
        used = 0 if token is None else self._registry.uses[token.name]
        return why_not(token, used, self._group.wall(now), shown=bool(hello.token))

    def _report(self, session: Session, report: Report, now: float) -> None:
        id_, key, wall, counters = session.id, session.key, self._group.wall(now), report.counters
        if session.admitted and self.shares.has_lapsed(id_, now):
            self.telling.revive(session, now)
        self._outbox.say(session.conn, Reported(number=report.number))
        if session.admitted:
            session.told = self.traffic.add(id_, session.told, report.served, wall)
        record = self._page.record(id_)
        highest = self._registry.highest(id_)
        if session.admitted and (self._by_id.get(id_) is not session or key < highest):
            # The last of three processes of one id, when the first has answered for the second; or one with
            # an old disk, welcomed before this manager took over its earlier page (rule I4): it goes above.
            self._outbox.say(session.conn, Behind(incarnation=highest[0]))
            return
        if not session.admitted or record is None or record.session != key:
            return
        self._page.heard(id_, now)
        self.shares.reported(id_, report.limits_version, counters, now)
        if counters:
            self.stats.add(id_, key[1], counters, wall)
        self._rollouts.reported(id_, key, report.config, counters, self.traffic.timed(id_))
        if record.gateway != report.gateway:
            record = replace(record, gateway=report.gateway)
            self._page.write(id_, record, now)
        if record.state is NodeState.UNREACHABLE:
            self._outbox.log(Level.INFO, f"{id_} speaks again")
            self._page.change(id_, record, NodeState.ACTIVE, "speaks again", now)
        if session.limits_sent is not None and session.limits_sent[3] != record.over_since:
            self.telling.push(id_, record, now)

    def _ended(self, session: Session, why: str, now: float) -> None:
        """The node's end was seen; it counts for this session's incarnation only (rule I1)."""
        self._detach(session)
        record = self._page.record(session.id)
        if not self._withdraw(session, now) and session.admitted and record and record.session == session.key:
            self._page.ended(session.id, record, why, now)

    def _withdraw(self, session: Session, now: float) -> bool:
        """End the waiting of a newcomer that went away, or was superseded; false where it had no claim.

        A newer session of its node may have written since: that stays.
        """
        self._newcomers.pop(session.conn, None)
        if self._desk is not None:
            self._desk.withdraw(session.conn)
        claim, record = self.admission.withdraw(session.conn), self._page.record(session.id)
        if record is None or record.session != session.key or record.state is not NodeState.CLAIMED:
            return claim is not None
        self._page.erase(session.id, now)
        return True

    def _detach(self, session: Session) -> None:
        """Forget the connection; whatever its node's record says stays."""
        self._sessions.pop(session.conn, None)
        self._newcomers.pop(session.conn, None)
        self._rollouts.left(session.id, session.conn)
        if self._desk is not None:
            self._desk.withdraw(session.conn)
        if self._by_id.get(session.id) is session:
            del self._by_id[session.id]
            self.shares.lost(session.id)

    # Letting in

    def _admit_known(self, session: Session, now: float) -> bool:
        """Let in a node that is known here or brings a ticket: it is never refused (rules A2, A4)."""
        if self._desk is not None:
            return self._admit_by_ticket(session, self._desk, now)
        view, stamp = self._registry.view(session.id), session.stamp
        if view is not None and view.shown and view.state is not NodeState.REFUSED:
            stamp = view.record.stamp or stamp
            if view.seat or (view.running and view.record.over_limit):
                self._welcome(session, stamp, view.record.over_limit, now)
                return True
        elif not stamp:
            return False
        cap = self._terms.cap
        free = cap is None or self._registry.used + self._registry.over < cap
        self._welcome(session, stamp if free else self.admission.new_stamp(now), not free, now)
        return True

    def admit_newcomers(self, now: float) -> None:
        """Decide about everyone who waits, as far as that can be decided now (rules A1, A2, A5)."""
        if self.fresh:
            return
        if self._desk is not None:
            self._judge(None, now)
            self._get_tickets(self._desk, now)
            return
        cap = self._terms.cap
        for conn, session in list(self._newcomers.items()):
            way = self.admission.way(cap, counted=session.is_counted)
            if way == "wait":
                break
            del self._newcomers[conn]
            highest = self._registry.highest(session.id)
            if session.key <= highest:
                # While it waited we heard of a later hello elsewhere.
                self._outbox.say(conn, Behind(incarnation=highest[0]))
            elif self._admit_known(session, now):
                continue
            elif way == "claim":
                self._claim(session, now)
            else:
                self._welcome(session, self.admission.new_stamp(now), False, now)
                self.admission.note_admitted(cap)
        self._judge(cap, now)

    def _judge(self, cap: int | None, now: float) -> None:
        for claim, verdict in self.admission.judge(cap, now):
            session = self._sessions[claim.conn]
            if verdict is Verdict.USED_UP:
                assert session.token is not None
                self._withdraw(session, now)
                self._turn_away(session, "token", used_up(session.token))
            elif verdict is Verdict.FULL:
                self._refuse_full(session, now)
            elif self._desk is not None:
                # Its claim stands until a founder has answered.
                session.counted = True
                self._newcomers[claim.conn] = session
            else:
                self._welcome(session, claim.stamp, False, now)
                self.admission.note_admitted(cap)

    def _claim(self, session: Session, now: float) -> None:
        stamp = self.admission.new_stamp(now)
        record = self._record(session, NodeState.CLAIMED, stamp, "claims a seat", now)
        instead = self.surge.lost_like(record, self._group.wall(now))
        record = replace(record, instead=instead)
        if self._page.write(session.id, record, now, newcomer=True):
            version, token = self._group.ledger.own.version, session.token
            name, uses = ("", None) if token is None else (token.name, token.uses)
            claim = Claim(session.conn, session.id, stamp, version, now, instead, name, uses)
            self.admission.claimed(claim)
        else:
            self._refuse_page_full(session)

    def _welcome(
        self,
        session: Session,
        stamp: int,
        over: bool,
        now: float,
        ticket: str = "",
        life: float = 0.0,
        seat: bool | None = None,
    ) -> None:
        """Let it in; `ticket` is by policy `strict`, and lives for `life` where the node does not have it.

        `seat`: whether it holds one; by default whoever is not over the limit does.
        """
        assert session.hello is not None
        why = f"said hello to {self._group.name}"
        record = self._record(session, NodeState.ACTIVE, stamp, why, now)
        known = self._registry.view(session.id)
        before, shown = None if known is None else known.record, None if self._desk else session.ticket
        since = self._page.over_since(before, over=over, now=now, ticket=shown)
        record = replace(record, seat=not over if seat is None else seat, over_limit=over, over_since=since)
        self.shares.joined(session.id, session.hello.limits_version, session.hello.in_force, now)
        if not self._page.write(session.id, record, now, newcomer=self._page.record(session.id) is None):
            self._refuse_page_full(session)
            self.shares.left(session.id)
            return
        session.admitted = True
        self._page.heard(session.id, now)
        if self.shares.due(now):
            self.shares.work_out(now)
        share = self.telling.limits_of(record, session.id, now)
        if share is not None:
            self.telling.note(session, share, record)
        welcome = Welcome(
            id=session.id,
            ticket=ticket or self._ticket(session.id, record),
            life=life,
            rejoin_window=self._terms.config.rejoin_window,
            incarnation=session.hello.incarnation,
            manager=self._group.name,
            managers=self.managers,
            heartbeat=self._terms.config.heartbeat,
            limits_version=session.limits_version,
            limits=share or {},
            leases=self.shares.leases_of(share or {}),
            limits_follow=share is None,
            free_limits=self._terms.config.free_limits,
            over_limit=over,
            degrade_after=0.0 if self._desk is not None else self._terms.config.degrade_after,
            gives_turns=True,
        )
        self._outbox.say(session.conn, welcome)
        kind = kind_of(session.hello.gateway)
        self._rollouts.joined(session.id, session.conn, session.key, kind, session.hello.config)
        self._outbox.log(Level.INFO, f"Sending the limits to the krakend: {session.id}")

    def _ticket(self, id_: str, record: NodeRecord) -> str:
        """By policy `available`: what the node shows wherever no page knows it."""
        ticket = Ticket(self._identity.group, id_, record.stamp)
        if record.over_since:
            ticket = replace(ticket, incarnation=record.incarnation, over_since=record.over_since)
        return self._identity.seal(ticket)

    def _record(self, session: Session, state: NodeState, stamp: int, why: str, now: float) -> NodeRecord:
        """What is to stand about the node of `session`, without a seat."""
        hello, token = session.hello, session.token or self._came_in_by(session.id)
        known = self._registry.view(session.id)
        assert hello is not None
        return NodeRecord(
            state=state,
            incarnation=hello.incarnation,
            nonce=hello.nonce,
            stamp=stamp,
            seat=False,
            over_limit=False,
            since=self._page.since(session.id, state, hello.nonce, now),
            why=why,
            name=hello.name,
            address=hello.address or session.peer,
            gateway=hello.gateway,
            weight=hello.weight or 1.0,
            labels={**hello.labels, **({} if token is None else token.labels)},
            ephemeral=hello.ephemeral,
            token="" if token is None else token.name,
            instead="" if known is None else known.record.instead,
            fingerprint=hello.fingerprint[:64] if self.surge.wanted else "",
        )

    def _came_in_by(self, id_: str) -> JoinToken | None:
        """The token by which a known node came in, as long as there is one of that name."""
        view = self._registry.view(id_)
        name = "" if view is None else view.record.token
        return next((token for token in self._terms.config.join_tokens if token.name == name), None)

    def _refuse_full(self, session: Session, now: float, code: str = "full", sentence: str = FULL) -> None:
        self._page.refused(session.id, self._record(session, NodeState.REFUSED, 0, sentence, now), now)
        self._outbox.log(Level.WARNING, sentence)
        name = session.hello.name if session.hello is not None else ""
        why = "all seats are taken" if code == "full" else "no right is within reach"
        text = f"refused {session.id} ({name or 'no name'}, {session.peer}): {why}"
        self._outbox.log(Level.INFO, text)
        self._refuse(session, code, sentence)

    # Letting in by tickets: policy `strict`

    def _admit_by_ticket(self, session: Session, desk: Desk, now: float) -> bool:
        """A living ticket of a founder lets its node in at once, whoever is out of reach (rule S3)."""
        assert session.hello is not None
        if desk.is_void(session.ticket):
            self._outbox.say(session.conn, Void(incarnation=session.hello.incarnation))
            return True
        if not desk.honours(session.ticket, session.left):
            return False
        over = desk.is_over(session.id, session.ticket)
        self._welcome(session, session.stamp, over, now, ticket=session.hello.ticket, seat=True)
        return True

    def _get_tickets(self, desk: Desk, now: float) -> None:
        """Ask founders for those who wait, and pass on what they gave (rules S1, S4)."""
        for conn, session in list(self._newcomers.items()):
            to_count = session.is_counted and not session.counted
            if desk.full or (to_count and self.admission.way(None, counted=True) == "wait"):
                break
            del self._newcomers[conn]
            highest = self._registry.highest(session.id)
            if session.key < highest or (session.key == highest and not session.counted):
                self._outbox.say(conn, Behind(incarnation=highest[0]))
            elif not self._admit_by_ticket(session, desk, now):
                if session.left > 0:
                    # It has a ticket that lives, of a home that we have not heard of: others may have.
                    sentence = f"manager {self._group.name} does not know the home of this ticket yet"
                    self._refuse(session, "starting", sentence)
                elif to_count:
                    self._claim(session, now)
                else:
                    desk.wants(self._question(session, now), now)
        for answer in desk.decided(now):
            self._answered(answer, desk, now)

    def _question(self, session: Session, now: float) -> Question:
        assert session.hello is not None
        return Question(
            conn=session.conn,
            id=session.id,
            asked=session.asked,
            ticket=session.ticket,
            left=session.left,
            ephemeral=session.hello.ephemeral,
            stamp=session.stamp or self.admission.new_stamp(now),
        )

    def _renew(self, session: Session, message: Renew, now: float) -> None:
        """What the node has on its disk, and a question for a newer ticket."""
        if self._desk is None or not session.admitted or message.number <= session.asks:
            return
        try:
            ticket = self._identity.open(message.ticket)
        except TicketError:
            self._outbox.count("node", "foreign")
            return
        session.asks, session.ticket, session.left = message.number, ticket, message.left
        self._desk.wants(self._question(session, now), now)
        self._note_seat(session, message.left > 0, self._desk.is_over(session.id, ticket), now)

    def _answered(self, answer: Answer, desk: Desk, now: float) -> None:
        session = self._sessions[answer.question.conn]
        ticket = None if answer.ticket is None else self._identity.seal(answer.ticket)
        if answer.ticket is not None and ticket is not None:
            if session.admitted:
                number = answer.question.asked[1]
                self._outbox.say(session.conn, NewTicket(number=number, ticket=ticket, life=answer.life))
            else:
                stamp = answer.ticket.stamp
                self._welcome(session, stamp, answer.over, now, ticket, answer.life, seat=True)
        elif not session.admitted and session.ticket is not None and session.hello is not None:
            # It was let in before, and its ticket is over: it runs on under the free limits (rules A4, S6).
            self._welcome(session, session.stamp, True, now, ticket=session.hello.ticket, seat=False)
        elif not session.admitted:
            self._refuse_without(session, desk, now)

    def _refuse_without(self, session: Session, desk: Desk, now: float) -> None:
        code, sentence = desk.refusal(now)
        if code == "starting":
            self._withdraw(session, now)
            self._refuse(session, code, sentence)
        else:
            self._refuse_full(session, now, code, sentence)

    def _note_seat(self, session: Session, seat: bool, over: bool, now: float) -> None:
        """Without a ticket that lives a node has the free limits at once (rule S6)."""
        record, over = self._page.record(session.id), over or not seat
        if (
            record is None
            or record.session != session.key
            or (record.seat, record.over_limit) == (seat, over)
        ):
            return
        since = self._page.over_since(record, over=over, now=now)
        record = replace(record, seat=seat, over_limit=over, over_since=since)
        self._page.write(session.id, record, now)
        self.telling.push(session.id, record, now)

    def _refuse_page_full(self, session: Session) -> None:
        sentence = (
            f"manager {self._group.name} has no room for more nodes on its page: join by another manager"
        )
        self._outbox.log(Level.ERROR, sentence)
        self._refuse(session, "starting", sentence)

    def _turn_away(self, session: Session, code: str, sentence: str) -> None:
        """Refuse what is no node of ours: it is not listed."""
        self._outbox.count("node", code)
        self._outbox.log(Level.WARNING, f"refused a node from {session.peer}: {sentence}")
        self._refuse(session, code, sentence)

    def _refuse(self, session: Session, code: str, sentence: str) -> None:
        refused = Refused(
            code=code,
            sentence=sentence,
            retry_after=self._terms.config.retry_after,
            managers=self.managers,
            free_limits=self._terms.config.free_limits,
        )
        self._outbox.say(session.conn, refused)
        self._outbox.close(session.conn, CLOSE_REFUSED, code)
        self._detach(session)

    # Take-over and clones (rule I3)

    def newer_elsewhere(self, id_: str, newer: SessionKey, now: float) -> None:
        """Another page has a newer record: a session that still stands here is asked whether it lives."""
        session = self._by_id.get(id_)
        if session is not None and session.key < newer and session.challenge is None:
            self._challenge(session, newer, now)

    def clone_noted(self, id_: str, note: CloneNote, now: float) -> None:
        """The manager of an earlier session says that it lives: the one of the note's hello is a clone."""
        session = self._by_id.get(id_)
        if session is not None and session.key == (note.incarnation, note.nonce):
            self._cloned(session, now)

    def _challenge(self, session: Session, newer: SessionKey, now: float) -> None:
        self._withdraw(session, now)
        session.admitted = False
        session.challenge, self._challenged = newer, True
        session.challenge_ends = now + self._terms.config.unreachable_after
        self._outbox.say(session.conn, Ask(number=newer[0]))

    def _here(self, session: Session, now: float) -> None:
        if session.challenge is None:
            return
        newer, session.challenge, session.challenge_ends = session.challenge, None, inf
        text = f"{session.id} runs twice: the newer process must become a node of its own"
        self._outbox.log(Level.WARNING, text)
        other = self._by_id.get(session.id)
        if other is not None and other is not session and other.key == newer:
            self._cloned(other, now)
        else:
            self._group.ledger.put(CLONE + session.id, CloneNote(*newer).pack(), ends_something=True)
            self._clone_notes[session.id] = now + _CLONE_NOTE_SECONDS
        self._by_id[session.id] = session
        self._outbox.say(session.conn, Behind(incarnation=newer[0]))

    def _cloned(self, session: Session, now: float) -> None:
        sentence = f"{session.id} already runs elsewhere: this node draws a new identity"
        self._outbox.say(session.conn, Clone(sentence=sentence))
        self._withdraw(session, now)
        self._detach(session)
        self._sessions[session.conn] = Session(session.conn, session.peer, cloned=True)

    # What time and others change

    def sweep(self, now: float) -> None:
        """End the sessions that did not answer a challenge, and notes that have served."""
        if self._challenged:
            self._end_silent(now)
        for id_ in [id_ for id_, ends in self._clone_notes.items() if ends <= now]:
            del self._clone_notes[id_]
            self._group.ledger.delete(CLONE + id_)
        if self._registry.over:
            self.telling.surplus(now)
        self.stats.recall_more()
        self.stats.expire(self._group.wall(now))
        self.traffic.expire(self._group.wall(now))

    def _end_silent(self, now: float) -> None:
        for session in list(self._sessions.values()):
            if session.challenge_ends <= now:
                self._outbox.count("node", "superseded")
                self._outbox.close(session.conn, CLOSE_SUPERSEDED, "a newer session has taken over")
                self._withdraw(session, now)
                self._detach(session)
        self._challenged = any(session.challenge is not None for session in self._sessions.values())

    def excuse(self, late: float) -> None:
        """We did not listen for `late` seconds: challenges have so much more time."""
        for session in self._sessions.values():
            session.challenge_ends += late

    def is_down(self, id_: str, now: float) -> None:
        """Let go of a connection that has been silent for too long; its node may say hello again."""
        session = self._by_id.get(id_)
        if session is not None:
            self._outbox.close(session.conn, CLOSE_SILENT, "silent for too long")
            self._withdraw(session, now)
            self._detach(session)

    def tell_managers(self, managers: tuple[str, ...]) -> None:
        """These are the managers to fall back on from now on."""
        self.managers = managers
        for session in self._by_id.values():
            if session.admitted:
                self._outbox.say(session.conn, Managers(managers=managers))

    def send_away(self, now: float) -> None:
        """This manager goes: everybody moves to another, or comes back when there is one."""
        self.going = True
        others = self.managers[1:]
        for session in list(self._sessions.values()):
            if others:
                self._outbox.say(session.conn, Redirect(managers=others, going=True))
            else:
                self._outbox.close(session.conn, CLOSE_GOING, "this manager stops")
                self._withdraw(session, now)
                self._detach(session)
