"""One limit's budgets: how much of it the nodes of each manager may have in force together (rules Q2-Q4).

Each manager publishes its own, at `held/<limit>` on its page, and is its only writer. It lowers it at will;
what it adds it uses only when the managers it has to ask have answered for that version of its page, and
the budgets that it then knows are within the limit. Of two that add at once at least one sees the other
(as rule A1), so the sum of what is used never exceeds the limit while they are connected.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from manager.limits.handover import Gift, Handover
from manager.limits.sharing import added
from manager.packing import pack, unpack

HELD = "held/"
"""Before the name of the limit: the key of a holding."""
EPSILON = 1e-9
"""Relative error of adding and dividing rates: less is no difference."""
TRIFLE = 1e-6
"""A smaller part of an entitlement, or of a limit, is not worth an addition."""
RETRY_SECONDS = 0.05
"""After an addition that met another one: times the place of our name among those of the managers."""
WORTH = 1e-3
"""Of the limit: less is added only where it is all that we lack."""
SHORT_SECONDS = 3.0
"""How long a budget may be below its entitlement before it is divided as it is."""


@dataclass(frozen=True, slots=True)
class Holding:
    """A budget as it stands on a page, per second, with the largest share in it and what its nodes want.

    `wishes`: (weight, demand) of nodes that are alike, for `fair_share` alone.
    """

    amount: float
    largest: float = 0.0
    wishes: tuple[tuple[float, float], ...] = ()
    handover: Handover | None = None
    """For limits that conserve."""

    def pack(self) -> bytes:
        more = [] if self.handover is None else [self.handover.pack()]
        return pack([self.amount, self.largest, self.wishes, *more])

    @classmethod
    def read(cls, value: bytes | None) -> "Holding | None":
        """What stands on a page; None where that is nothing, or none."""
        return None if value is None else _read(value)

    @classmethod
    def unpack(cls, value: bytes) -> "Holding":
        """Raises `ValueError` for anything else than a packed holding."""
        match unpack(value):
            case [float(amount), float(largest), list(wishes), *more] if amount >= 0 and largest >= 0:
                handover = Handover.of(more[0]) if more else None
                return cls(amount, largest, tuple(_wish(wish) for wish in wishes), handover)
            case _:
                raise ValueError("not a holding")


@lru_cache(maxsize=1024)
def _read(value: bytes) -> Holding | None:
    # Every working-out reads what stands on every page, and seldom has it changed.
    try:
        return Holding.unpack(value)
    except ValueError:
        return None


def _wish(value: Any) -> tuple[float, float]:
    match value:
        case [float(weight), float(demand), *_] if weight > 0 and demand >= 0:
            return weight, demand
        case _:
            raise ValueError("not a wish")


@dataclass(slots=True)
class Budget:
    """Our own. `published` stands on our page, `usable` of it may be given to nodes."""

    published: float = 0.0
    usable: float = 0.0
    added_at: float | None = None
    """When the addition that is not usable yet was written."""
    version: int = 0
    """… and the version of our page with it."""
    retry_at: float = 0.0
    short_since: float | None = None
    reserve: float = 0.0
    """What our nodes from before our start may still have in force."""
    reserve_each: float = 0.0
    """… and at most one of them."""
    others: Mapping[str, float] = field(default_factory=dict)
    given: dict[str, Gift] = field(default_factory=dict)
    taken: dict[str, float] = field(default_factory=dict)
    brought: dict[str, float] = field(default_factory=dict)
    """What nodes have in force that counts for the managers from which they came; not in `published`."""
    owed: float = 0.0
    """Of what was brought, what does not count for anybody whom we do not reach."""
    untaken: float = 0.0
    """What was given and not taken yet."""
    divides: float = 0.0

    @property
    def not_ours(self) -> float:
        """What counts for others, or will."""
        return added(self.others.values()) + self.untaken + self.owed

    def room(self, total: float) -> float:
        """What may be in force at our nodes: what went elsewhere with a node is not ours."""
        return min(self.usable, total - self.not_ours)

    @property
    def pending(self) -> bool:
        return self.added_at is not None

    def settle(self, held: float, entitled: float, now: float, *, keeps: bool = False) -> None:
        """Cover what our nodes have in force, however they came by it; give back what is not ours.

        `keeps`: nothing is given back, since nobody could take it.
        """
        floor = max(held, self.reserve)
        # What was taken over with a node is in force already, whatever others think.
        self.published = max(self.published, floor)
        self.usable = max(self.usable, min(held, self.published))
        if not self.pending:
            # What was held in reserve for nodes that did not come back.
            self.published = max(floor, min(self.published, self.usable))
        if not keeps and self.published > max(entitled, floor):
            self.published = max(entitled, floor)
            self.usable = min(self.usable, self.published)
        if self.published <= self.usable * (1 + EPSILON):
            self.added_at = None
        short = self.usable < entitled * (1 - TRIFLE)
        self.short_since = (now if self.short_since is None else self.short_since) if short else None

    def heard(self, total: float, turn: int, now: float) -> None:
        """Those who had to be asked have answered: use what was added, or take it back."""
        self.added_at = None
        if self.published + self.not_ours <= total * (1 + EPSILON) + EPSILON:
            self.usable = self.published
        else:
            self.withdraw(turn, now)

    def withdraw(self, turn: int, now: float) -> None:
        """Take back what was added; `turn` is the place of our name among those of the managers."""
        self.published, self.added_at = max(self.usable, self.reserve), None
        self.retry_at = now + RETRY_SECONDS * (1 + turn)

    def add(self, total: float, entitled: float, lacking: float, now: float) -> bool:
        """Add our part of what nobody has, `lacking` being what all managers lack; false for nothing."""
        rest = total - self.published - self.not_ours
        short = entitled - self.published
        if self.pending or now < self.retry_at or short <= entitled * TRIFLE or rest <= total * TRIFLE:
            return False
        part = rest * short / max(short, lacking)
        if part < short and part < total * WORTH:
            # Others lack what they do not take, since their clock is another: we would go on for ever.
            return False
        self.published += min(short, part)
        self.added_at = now
        return True

    def recall(self, holding: Holding) -> None:
        """What stood on our page when we ended."""
        self.reserve, self.reserve_each = max(self.reserve, holding.amount), holding.largest
        if holding.handover is not None:
            for name, gift in holding.handover.given.items():
                self.given[name] = max(gift, self.given.get(name, gift), key=lambda each: each.amount)
            for name, amount in holding.handover.taken.items():
                self.taken[name] = max(amount, self.taken.get(name, 0.0))

    def take(self, giver: str, gift: Gift, generation: int) -> float:
        """What of a gift is new, and of use: an earlier process of ours may have used one that was for it."""
        new = gift.amount - self.taken.get(giver, 0.0)
        if new <= 0:
            return 0.0
        self.taken[giver] = gift.amount
        if gift.generation != generation:
            return 0.0
        self.published += new
        self.usable += new
        self.reserve += new if self.reserve else 0.0
        return new

    def give(self, to: str, generation: int, amount: float) -> None:
        """Hand over a part that is in no use: it is theirs from now on."""
        before = self.given[to].amount if to in self.given else 0.0
        self.given[to] = Gift(generation, before + amount)
        self.published -= amount
        # First of what is held in reserve for nodes that have not come back: this one is elsewhere.
        self.usable -= max(0.0, amount - max(0.0, self.reserve - self.usable))
        self.untaken += amount
        self.reserve = max(0.0, self.reserve - amount)

    def is_short(self, now: float) -> bool:
        """Whether it cannot be what it should, and this has lasted."""
        return self.short_since is not None and now - self.short_since >= SHORT_SECONDS
