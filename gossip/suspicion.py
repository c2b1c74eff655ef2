"""How long a suspect may take to answer (Lifeguard, Dadgar et al. 2017, § IV-B)."""

import math
from dataclasses import dataclass, field

from gossip.messages import Incarnation, NodeName


def suspicion_bounds(members: int, mult: int, max_mult: int, interval: float) -> tuple[float, float]:
    """Shortest and longest suspicion in seconds, in a group of `members`."""
    scale = max(1.0, math.floor(math.log10(max(1, members)) * 1000) / 1000)
    shortest = mult * scale * interval
    return shortest, max_mult * shortest


def confirmations_wanted(confirmers: int, most: int) -> int:
    """How many independent confirmations bring a suspicion to its end.

    `confirmers` are the live members that could give one. memberlist asks for none in groups below four
    (K = mult - 2 = 2, and 0 where n - 2 < K), which switches its main defence against false alarms off; here
    only where nobody could confirm.
    """
    return max(0, min(most, confirmers))


def suspicion_seconds(confirmations: int, wanted: int, shortest: float, longest: float) -> float:
    """The time-out, from the suspicion's start, after so many confirmations."""
    if confirmations >= wanted:
        return shortest
    seconds = longest - (longest - shortest) * math.log(confirmations + 1) / math.log(wanted + 1)
    return max(shortest, math.floor(seconds * 1000) / 1000)


@dataclass(slots=True)
class Suspicion:
    """One running suspicion; `accusers` are distinct, the first of them does not confirm."""

    incarnation: Incarnation
    started: float
    most: int
    """More accusers than this and one are not worth telling."""
    confirmed: float
    """Seconds it lasts with all confirmations."""
    shortest: float
    """Seconds where there is nobody who could confirm."""
    longest: float
    """Seconds while nobody has."""
    accusers: set[NodeName] = field(default_factory=set)

    def confirm(self, accuser: NodeName) -> bool:
        """Count `accuser`; true where that was news worth telling."""
        if accuser in self.accusers or len(self.accusers) > self.most:
            return False
        self.accusers.add(accuser)
        return True

    def deadline(self, wanted: int) -> float:
        """When it is over, with `wanted` confirmations to be had."""
        shortest = self.confirmed if wanted else self.shortest
        return self.started + suspicion_seconds(len(self.accusers) - 1, wanted, shortest, self.longest)
