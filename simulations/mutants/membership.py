"""Bugs of gossip that others shipped (the report beside each), put back one at a time."""

from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Any

from gossip import claims, group
from gossip.broadcasts import Broadcasts
from gossip.claims import Claims
from gossip.conflicts import Conflicts
from gossip.effects import NameConflict
from gossip.exchanges import Exchanges
from gossip.hearing import Hearing
from gossip.members import Member, Members
from gossip.messages import Address, Alive, Dead, PushPull, State, Suspect
from gossip.probe import Prober
from gossip.rejoin import Rejoin
from gossip.serf import LamportClock, Serf
from gossip.swim import Swim
from simulations.mutants.patch import Patch


def table_about_ourselves_ignored(patch: Patch) -> None:
    """Who restarts under a clock set back never learns that it is held for dead (memberlist#311)."""
    right = Exchanges._merge

    def merge(self: Exchanges, other: PushPull, *rest: Any, **how: Any) -> list[Any]:
        others = tuple(entry for entry in other.members if entry.name != self._me.name)
        return right(self, replace(other, members=others), *rest, **how)

    patch(Exchanges, "_merge", merge)


def refuted_by_one(patch: Patch) -> None:
    """A refutation goes one above our own incarnation, not above the accused one (memberlist a6d9aeb)."""
    right = Claims._refute

    def refute(self: Claims, _: int, *rest: Any, **how: Any) -> list[Any]:
        return right(self, self._members.me.incarnation, *rest, **how)

    patch(Claims, "_refute", refute)


def helpers_missed(patch: Patch) -> None:
    """Helpers are drawn by random offsets, and whoever is drawn twice is missed (memberlist#350)."""

    def sample(self: Members, count: int, candidates: list[Member]) -> list[Member]:
        drawn = [self._random.choice(candidates) for _ in range(count)] if candidates else []
        return list({member.name: member for member in drawn}.values())

    patch(Members, "sample", sample)


def unreached_is_not_suspected(patch: Patch) -> None:
    """Where nobody could be asked to help, the failure path is left too early (memberlist#242)."""
    right = Prober._verdict

    def verdict(self: Prober, probe: Any) -> Member | None:
        silent = right(self, probe)
        return silent if probe.helped else None

    patch(Prober, "_verdict", verdict)


def probes_without_order(patch: Patch) -> None:
    """Whom to probe is drawn anew each time, not in turn (memberlist 4558696)."""

    def draw(self: Members) -> Member | None:
        present = self.present()
        return self._random.choice(present) if present else None

    patch(Members, "next_to_probe", draw)


def stale_alive_ends_suspicion(patch: Patch) -> None:
    """An old sign of life stops the clock of a suspicion (memberlist b63166c)."""
    right = Claims.alive

    def alive(self: Claims, claim: Alive, *rest: Any, **how: Any) -> list[Any]:
        member = self._members.get(claim.node)
        if member is not None and member is not self._members.me:
            member.suspicion = None
            self._members.suspects.pop(member.name, None)
        return right(self, claim, *rest, **how)

    patch(Claims, "alive", alive)


def new_metadata_ignored(patch: Patch) -> None:
    """A start with other metadata under the same incarnation goes unnoticed (memberlist 2595b7e)."""
    right = Claims._alive_about_us

    def about_us(self: Claims, claim: Alive, *rest: Any, **how: Any) -> list[Any]:
        if claim.incarnation == self._members.me.incarnation and claim.address == self._members.me.address:
            return []
        return right(self, claim, *rest, **how)

    patch(Claims, "_alive_about_us", about_us)


def joins_once(patch: Patch) -> None:
    """Peers are tried until they answer once, and the lost never: the halves stay apart (memberlist#222)."""
    right = Rejoin.due_peers

    def deadline(self: Rejoin, any_lost: bool) -> float:
        return inf if self.all_tried else usual(self, False)

    def due(self: Rejoin, now: float, is_there: Callable[[Address], bool]) -> list[str]:
        return [] if self.all_tried else right(self, now, is_there)

    usual = Rejoin.next_deadline
    patch(Rejoin, "next_deadline", deadline)
    patch(Rejoin, "due_peers", due)
    patch(Rejoin, "due_lost", lambda *_: None)


def failed_peer_is_given_up(patch: Patch) -> None:
    """A peer that was down when it was first tried is never tried again (scylladb#3301)."""
    right = Rejoin._over

    def over(self: Rejoin, peer: str, state: Any, *, ok: bool, why: str, now: float) -> None:
        right(self, peer, state, ok=ok, why=why, now=now)
        if not ok:
            state.next_at = inf

    patch(Rejoin, "_over", over)


def intents_told_for_ever(patch: Patch) -> None:
    """Intents that are known are passed on again (serf#606)."""

    def is_news(self: LamportClock, intent: Any) -> bool:
        self.witness(intent.ltime)
        self.status[intent.node] = intent.ltime
        return True

    patch(LamportClock, "is_news", is_news)


def leaves_without_a_word(patch: Patch) -> None:
    """Who leaves is gone before anybody has heard of it (serf#510)."""
    patch(Swim, "depart", lambda *_: [])
    patch(Serf, "_left_in_state", lambda *_: [])


def leave_waits_for_all(patch: Patch) -> None:
    """A leave is over only when nobody is left to be told (serf#638)."""
    right = group.Group._tick_leave

    def tick(self: group.Group, now: float) -> list[Any]:
        if self._departs_at <= now and self.swim.members.present():
            self._departs_at = now + 1.0
        return right(self, now)

    patch(group.Group, "_tick_leave", tick)


def strangers_let_in(patch: Patch) -> None:
    """A member of another group is taken for one of ours (consul#260)."""
    right = Swim.__init__

    def start(self: Swim, **parts: Any) -> None:
        right(self, **{**parts, "group_of": lambda _: None})

    patch(Swim, "__init__", start)


def dead_name_keeps_its_address(patch: Patch) -> None:
    """A member replaced by one at another address stays out for as long as its name is known (consul#733)."""
    patch(claims, "takes_new_address", lambda *_: False)


def late_echo_from_elsewhere(patch: Patch) -> None:
    """Who is gone returns at another address, whatever its incarnation (partisan#191)."""
    patch(claims, "takes_new_address", lambda known, _: not known.present)


def stale_alive_revives(patch: Patch) -> None:
    """A dead member is alive again by an old claim (atomix#962)."""
    right = Claims.alive

    def alive(self: Claims, claim: Alive, *rest: Any, **how: Any) -> list[Any]:
        member = self._members.get(claim.node)
        if member is not None and not member.present and claim.incarnation <= member.incarnation:
            member.incarnation = claim.incarnation - 1
        return right(self, claim, *rest, **how)

    patch(Claims, "alive", alive)


def busy_blames_others(patch: Patch) -> None:
    """A member whose own loop was late accuses those that it did not listen to (consul#916)."""
    patch(Swim, "_excuse", lambda *_: None)


def old_news_is_told_on(patch: Patch) -> None:
    """A claim that is known is told on again, without end (consul#5928)."""
    right = Claims.alive

    def alive(self: Claims, claim: Alive, *rest: Any, **how: Any) -> list[Any]:
        member = self._members.get(claim.node)
        if member is not None and member is not self._members.me and member.incarnation == claim.incarnation:
            self._teller.tell(claim)
        return right(self, claim, *rest, **how)

    patch(Claims, "alive", alive)


def conflict_of_others_is_fatal(patch: Patch) -> None:
    """A conflict about any name ends the member that sees it (ckit#17)."""
    right = Conflicts.second_address

    def conflict(self: Conflicts, claim: Alive, now: float) -> list[Any]:
        output = right(self, claim, now)
        return [replace(o, ours=True) if isinstance(o, NameConflict) else o for o in output]

    patch(Conflicts, "second_address", conflict)


def suspects_without_asking(patch: Patch) -> None:
    """A suspicion is spread before anybody else was asked (daos#10378)."""

    def ask(_: Prober, probe: Any) -> list[Any]:
        probe.asks_others_at = inf
        return []

    patch(Prober, "_ask_others", ask)


def suspect_about_a_gone_member(patch: Patch) -> None:
    """A suspicion brings back whom it is about, though it was gone (atomix#1062)."""
    right = Claims.suspect

    def suspect(self: Claims, claim: Suspect, now: float, **how: Any) -> list[Any]:
        member = self._members.get(claim.node)
        if member is not None and not member.present and claim.incarnation >= member.incarnation:
            self._members.change(member, State.ALIVE, now)
        return right(self, claim, now, **how)

    patch(Claims, "suspect", suspect)


def own_death_is_believed(patch: Patch) -> None:
    """All see it down, and it does not object (scylladb#2419)."""
    right = Claims.dead

    def dead(self: Claims, claim: Dead, *rest: Any, **how: Any) -> list[Any]:
        return [] if claim.node == self._me.name else right(self, claim, *rest, **how)

    patch(Claims, "dead", dead)
    patch(Claims, "_accused", lambda *_, **__: [])


def aside_for_ever(patch: Patch) -> None:
    """Who stood aside since little was heard of it never finds out that it is heard again."""
    patch(Hearing, "heard_again", lambda *_: False)


def equal_accusation_is_old(patch: Patch) -> None:
    """An accusation at the known incarnation does not count (ringpop-node#15)."""
    right = Claims.suspect

    def suspect(self: Claims, claim: Suspect, *rest: Any, **how: Any) -> list[Any]:
        member = self._members.get(claim.node)
        if member is not None and claim.node != self._me.name and claim.incarnation <= member.incarnation:
            return []
        return right(self, claim, *rest, **how)

    patch(Claims, "suspect", suspect)


def answer_to_an_exchange_ignored(patch: Patch) -> None:
    """Whole tables are read in one direction only (ringpop-go#134)."""
    right = Swim.stream_answered

    def answered(self: Swim, token: int, answer: Any, *rest: Any) -> list[Any]:
        if isinstance(answer, PushPull):
            answer = replace(answer, members=())
        return right(self, token, answer, *rest)

    patch(Swim, "stream_answered", answered)


def first_news_first(patch: Patch) -> None:
    """What was queued first is told first, and the rest starves (tarantool#4253)."""
    right = Broadcasts.take

    def take(self: Broadcasts, room: int, overhead: int, limit: int, parts: int, **how: Any) -> list[Any]:
        return right(self, room, overhead, limit * 1000, 1, **how)

    patch(Broadcasts, "take", take)
