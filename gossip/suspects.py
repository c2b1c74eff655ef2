"""Who is suspected here, until when: Lifeguard's suspicions, counted by the first that ends."""

from math import inf

from gossip.comebacks import Comebacks
from gossip.config import GossipConfig
from gossip.effects import Output, Send
from gossip.members import Member, Members
from gossip.messages import Incarnation, NodeName, State, Suspect
from gossip.suspicion import Suspicion, confirmations_wanted, suspicion_bounds

_REMINDED = 3
"""Suspects that are told so in each interval."""


class Suspects:
    """When to give up which suspect. What every packet asks does not cost more with their number."""

    def __init__(self, members: Members, config: GossipConfig) -> None:
        self._members = members
        self._config = config
        self._comebacks = Comebacks(config)
        self._first_end = inf
        """No suspicion ends before; by how many could confirm, which `_confirmers` was then."""
        self._confirmers = 0
        self._reminded = 0
        self._remind_at = -inf

    def begin(self, member: Member, incarnation: Incarnation, accuser: NodeName, now: float) -> None:
        """`member`, which was alive, is suspected from now on."""
        config, members = self._config, self._members.size
        shortest, longest = suspicion_bounds(
            members, config.suspicion_mult, config.suspicion_max_mult, config.probe_interval
        )
        confirmed = config.suspicion_confirmed * shortest
        if self._comebacks.lately(member.name, now):
            confirmed = shortest = longest
        suspicion = Suspicion(
            incarnation=incarnation,
            started=now,
            most=config.suspicion_confirmations,
            confirmed=confirmed,
            shortest=shortest,
            longest=longest,
            accusers={accuser},
        )
        self._members.change(member, State.SUSPECT, now, suspicion)
        self._first_end = min(self._first_end, self._end(member))

    def confirm(self, member: Member, accuser: NodeName) -> bool:
        """Another accuses `member`, which is suspected; true where that is worth telling."""
        assert member.suspicion is not None
        if not member.suspicion.confirm(accuser):
            return False
        self._first_end = min(self._first_end, self._end(member))
        return True

    def answered(self, member: Member, now: float) -> None:
        """`member`, suspected or given up, says that it is there, and is the process that it was."""
        suspicion, config = member.suspicion, self._config
        if suspicion is None:
            given_up = member.state is State.DEAD
        else:
            usual = config.suspicion_confirmed * suspicion.longest / config.suspicion_max_mult
            given_up = suspicion.confirmed == suspicion.longest and now - suspicion.started >= usual
        if given_up:
            self._comebacks.note(member.name, now)

    def excuse(self, late: float, now: float) -> None:
        """We were called `late` seconds late, in which no refutation could reach us."""
        for member in self._members.suspects.values():
            assert member.suspicion is not None
            member.suspicion.started = min(now, member.suspicion.started + late)
        self._find_first_end()

    def next_deadline(self) -> float:
        """When one of them may have to be given up, or told again that it is accused."""
        return min(self._end_of_first(), self._remind_at if self._members.suspects else inf)

    def remind(self, now: float) -> list[Output]:
        """Tell some, in turn, what they are accused of: we may not have heard how they refuted it."""
        suspects = list(self._members.suspects.values()) if self._remind_at <= now else []
        if not suspects:
            return []
        self._remind_at = now + self._config.probe_interval
        self._reminded += _REMINDED
        start = self._reminded % len(suspects)
        some = (suspects[start:] + suspects[:start])[:_REMINDED]
        return [Send(m.address, (Suspect(m.name, m.incarnation, self._members.me.name),)) for m in some]

    def _end_of_first(self) -> float:
        if self._confirmers_now() != self._confirmers:
            self._find_first_end()
        return self._first_end

    def over(self, now: float) -> list[Member]:
        """Those who have not answered in time, and are to be declared dead."""
        if now < self._end_of_first():
            return []
        ends = [(self._end(member), member) for member in self._members.suspects.values()]
        self._first_end = min((end for end, _ in ends if end > now), default=inf)
        return [member for end, member in ends if end <= now]

    def _confirmers_now(self) -> int:
        """How many confirmations a suspicion can get and waits for."""
        return confirmations_wanted(self._members.alive, self._config.suspicion_confirmations)

    def _end(self, member: Member) -> float:
        """When `member` is given up: the sooner the more confirm it, and soonest where nobody could."""
        assert member.suspicion is not None
        return member.suspicion.deadline(self._confirmers_now())

    def _find_first_end(self) -> None:
        self._confirmers = self._confirmers_now()
        self._first_end = min(map(self._end, self._members.suspects.values()), default=inf)
