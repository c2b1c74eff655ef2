"""Letting in by tickets: policy `strict`.

Rules are named as in `STATE.md`: A (admission), S (seats by tickets).
"""

from dataclasses import replace

from gossip.group import Group
from manager.identity import Identity, TicketError
from manager.limits.telling import Telling
from manager.outbox import Outbox
from manager.page import NodePage
from manager.registry import Registry
from manager.seats.admission import Admission
from manager.seats.desk import Answer, Desk, Question
from manager.sessions.connections import Connections
from manager.sessions.reception import Reception
from manager.sessions.session import Session
from node.protocol import Behind, NewTicket, Renew, Void


class Tickets:
    """Has the desk ask founders on behalf of nodes, and tells each what was answered."""

    def __init__(
        self,
        group: Group,
        registry: Registry,
        page: NodePage,
        outbox: Outbox,
        identity: Identity,
        connections: Connections,
        admission: Admission,
        reception: Reception,
        telling: Telling,
        desk: Desk,
    ) -> None:
        self._group = group
        self._registry = registry
        self._page = page
        self._outbox = outbox
        self._identity = identity
        self._connections = connections
        self._admission = admission
        self._reception = reception
        self._telling = telling
        self._desk = desk

    def admit(self, session: Session, now: float) -> bool:
        """A living ticket of a founder lets its node in at once, whoever is out of reach (rule S3)."""
        assert session.hello is not None
        if self._desk.is_void(session.ticket):
            self._outbox.say(session.conn, Void(incarnation=session.hello.incarnation))
            return True
        if not self._desk.honours(session.ticket, session.left):
            return False
        over = self._desk.is_over(session.id, session.ticket)
        self._reception.welcome(session, session.stamp, over, now, ticket=session.hello.ticket, seat=True)
        return True

    def get(self, now: float) -> None:
        """Ask founders for those who wait, and pass on what they gave (rules S1, S4)."""
        waiting = self._connections.newcomers
        for conn, session in list(waiting.items()):
            to_count = session.is_counted and not session.counted
            if self._desk.full or (to_count and self._admission.way(None, counted=True) == "wait"):
                break
            del waiting[conn]
            highest = self._registry.highest(session.id)
            if session.key < highest or (session.key == highest and not session.counted):
                self._outbox.say(conn, Behind(incarnation=highest[0]))
            elif not self.admit(session, now):
                if session.left > 0:
                    # It has a ticket that lives, of a home that we have not heard of: others may have.
                    sentence = f"manager {self._group.name} does not know the home of this ticket yet"
                    self._reception.refuse(session, "starting", sentence)
                elif to_count:
                    self._reception.claim(session, now)
                else:
                    self._desk.wants(self._question(session, now), now)
        for answer in self._desk.decided(now):
            self._answered(answer, now)

    def _question(self, session: Session, now: float) -> Question:
        assert session.hello is not None
        return Question(
            conn=session.conn,
            id=session.id,
            asked=session.asked,
            ticket=session.ticket,
            left=session.left,
            ephemeral=session.hello.ephemeral,
            stamp=session.stamp or self._admission.new_stamp(now),
        )

    def renew(self, session: Session, message: Renew, now: float) -> None:
        """What the node has on its disk, and a question for a newer ticket."""
        if not session.admitted or message.number <= session.asks:
            return
        try:
            ticket = self._identity.open(message.ticket)
        except TicketError:
            self._outbox.count("node", "foreign")
            return
        if ticket.id != session.id:
            # A founder would take it for one that it gave this node, and its own store for an older one.
            self._outbox.count("node", "foreign")
            return
        session.asks, session.ticket, session.left = message.number, ticket, message.left
        self._desk.wants(self._question(session, now), now)
        self._note_seat(session, message.left > 0, self._desk.is_over(session.id, ticket), now)

    def _answered(self, answer: Answer, now: float) -> None:
        session = self._connections.by_conn[answer.question.conn]
        ticket = None if answer.ticket is None else self._identity.seal(answer.ticket)
        if answer.ticket is not None and ticket is not None:
            if session.admitted:
                number = answer.question.asked[1]
                self._outbox.say(session.conn, NewTicket(number=number, ticket=ticket, life=answer.life))
            else:
                stamp = answer.ticket.stamp
                self._reception.welcome(session, stamp, answer.over, now, ticket, answer.life, seat=True)
        elif not session.admitted and session.ticket is not None and session.hello is not None:
            # It was let in before, and its ticket is over: it runs on under the free limits (rules A4, S6).
            self._reception.welcome(
                session, session.stamp, True, now, ticket=session.hello.ticket, seat=False
            )
        elif not session.admitted:
            self._refuse_without(session, now)

    def _refuse_without(self, session: Session, now: float) -> None:
        code, sentence = self._desk.refusal(now)
        if code == "starting":
            self._connections.withdraw(session, now)
            self._reception.refuse(session, code, sentence)
        else:
            self._reception.refuse_full(session, now, code, sentence)

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
        self._telling.push(session.id, record, now)
