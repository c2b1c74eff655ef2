"""Who of those that said hello is let in, and when: known nodes at once, newcomers as seats allow.

Rules are named as in `STATE.md`: A (admission).
"""

from manager.outbox import Outbox
from manager.records import NodeState
from manager.registry import Registry
from manager.seats.admission import Admission, Verdict
from manager.sessions.connections import Connections
from manager.sessions.reception import Reception
from manager.sessions.session import Session
from manager.sessions.tickets import Tickets
from manager.terms import Terms
from manager.tokens import used_up
from node.protocol import Behind


class Newcomers:
    """Decides about all of `connections.newcomers`; `tickets` is None but under policy `strict`."""

    def __init__(
        self,
        registry: Registry,
        terms: Terms,
        outbox: Outbox,
        connections: Connections,
        admission: Admission,
        reception: Reception,
        tickets: Tickets | None,
    ) -> None:
        self._registry = registry
        self._terms = terms
        self._outbox = outbox
        self._connections = connections
        self._admission = admission
        self._reception = reception
        self._tickets = tickets

    def admit_known(self, session: Session, now: float) -> bool:
        """Let in a node that is known here or brings a ticket: it is never refused (rules A2, A4)."""
        if self._tickets is not None:
            return self._tickets.admit(session, now)
        view, stamp = self._registry.view(session.id), session.stamp
        if view is not None and view.shown and view.state is not NodeState.REFUSED:
            stamp = view.record.stamp or stamp
            if view.seat or (view.running and view.record.over_limit):
                self._reception.welcome(session, stamp, view.record.over_limit, now)
                return True
        elif not stamp:
            return False
        cap = self._terms.cap
        free = cap is None or self._registry.used + self._registry.over < cap
        self._reception.welcome(session, stamp if free else self._admission.new_stamp(now), not free, now)
        return True

    def admit(self, now: float) -> None:
        """Decide about everyone who waits, as far as that can be decided now (rules A1, A5)."""
        if self._tickets is not None:
            self._judge(None, now)
            self._tickets.get(now)
            return
        cap = self._terms.cap
        waiting = self._connections.newcomers
        for conn, session in list(waiting.items()):
            way = self._admission.way(cap, counted=session.is_counted)
            if way == "wait":
                break
            del waiting[conn]
            highest = self._registry.highest(session.id)
            if session.key <= highest:
                # While it waited we heard of a later hello elsewhere.
                self._outbox.say(conn, Behind(incarnation=highest[0]))
            elif self.admit_known(session, now):
                continue
            elif way == "claim":
                self._reception.claim(session, now)
            else:
                self._reception.welcome(session, self._admission.new_stamp(now), False, now)
                self._admission.note_admitted(cap)
        self._judge(cap, now)

    def _judge(self, cap: int | None, now: float) -> None:
        for claim, verdict in self._admission.judge(cap, now):
            session = self._connections.by_conn[claim.conn]
            if verdict is Verdict.USED_UP:
                assert session.token is not None
                self._connections.withdraw(session, now)
                self._reception.turn_away(session, "token", used_up(session.token))
            elif verdict is Verdict.FULL:
                self._reception.refuse_full(session, now)
            elif self._tickets is not None:
                # Its claim stands until a founder has answered.
                session.counted = True
                self._connections.newcomers[claim.conn] = session
            else:
                self._reception.welcome(session, claim.stamp, False, now)
                self._admission.note_admitted(cap)
