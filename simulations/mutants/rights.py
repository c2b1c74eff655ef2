"""Rules of rights and of seats under policy `strict`, left out one at a time."""

from dataclasses import replace
from math import inf
from typing import Any

from gossip.effects import NameConflict
from gossip.messages import State
from manager.core import Manager
from manager.records import NodeState
from manager.seats import home as homes
from manager.seats.desk import Desk, Question
from manager.seats.home import Home
from manager.seats.records import MET, Ended
from manager.seats.rights import STRETCH, Founder
from node.life import Life
from node.place import Place
from simulations.mutants.patch import Patch


def yes_not_on_disk(patch: Patch) -> None:
    """Whom a founder has met it forgets with its process: a yes is given twice (R1)."""
    right = Home.recall

    def recall(self: Home, before: Any, now: float) -> None:
        right(self, [(key, value) for key, value in before if not key.startswith(MET)], now)

    patch(Home, "recall", recall)


def spent_before_all_said_yes(patch: Patch) -> None:
    """A founder spends its share without having been met (R1)."""
    right = Founder.look

    def look(self: Founder, *arguments: Any) -> None:
        self._founded = True
        right(self, *arguments)

    patch(Founder, "look", look)


def inherited_at_once(patch: Patch) -> None:
    """The heir gives the rights of an expelled founder to anybody, while its tickets live (R3)."""

    def inherit(self: Founder, expelled: Any, now: float) -> None:
        if self._heir(expelled) == self.name:
            self._freed = tuple(name for name in self.founders if name in expelled)

    patch(Founder, "_inherit", inherit)


def free_again_with_its_seat(patch: Patch) -> None:
    """An inherited right that came back within the wait serves anybody (R3)."""
    right = Founder.give_back

    def give_back(self: Founder, key: str) -> None:
        pool = self._spent.get(key, "")
        right(self, key)
        if pool in self._waiting:
            del self._waiting[pool]
            self._freed = (*self._freed, pool)

    patch(Founder, "give_back", give_back)


def lower_total_at_once(patch: Patch) -> None:
    """Under a lowered total each founder spends its new share at once (R4)."""
    patch(Founder, "_unsettled", lambda *_: [])


def peak_not_kept(patch: Patch) -> None:
    """A founder that restarts has forgotten that a higher total was followed (R4)."""
    right = Founder.__init__

    def init(self: Founder, *arguments: Any, **named: Any) -> None:
        right(self, *arguments, **named)
        self._peak = 0

    patch(Founder, "__init__", init)


def everyone_inherits(patch: Patch) -> None:
    """Each founder takes the share of an expelled one, and not the first by name alone (R3)."""
    patch(Founder, "_heir", lambda self, expelled: self.name)


def silence_expels(patch: Patch) -> None:
    """A founder that is taken for dead is expelled without an operator's word (R3)."""
    right = Manager._member_changed

    def changed(self: Manager, change: Any, now: float) -> None:
        right(self, change, now)
        if change.after is State.DEAD and self.founders is not None:
            self.founders.expel(change.name, self.group.wall(now))

    patch(Manager, "_member_changed", changed)


def older_store_goes_on(patch: Patch) -> None:
    """A founder that is told of more than its disk has goes on spending by what that has (R5)."""
    patch(Home, "went_back", lambda *_: None)
    patch(Home, "bar", lambda *_: None)


def second_process_goes_on(patch: Patch) -> None:
    """Of two processes of one name both go on (R5)."""
    right = Manager._take

    def take(self: Manager, item: Any, now: float) -> None:
        if not (isinstance(item, NameConflict) and item.ours):
            right(self, item, now)

    patch(Manager, "_take", take)


def nobody_else_is_asked(patch: Patch) -> None:
    """Each founder gives its own rights away, and asks for nobody else's (S1)."""

    def order(self: Desk, left: Any) -> list[str]:
        me = self._group.name
        return [me] if left.get(me, 0) > 0 else []

    patch(Desk, "_order", order)


def same_ticket_again(patch: Patch) -> None:
    """A node that asks again gets a ticket whose life its home counts from the first time (S1)."""
    right = Home._hold

    def hold(self: Home, id_: str, seat: Any, until: float, **named: Any) -> bool:
        return right(self, id_, seat, self._until.get(id_, until), **named)

    patch(Home, "_hold", hold)


def shorter_ticket_shortens(patch: Patch) -> None:
    """A shorter ticket ends the longer one that the node may have (S1).

    Where all tickets of a node live alike that does no harm: here every other one lives for a moment.
    """
    right, gives = Home._hold, Home.gives

    def hold(self: Home, id_: str, seat: Any, until: float, **named: Any) -> bool:
        known = self._seats.get(id_)
        if known is not None and known.asked < seat.asked and (now := vars(self).get("_now")) is not None:
            until = min(until, now + seat.life * STRETCH)
        return right(self, id_, seat, until, **named)

    def asked(self: Home, id_: str, ask: Any, now: float) -> bool:
        vars(self)["_now"] = now
        if ask.ask % 2:
            ask = replace(ask, has_incarnation=0, has_ask=0)
        return gives(self, id_, ask, now)

    patch(homes, "FIRST_LIFE", 1.0)
    patch(Home, "_hold", hold)
    patch(Home, "gives", asked)


def life_from_receipt(patch: Patch) -> None:
    """A node counts its ticket's life from when it came (S2)."""
    right = Place._take_ticket

    def take(self: Place, ticket: str, life: Life, now: float) -> list[Any]:
        return right(self, ticket, Life.asked_at(self._clock(), life.seconds), now)

    patch(Place, "_take_ticket", take)


def clocks_are_equal(patch: Patch) -> None:
    """A home counts as if no clock were slower than its own (S2)."""
    patch(homes, "STRETCH", 1.0)


def lives_on_after_a_reboot(patch: Patch) -> None:
    """A node counts by a clock that began anew with its host (S2)."""

    def left(self: Life, clock: Any) -> float:
        return float(max(0.0, self.seconds - max(0.0, clock.running - self.running)))

    patch(Life, "left", left)


def restart_ends_lives(patch: Patch) -> None:
    """A home that restarts takes for over what it has not counted (S2)."""
    right = Home.recall

    def recall(self: Home, before: Any, now: float) -> None:
        right(self, before, now)
        for id_ in list(self._seats):
            self._until[id_] = now + 1.0

    patch(Home, "recall", recall)


def old_seat_ends_with_the_answer(patch: Patch) -> None:
    """The old home's seat is free when another founder gives, before the node has that on disk (S4)."""
    right = Desk._answer

    def answer(self: Desk, question: Any, home: str, seat: Any) -> Any:
        given = right(self, question, home, seat)
        if (ticket := given.ticket) is not None and ticket.replaces:
            asked, number = question.asked
            self._end(ticket.replaces, question.id, Ended(ticket.replaces_origin, asked, number, 0.0), 0.0)
        return given

    patch(Desk, "_answer", answer)


def took_over_whatever_the_number(patch: Patch) -> None:
    """A seat is free where its node once took another ticket, though it has come back since (S4)."""
    right = Home.ended

    def ended(self: Home, id_: str, note: Any, now: float) -> None:
        right(self, id_, replace(note, incarnation=2**62), now)

    patch(Home, "ended", ended)


def leave_frees_at_once(patch: Patch) -> None:
    """A seat is free when its node says that it leaves (S5)."""
    right = Home.ended

    def ended(self: Home, id_: str, note: Any, now: float) -> None:
        right(self, id_, replace(note, window=0.0), now)

    patch(Home, "ended", ended)


def down_frees(patch: Patch) -> None:
    """A seat is free when its node counts as down (S5)."""
    right = Manager._sweep

    def sweep(self: Manager, now: float) -> None:
        right(self, now)
        for id_ in list(self.home.seats) if self.home is not None else []:
            view = self.registry.view(id_)
            if view is not None and view.state in (NodeState.DOWN, NodeState.REMOVED):
                assert self.home is not None
                self.home._free(id_)

    patch(Manager, "_sweep", sweep)


def seats_end_never(patch: Patch) -> None:
    """A seat whose ticket is over stays taken: its right is lost (S5)."""
    right = Home._hold

    def hold(self: Home, id_: str, seat: Any, until: float, **named: Any) -> bool:
        return right(self, id_, seat, inf, **named)

    patch(Home, "_hold", hold)


def renewed_at_once_beyond_the_cap(patch: Patch) -> None:
    """Who is beyond a lowered cap is given another ticket whenever it has taken one (S7)."""
    right = Desk._is_old

    def is_old(self: Desk, question: Question) -> bool:
        return right(self, question) or self.is_over(question.id, question.ticket)

    patch(Desk, "_is_old", is_old)


def renewed_beyond_the_cap(patch: Patch) -> None:
    """Who is beyond a lowered cap is renewed even when its margin is over (S7)."""
    right = Home.gives

    def gives(self: Home, id_: str, ask: Any, now: float) -> bool:
        seat = self._seats.get(id_)
        if seat is not None:
            self._seats[id_] = replace(seat, over_since=0.0)
        return right(self, id_, ask, now)

    patch(Home, "gives", gives)
