"""Gets tickets of founders for the nodes that are connected here (S1, S3, S4, S6, S8).

A question of a node is passed on to one founder after another, by our page, until one has answered by its
own. The answer counts for that very question: `seat/<id>` says which one it answers.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf

from gossip.group import Group
from gossip.ledger import PageFull
from gossip.messages import State
from manager.identity import Ticket
from manager.seats.founders import Founders
from manager.seats.home import Home
from manager.seats.records import (
    ASK,
    ENDED,
    NO,
    Ask,
    Asked,
    Ended,
    No,
    Seat,
    ended_key,
    of_ended_key,
    pack,
    unpack,
)
from manager.seats.refusals import OUT_OF_REACH, refusal
from manager.seats.rights import STRETCH, whom_to_ask
from manager.terms import ManagerConfig
from node.durations import format_duration

FOUNDING_SECONDS = 10.0
"""How long after its start a manager sends nodes on, rather than refuse them for want of a founder."""
PATIENCE = 2.0
"""How long to wait for a founder before another one is asked."""
WANTED_MAX = 256
"""Questions of nodes that are under way at once; more nodes wait."""
RENEWED_BELOW = 0.75
"""A ticket is renewed when less than this part of its life is left …"""
REHOMED_BELOW = 0.5
"""… and, where its home does not answer, by another founder's, when less than this is (S6)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a node asked; `ticket` is what it has on its disk, which lives for `left` seconds."""

    conn: int
    id: str
    asked: Asked
    ticket: Ticket | None
    left: float
    ephemeral: bool
    stamp: int


@dataclass(frozen=True, slots=True)
class Answer:
    """`ticket` is None where no founder gives one."""

    question: Question
    ticket: Ticket | None = None
    life: float = 0.0
    over: bool = False


@dataclass(slots=True)
class _Wanted:
    question: Question
    to: str = ""
    until: float = inf
    tried: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Lapse:
    """A founder is out of reach, and its tickets end one after the other; times are the core's."""

    since: float
    """Or since this manager's start, if that is later."""
    seats: int
    first: float
    """Before that none is over: its home renewed it while it was in reach …"""
    last: float
    """… and after that all are, but for what it may still renew where we cannot see it."""


class Desk:
    """`home` is there where this manager is a founder itself."""

    def __init__(
        self, group: Group, founders: Founders, home: Home | None, config: ManagerConfig, now: float
    ) -> None:
        self._patient_until = now + FOUNDING_SECONDS
        self._group = group
        self._ledger = group.ledger
        self.founders = founders
        self._home = home
        self._config = config
        self._wanted: dict[int, _Wanted] = {}
        self._ended: dict[str, int] = {}
        """Our notes that a ticket is no more, and the version of our page that has each."""
        self._away: dict[str, float] = {}
        """Founders that are out of reach, and since when."""

    def recall(self, before: Iterable[tuple[str, bytes]]) -> None:
        """What we had said about tickets that are no more stands on our page again."""
        for key, value in before:
            if key.startswith(ENDED):
                self._ended[key] = self._ledger.put(key, value, ends_something=True)

    # Whether a ticket is one

    def honours(self, ticket: Ticket | None, left: float) -> bool:
        """Whether a node with this ticket comes in at once: no right is needed (S3)."""
        return ticket is not None and left > 0 and self.founders.known.is_founded(ticket.home, ticket.origin)

    def is_void(self, ticket: Ticket | None) -> bool:
        """Whether it is known to be none, and to be struck."""
        if ticket is None:
            return False
        return ticket.home not in self.founders.names or self.founders.known.is_void(
            ticket.home, ticket.origin
        )

    def is_over(self, id_: str, ticket: Ticket | None) -> bool:
        """Whether the node is beyond a lowered cap, as the home of its ticket says (S7)."""
        seat = None if ticket is None else self.founders.seat(ticket.home, id_)
        return seat is not None and seat.over_since > 0

    def refusal(self, now: float) -> tuple[str, str]:
        """(code, sentence) for a node that got no ticket (S8)."""
        code, sentence = refusal(self._group.name, self.founders, self.reachable())
        if code == OUT_OF_REACH and now < self._patient_until:
            # Founders that have just started are about to meet: that is not a no.
            return "starting", sentence
        return code, sentence

    # Questions

    @property
    def full(self) -> bool:
        """Whether more questions have to wait."""
        return len(self._wanted) >= WANTED_MAX

    @property
    def asked(self) -> int:
        """Questions that a founder has been asked, and has not answered yet."""
        return sum(bool(wanted.to) for wanted in self._wanted.values())

    def waits(self, conn: int) -> bool:
        return conn in self._wanted

    def wants(self, question: Question, now: float) -> None:
        """The node has a question; it takes the place of an earlier one of that connection."""
        self._confirm(question, now)
        if question.ticket is None or self._is_due(question):
            self.withdraw(question.conn)
            self._wanted[question.conn] = _Wanted(question)

    def withdraw(self, conn: int) -> bool:
        """The node is gone, or has got what it wanted; whether it had a question."""
        wanted = self._wanted.pop(conn, None)
        if wanted is not None and self._ledger.own.get(ASK + wanted.question.id) is not None:
            self._ledger.delete(ASK + wanted.question.id)
        return wanted is not None

    def _life(self, question: Question) -> float:
        return self._config.ephemeral_life if question.ephemeral else self._config.ticket_life

    def _is_due(self, question: Question) -> bool:
        """Whether a founder is to be asked: a node that gets another ticket asks again at once."""
        ticket = question.ticket
        if ticket is None or self._is_old(question) or ticket.home in self.founders.known.expelled:
            return True
        return self.is_over(question.id, ticket) and bool(self._whom(question))

    def _is_old(self, question: Question) -> bool:
        """Whether its ticket is to be renewed by now; its home may give another life than we would."""
        ticket, life = question.ticket, self._life(question)
        seat = None if ticket is None else self.founders.seat(ticket.home, question.id)
        if ticket is not None and seat is not None and seat.asked == ticket.asked:
            life = min(life, seat.life)
        first = ticket is not None and ticket.first
        return first or question.left < RENEWED_BELOW * life

    def decided(self, now: float) -> list[Answer]:
        """The questions that are answered now, or that no founder answers."""
        answers = []
        for conn, wanted in list(self._wanted.items()):
            answer = self._look(wanted, now)
            if answer is not None:
                self.withdraw(conn)
                answers.append(answer)
        return answers

    def next_deadline(self) -> float:
        return min((wanted.until for wanted in self._wanted.values()), default=inf)

    def _look(self, wanted: _Wanted, now: float) -> Answer | None:
        question = wanted.question
        while True:
            if wanted.to:
                seat = self.founders.seat(wanted.to, question.id)
                if seat is not None and seat.asked == question.asked:
                    return self._answer(question, wanted.to, seat)
                if not self._has_failed(wanted, now):
                    return None
                wanted.tried.add(wanted.to)
            candidates = [name for name in self._whom(question) if name not in wanted.tried]
            if not candidates:
                return Answer(question)
            wanted.to, wanted.until = candidates[0], now + PATIENCE
            if not self._ask(question, wanted.to, now):
                wanted.tried.add(wanted.to)
                wanted.to = ""

    def _has_failed(self, wanted: _Wanted, now: float) -> bool:
        page = self._ledger.pages.get(wanted.to)
        no = None if page is None else unpack(No, page.get(NO + wanted.question.id))
        denied = no is not None and no.asked == wanted.question.asked
        return denied or wanted.until <= now or wanted.to not in self.reachable()

    def _ask(self, question: Question, founder: str, now: float) -> bool:
        ticket, living = question.ticket, question.left > 0
        has = ticket is not None and self._is_of(ticket, founder)
        asked = ticket.asked if ticket is not None and has else (0, 0)
        replaces = ticket.home if ticket is not None and living and not has else ""
        ask = Ask(founder, *question.asked, question.stamp, question.ephemeral, *asked, living, replaces)
        if self._home is not None and founder == self._group.name:
            return self._home.gives(question.id, ask, now)
        try:
            self._ledger.put(ASK + question.id, pack(ask))
        except PageFull:
            return False
        return True

    def _is_of(self, ticket: Ticket, founder: str) -> bool:
        account = self.founders.known.accounts.get(founder)
        return ticket.home == founder and account is not None and account.origin == ticket.origin

    def _answer(self, question: Question, home: str, seat: Seat) -> Answer:
        before = question.ticket
        moves = before is not None and not self._is_of(before, home)
        renews = before is not None and not moves and question.left > 0
        ticket = Ticket(
            self._group.group_name,
            question.id,
            seat.stamp,
            home,
            self.founders.known.accounts[home].origin,
            *question.asked,
            replaces=before.home if before is not None and moves else "",
            replaces_origin=before.origin if before is not None and moves else 0,
            first=not renews and seat.life < self._life(question),
        )
        return Answer(question, ticket, seat.life, seat.over_since > 0)

    def lapse(self, founder: str) -> Lapse | None:
        """When the tickets of a founder out of reach are over; None for one in reach, or without seats."""
        since = self._away.get(founder)
        lives = [seat.life for seat in self.founders.seats(founder)]
        if since is None or not lives:
            return None
        first = since + RENEWED_BELOW * min(lives)
        return Lapse(since, len(lives), first, since + max(lives) * STRETCH)

    def loses(self, founder: str) -> str:
        """What it means that a founder is out of reach, for the operator; empty where it is none (S6)."""
        if founder not in self.founders.names or founder in self.founders.known.expelled:
            return ""
        seats = self.founders.count(founder)
        life = format_duration(self._config.ticket_life)
        return (
            f"founder {founder} is out of reach: {seats} nodes run on by its tickets, which are over in "
            f"{life} at the latest; bring it back, or, if it is gone for good, "
            f"`kcm group founders expel {founder}`"
        )

    # Whom to ask

    def reachable(self) -> set[str]:
        """The founders that can be asked."""
        kin = {member.name for member in self._group.kin() if member.state is State.ALIVE}
        return (kin | {self._group.name}) & set(self.founders.names) - self.founders.known.expelled.keys()

    def _whom(self, question: Question) -> list[str]:
        """Founders in the order in which to ask them."""
        ticket, reachable = question.ticket, self.reachable()
        accounts = {name: one for name, one in self.founders.known.accounts.items() if name in reachable}
        home = ticket.home if ticket is not None and self._is_of(ticket, ticket.home) else ""
        renews = [home] if home in reachable else []
        if ticket is None or question.left <= 0:
            # Whoever has a seat for it already answers without another right.
            renews += [held.home for held in self.founders.seats_of(question.id) if held.home in accounts]
            left = {name: one.left for name, one in accounts.items()}
            return list(dict.fromkeys(renews + self._order(left)))
        over, late = self.is_over(question.id, ticket), question.left < REHOMED_BELOW * self._life(question)
        room = {name: one.room for name, one in accounts.items() if name != home}
        others = self._order(room)
        if ticket.home in self.founders.known.expelled and (heir := self.founders.heir) in reachable:
            others = [heir, *(name for name in others if name != heir)]
        elif not over and not late:
            # What is renewed in time needs no right; a home that is away for an hour needs no moving.
            others = []
        if over:
            # Its own home only renews it, and does that no sooner than others.
            return others + renews if self._is_old(question) else others
        return renews + others

    def _order(self, left: dict[str, int]) -> list[str]:
        """By what is left, less what we have asked for ourselves."""
        asked = [wanted.to for wanted in self._wanted.values()]
        return whom_to_ask(
            {name: count - asked.count(name) for name, count in left.items()}, self._group.name
        )

    # Tickets that are no more

    def _confirm(self, question: Question, now: float) -> None:
        """What is on the node's disk is there in the place of another home's ticket (S4)."""
        ticket = question.ticket
        if ticket is not None and ticket.replaces:
            self._end(ticket.replaces, question.id, Ended(ticket.replaces_origin, *ticket.asked, 0.0), now)

    def left(self, id_: str, ticket: Ticket | None, asked: Asked, now: float) -> None:
        """The node has said that it leaves, and cut its ticket to the rejoin window before (S5)."""
        if ticket is not None and ticket.home:
            self._end(ticket.home, id_, Ended(ticket.origin, *asked, self._config.rejoin_window), now)

    def forget(self, id_: str, incarnation: int, now: float) -> list[str]:
        """An operator vouches that the node runs nowhere, and will not; gives the homes it has (S5)."""
        expelled = self.founders.known.expelled
        seats = [held for held in self.founders.seats_of(id_) if held.home not in expelled]
        for held in seats:
            origin = self.founders.known.accounts[held.home].origin
            # Its record may be forgotten while its ticket lives: then only the seat tells its last question.
            last = max(incarnation, held.seat.incarnation)
            self._end(held.home, id_, Ended(origin, last, 2**31, 0.0), now)
        return [held.home for held in seats]

    def _end(self, home: str, id_: str, ended: Ended, now: float) -> None:
        if self._home is not None and home == self._group.name:
            self._home.ended(id_, ended, now)
            return
        key = ended_key(home, id_)
        before = unpack(Ended, self._ledger.own.get(key))
        if before is None or before.asked < ended.asked or before.origin != ended.origin:
            self._ended[key] = self._ledger.put(key, pack(ended), ends_something=True)

    def sweep(self, now: float) -> None:
        """Notice who is out of reach, and clear the notes that have served: the home has acted (S4, S5)."""
        gone = set(self.founders.names) - self.reachable() - self.founders.known.expelled.keys()
        self._away = {name: self._away.get(name, now) for name in sorted(gone)}
        for key, version in list(self._ended.items()):
            home, id_ = of_ended_key(key)
            ended = unpack(Ended, self._ledger.own.get(key))
            if (
                ended is None
                or home in self.founders.known.expelled
                or self._has_served(home, id_, ended, version)
            ):
                del self._ended[key]
                self._ledger.delete(key)

    def _has_served(self, home: str, id_: str, ended: Ended, version: int) -> bool:
        # Our copy of its page must not be older than its answer: it may have given the seat meanwhile.
        if not self._group.heard_by(home, version):
            return False
        seat = self.founders.seat(home, id_)
        return seat is None or seat.asked > ended.asked or (ended.window > 0 and seat.ending)
