"""How a node that said hello is answered in the end: it is welcomed, claims a seat, or is refused.

Rules are named as in `STATE.md`: A (admission).
"""

from dataclasses import replace

from gossip.group import Group
from manager.effects import Level
from manager.identity import Identity
from manager.limits.shares import Shares
from manager.limits.telling import Telling
from manager.outbox import Outbox
from manager.page import NodePage
from manager.records import NodeRecord, NodeState, kind_of
from manager.registry import Registry
from manager.rollout.rollouts import Rollouts
from manager.seats.admission import Admission, Claim
from manager.seats.refusals import FULL
from manager.sessions.connections import Connections
from manager.sessions.session import Session, ticket_of
from manager.terms import Terms
from manager.tokens import JoinToken
from node.protocol import CLOSE_REFUSED, Refused, Welcome


class Reception:
    """Writes what stands about a node from its hello on, and says so to it."""

    def __init__(
        self,
        group: Group,
        registry: Registry,
        page: NodePage,
        terms: Terms,
        rollouts: Rollouts,
        outbox: Outbox,
        identity: Identity,
        connections: Connections,
        admission: Admission,
        shares: Shares,
        telling: Telling,
        *,
        strict: bool,
    ) -> None:
        """`strict`: the policy under which nodes have their tickets from founders."""
        self.managers: tuple[str, ...] = ()
        """Seed addresses of all managers alive, ours first: where to go from here."""
        self._group = group
        self._registry = registry
        self._page = page
        self._terms = terms
        self._rollouts = rollouts
        self._outbox = outbox
        self._identity = identity
        self._connections = connections
        self._admission = admission
        self._shares = shares
        self._telling = telling
        self._strict = strict

    def claim(self, session: Session, now: float) -> None:
        """Let it wait until every manager alive has answered for its seat (rules A1, A5)."""
        stamp = self._admission.new_stamp(now)
        record = self._record(session, NodeState.CLAIMED, stamp, "claims a seat", now)
        instead = self._admission.surge.lost_like(record, self._group.wall(now))
        record = replace(record, instead=instead)
        if self._page.write(session.id, record, now, newcomer=True):
            version, token = self._group.ledger.own.version, session.token
            name, uses = ("", None) if token is None else (token.name, token.uses)
            claim = Claim(session.conn, session.id, stamp, version, now, instead, name, uses)
            self._admission.claimed(claim)
        else:
            self._refuse_page_full(session)

    def welcome(
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
        before, shown = None if known is None else known.record, None if self._strict else session.ticket
        since = self._page.over_since(before, over=over, now=now, ticket=shown)
        record = replace(record, seat=not over if seat is None else seat, over_limit=over, over_since=since)
        self._shares.joined(session.id, session.hello.limits_version, session.hello.in_force, now)
        if not self._page.write(session.id, record, now, newcomer=self._page.record(session.id) is None):
            self._refuse_page_full(session)
            self._shares.left(session.id)
            return
        session.admitted = True
        self._page.heard(session.id, now)
        if self._shares.due(now):
            self._shares.work_out(now)
        share = self._telling.limits_of(record, session.id, now)
        if share is not None:
            self._telling.note(session, share, record)
        welcome = Welcome(
            id=session.id,
            ticket=ticket or ticket_of(self._identity, session.id, record),
            life=life,
            rejoin_window=self._terms.config.rejoin_window,
            incarnation=session.hello.incarnation,
            manager=self._group.name,
            managers=self.managers,
            heartbeat=self._terms.config.heartbeat,
            limits_version=session.limits_version,
            limits=share or {},
            leases=self._shares.leases_of(share or {}),
            limits_follow=share is None,
            free_limits=self._terms.config.free_limits,
            over_limit=over,
            degrade_after=0.0 if self._strict else self._terms.config.degrade_after,
            gives_turns=True,
        )
        self._outbox.say(session.conn, welcome)
        kind = kind_of(session.hello.gateway)
        self._rollouts.joined(session.id, session.conn, session.key, kind, session.hello.config)
        self._outbox.log(Level.INFO, f"Sending the limits to the krakend: {session.id}")

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
            fingerprint=hello.fingerprint[:64] if self._admission.surge.wanted else "",
        )

    def _came_in_by(self, id_: str) -> JoinToken | None:
        """The token by which a known node came in, as long as there is one of that name."""
        view = self._registry.view(id_)
        name = "" if view is None else view.record.token
        return next((token for token in self._terms.config.join_tokens if token.name == name), None)

    # Not letting in

    def refuse_full(self, session: Session, now: float, code: str = "full", sentence: str = FULL) -> None:
        """There is no seat for it: it is listed as refused."""
        self._page.refused(session.id, self._record(session, NodeState.REFUSED, 0, sentence, now), now)
        self._outbox.log(Level.WARNING, sentence)
        name = session.hello.name if session.hello is not None else ""
        why = "all seats are taken" if code == "full" else "no right is within reach"
        text = f"refused {session.id} ({name or 'no name'}, {session.peer}): {why}"
        self._outbox.log(Level.INFO, text)
        self.refuse(session, code, sentence)

    def _refuse_page_full(self, session: Session) -> None:
        sentence = (
            f"manager {self._group.name} has no room for more nodes on its page: join by another manager"
        )
        self._outbox.log(Level.ERROR, sentence)
        self.refuse(session, "starting", sentence)

    def turn_away(self, session: Session, code: str, sentence: str) -> None:
        """Refuse what is no node of ours: it is not listed."""
        self._outbox.count("node", code)
        self._outbox.log(Level.WARNING, f"refused a node from {session.peer}: {sentence}")
        self.refuse(session, code, sentence)

    def refuse(self, session: Session, code: str, sentence: str) -> None:
        """Say `sentence`, and let go of the connection; whatever its node's record says stays."""
        refused = Refused(
            code=code,
            sentence=sentence,
            retry_after=self._terms.config.retry_after,
            managers=self.managers,
            free_limits=self._terms.config.free_limits,
        )
        self._outbox.say(session.conn, refused)
        self._outbox.close(session.conn, CLOSE_REFUSED, code)
        self._connections.detach(session)
