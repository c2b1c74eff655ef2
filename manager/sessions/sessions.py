"""The nodes that are connected here: what each says, and what all are told.

Rules are named as in `STATE.md`: A (admission), I (identity).
"""

from dataclasses import replace
from math import inf

from gossip.group import Group
from manager.effects import Level
from manager.identity import Identity
from manager.limits.shares import Shares
from manager.limits.telling import Telling
from manager.outbox import Outbox
from manager.page import NodePage
from manager.records import CONNECTION_ENDED, NodeState
from manager.registry import Registry
from manager.rollout.rollouts import Rollouts
from manager.seats.admission import Admission
from manager.seats.desk import Desk
from manager.seats.surge import Surge
from manager.sessions.connections import Connections
from manager.sessions.newcomers import Newcomers
from manager.sessions.reception import Reception
from manager.sessions.session import Session, identify
from manager.sessions.takeover import TakeOver
from manager.sessions.tickets import Tickets
from manager.stats import StatsWindow
from manager.terms import Terms
from manager.tokens import JoinToken, find_token, why_not
from manager.traffic import TrafficWindow
from node.protocol import (
    CLOSE_GOING,
    CLOSE_MOVING,
    CLOSE_PROTOCOL,
    CLOSE_SILENT,
    Behind,
    Fetch,
    Hello,
    Here,
    Leave,
    Managers,
    NodeMessage,
    Redirect,
    Renew,
    Report,
    Reported,
    Tried,
)


class Sessions:
    """All nodes by their connections, from hello to goodbye."""

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
        config, strict = terms.config, desk is not None
        self.admission = Admission(group, registry, Surge(registry, config.surge_seats, config.surge_seconds))
        self.stats = StatsWindow(config.stats_window, config.stats_step)
        self.traffic = TrafficWindow(config.stats_window, config.stats_step)
        self.going = False
        self.fresh = True
        """Whether this manager has just started and admits no newcomer yet (rule A2)."""
        self.lost = 0
        """How often a node that was let in here was gone without a goodbye."""
        self.shares = Shares(group, registry, page, terms, None if desk is None else desk.founders)
        self._identity = Identity(group.group_name, config.secret)
        self._group = group
        self._registry = registry
        self._page = page
        self._terms = terms
        self._rollouts = rollouts
        self._outbox = outbox
        self._desk = desk
        self._connections = Connections(page, rollouts, self.admission, self.shares, desk)
        self.telling = Telling(
            self.shares, page, terms, outbox, self._connections.by_id, self._identity, strict=strict
        )
        self.takeover = TakeOver(group, config, outbox, self._connections)
        self._reception = Reception(
            group,
            registry,
            page,
            terms,
            rollouts,
            outbox,
            self._identity,
            self._connections,
            self.admission,
            self.shares,
            self.telling,
            strict=strict,
        )
        self._tickets = None
        if desk is not None:
            self._tickets = Tickets(
                group,
                registry,
                page,
                outbox,
                self._identity,
                self._connections,
                self.admission,
                self._reception,
                self.telling,
                desk,
            )
        self._newcomers = Newcomers(
            registry, terms, outbox, self._connections, self.admission, self._reception, self._tickets
        )

    def __len__(self) -> int:
        return len(self._connections.by_conn)

    @property
    def managers(self) -> tuple[str, ...]:
        """Seed addresses of all managers alive, ours first."""
        return self._reception.managers

    def served(self) -> list[str]:
        """The ids of the nodes that are connected here and let in."""
        return [id_ for id_, session in self._connections.by_id.items() if session.admitted]

    def next_deadline(self) -> float:
        tickets = inf if self._desk is None else self._desk.next_deadline()
        return min(self.shares.next_deadline(), self.admission.next_deadline(), tickets)

    # What arrives

    def received(self, conn: int, message: NodeMessage, peer: str, now: float) -> None:
        """A frame from the node on `conn`, which comes from IP address `peer`."""
        session = self._connections.by_conn.get(conn)
        if session is None:
            session = self._connections.by_conn[conn] = Session(conn, peer)
        match message:
            case Hello():
                self._hello(session, message, now)
            case _ if session.cloned and session.hello is None:
                return
            case _ if session.hello is None:
                self._outbox.count("node", "no_hello")
                self._outbox.close(conn, CLOSE_PROTOCOL, "the first message must be a hello")
                self._connections.detach(session)
            case Report():
                self._report(session, message, now)
            case Here():
                self.takeover.here(session, now)
            case Fetch(sha256=hash_, offset=offset):
                if session.admitted:
                    self._rollouts.fetch(conn, hash_, offset)
            case Tried(number=number, error=error):
                self._rollouts.trials.tried(session.id, number, error)
            case Renew():
                if self._tickets is not None:
                    self._tickets.renew(session, message, now)
            case Leave(reason=reason):
                self.shares.left(session.id)
                if self._desk is not None:
                    self._desk.left(session.id, session.ticket, session.asked, now)
                self._ended(session, f"left: {reason}" if reason else "left", now)

    def closed(self, conn: int, code: int | None, now: float) -> None:
        """The connection has ended, with the node's close code if there was one (rule I5)."""
        session = self._connections.by_conn.get(conn)
        if session is None:
            return
        if code == CLOSE_MOVING:
            self._connections.detach(session)
            self._connections.withdraw(session, now)
        else:
            self.lost += session.admitted
            self._ended(session, CONNECTION_ENDED, now)

    def _hello(self, session: Session, hello: Hello, now: float) -> None:
        if session.conn in self._connections.newcomers or self.admission.claim_of(session.conn) is not None:
            return
        if self._desk is not None and not session.admitted and self._desk.waits(session.conn):
            return
        id_, ticket, refusal = identify(self._identity, hello)
        token = find_token(hello.token, self._terms.config.join_tokens)
        stamp = 0 if ticket is None else ticket.stamp
        if refusal is None and (lacks := self._lacks_token(hello, id_, stamp, token, now)):
            refusal = "token", lacks
        if refusal is not None:
            self._reception.turn_away(session, *refusal)
            return
        if self.going:
            # Not a redirect: two managers that both stop would send it to and fro without a pause.
            self._reception.refuse(session, "starting", f"manager {self._group.name} is stopping")
            return
        highest = self._registry.highest(id_)
        if (hello.incarnation, hello.nonce) <= highest:
            self._outbox.say(session.conn, Behind(incarnation=highest[0]))
            return
        earlier = self._connections.by_id.get(id_)
        if session.id and session.id != id_:
            self._connections.detach(session)
            self._connections.by_conn[session.conn] = session
        session.id, session.hello, session.key = id_, hello, (hello.incarnation, hello.nonce)
        session.admitted = False
        session.ticket, session.left, session.asks = ticket, hello.left, 0
        session.token, session.counted, session.told = token, False, None
        session.limits_version = max(session.limits_version, hello.limits_version)
        session.limits_sent, session.challenge, session.challenge_ends = None, None, inf
        self._connections.by_id[id_] = session
        if earlier is not None and earlier is not session:
            self.takeover.challenge(earlier, session.key, now)
        if not self._newcomers.admit_known(session, now):
            self._connections.newcomers[session.conn] = session

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
        if session.admitted and (self._connections.by_id.get(id_) is not session or key < highest):
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
        self._connections.detach(session)
        record = self._page.record(session.id)
        waited = self._connections.withdraw(session, now)
        if not waited and session.admitted and record and record.session == session.key:
            self._page.ended(session.id, record, why, now)

    # What time and others change

    def admit_newcomers(self, now: float) -> None:
        """Decide about everyone who waits, as far as that can be decided now (rule A2)."""
        if not self.fresh:
            self._newcomers.admit(now)

    def sweep(self, now: float) -> None:
        """What has become due."""
        self.takeover.sweep(now)
        if self._registry.over:
            self.telling.surplus(now)
        self.stats.recall_more()
        self.stats.expire(self._group.wall(now))
        self.traffic.expire(self._group.wall(now))

    def is_down(self, id_: str, now: float) -> None:
        """Let go of a connection that has been silent for too long; its node may say hello again."""
        session = self._connections.by_id.get(id_)
        if session is not None:
            self._outbox.close(session.conn, CLOSE_SILENT, "silent for too long")
            self._connections.withdraw(session, now)
            self._connections.detach(session)

    def tell_managers(self, managers: tuple[str, ...]) -> None:
        """These are the managers to fall back on from now on."""
        self._reception.managers = managers
        for session in self._connections.by_id.values():
            if session.admitted:
                self._outbox.say(session.conn, Managers(managers=managers))

    def send_away(self, now: float) -> None:
        """This manager goes: everybody moves to another, or comes back when there is one."""
        self.going = True
        others = self.managers[1:]
        for session in list(self._connections.by_conn.values()):
            if others:
                self._outbox.say(session.conn, Redirect(managers=others, going=True))
            else:
                self._outbox.close(session.conn, CLOSE_GOING, "this manager stops")
                self._connections.withdraw(session, now)
                self._connections.detach(session)
