"""What managers hand over to each other of a limit (rule Q6).

While one is out of reach nobody may add to its budget, but a manager may give a part of its own away. It
notes on its page how much it has given to whom since ever, in the entry in which it lowers its budget; the
other raises its own in the entry in which it notes how much it has taken. What is given and not taken yet
counts for the giver: so whoever reads the two pages, each as of another time, counts what both have or more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from manager.limits.sharing import added

GIFT_MIN = 0.005
"""Of the limit: less than that is not handed over."""


@dataclass(frozen=True, slots=True)
class Gift:
    """What was given to one manager since ever, the last of it to the process with this generation."""

    generation: int
    amount: float


@dataclass(frozen=True, slots=True)
class Handover:
    """A part of a holding."""

    divides: float = 0.0
    """What the owner can divide among its nodes that are connected."""
    given: Mapping[str, Gift] = field(default_factory=dict)
    taken: Mapping[str, float] = field(default_factory=dict)
    brought: Mapping[str, float] = field(default_factory=dict)
    """What nodes have brought along from other managers, which count it."""

    def pack(self) -> list[Any]:
        given = [[name, gift.generation, gift.amount] for name, gift in sorted(self.given.items())]
        return [self.divides, given, sorted(self.taken.items()), sorted(self.brought.items())]

    @classmethod
    def of(cls, value: Any) -> "Handover | None":
        """From what `pack` gave; None for anything else, as a manager of an earlier version has it."""
        match value:
            case [float(divides), list(given), list(taken), list(brought), *_]:
                pass
            case _:
                return None
        gifts = {}
        for each in given:
            match each:
                case [str(name), int(generation), float(amount), *_]:
                    gifts[name] = Gift(generation, amount)
                case _:
                    return None
        amounts = [_amounts(taken), _amounts(brought)]
        if amounts[0] is None or amounts[1] is None:
            return None
        return cls(divides, gifts, amounts[0], amounts[1])


def _amounts(value: list[Any]) -> dict[str, float] | None:
    found = {}
    for each in value:
        match each:
            case [str(name), float(amount), *_]:
                found[name] = amount
            case _:
                return None
    return found


def outstanding(giver: Handover | None, name: str, taker: Handover | None, to: str) -> float:
    """What `name` has given to `to`, who has not taken it yet."""
    gift = None if giver is None else giver.given.get(to)
    if gift is None:
        return 0.0
    return max(0.0, gift.amount - (0.0 if taker is None else taker.taken.get(name, 0.0)))


def parts(
    divides: Mapping[str, float], entitled: Mapping[str, float], kept: Mapping[str, float]
) -> dict[str, float]:
    """What each of these managers should have of what they can divide together.

    As they are entitled to it in the whole group, in which they would have more, or less; what they keep for
    rights that are left is not for others.
    """
    keep = {name: min(kept.get(name, 0.0), entitled.get(name, 0.0)) for name in divides}
    owed = {name: entitled.get(name, 0.0) - keep[name] for name in divides}
    left, wanted = max(0.0, added(divides.values()) - added(keep.values())), added(owed.values())
    part = left / wanted if wanted > 0 else 0.0
    return {name: owed[name] * part + keep[name] for name in sorted(divides)}


def gifts(
    me: str, most: float, total: float, has: Mapping[str, float], should: Mapping[str, float]
) -> dict[str, float]:
    """How much `me` gives to whom, at most `most` together, of what it has beyond what it should."""
    lack = {name: max(0.0, amount - has[name]) for name, amount in should.items() if name != me}
    beyond = added(max(0.0, has[name] - amount) for name, amount in should.items())
    mine, lacking = has[me] - should[me], added(lack.values())
    if lacking <= 0 or mine <= 0:
        return {}
    gives = min(most, mine * min(1.0, lacking / beyond))
    if gives < GIFT_MIN * total:
        return {}
    return {name: gives * each / lacking for name, each in sorted(lack.items()) if each > 0}
