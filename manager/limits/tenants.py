"""What the nodes of this manager may have in force of each limit, and until when (rule Q2).

A share counts from before it is sent until the node has confirmed a smaller one, or its lease and
`reuse_last` are over; then no more than what is safe counts, until the node is known to be gone.
"""

from dataclasses import dataclass, field

from manager.limits.sharing import rate
from node.protocol import Lease, Leases, Limits

CLOCK_RATE = 1.01
"""Two clocks differ by no more than that."""


_USUAL = Lease()


@dataclass(frozen=True, slots=True)
class _Told:
    version: int
    limits: Limits
    leases: Leases


@dataclass(slots=True)
class Tenant:
    """One node. `renewed`: when its last report came here, which left earlier."""

    renewed: float
    since: float
    connected: bool = True
    told: list[_Told] = field(default_factory=list)
    """What it works under, as far as we know, and what it was told since."""
    origin: str = ""
    brought: dict[str, float] = field(default_factory=dict)
    """What it brought along of each limit in a split, which counts for `origin`."""
    awaited: dict[str, float] = field(default_factory=dict)
    """Until when it waits for its share of a limit that was set after it was last told."""

    def tell(self, version: int, limits: Limits, leases: Leases) -> None:
        """It is about to be told."""
        self.told.append(_Told(version, limits, leases))

    def works_under(self, version: int) -> bool:
        """It has confirmed `version`; whether that changes anything."""
        if self.told and self.told[0].version >= version:
            return False  # as nearly every report says
        later = [told for told in self.told if told.version >= version]
        if not any(told.version == version for told in later) or len(later) == len(self.told):
            return False
        self.told = later
        return True

    def held(self, name: str, now: float, *, reserved: bool = False) -> float:
        """The most that it may let through of the limit, per second; `reserved`: no lease ends."""
        most = 0.0
        for told in self.told:
            if (limit := told.limits.get(name)) is not None:
                safe = told.leases.get(name, _USUAL).safe
                whole = reserved or safe is None or not self.over(name, now)
                most = max(most, rate(limit) if whole or safe is None else min(rate(limit), rate(safe)))
        return most

    def over(self, name: str, now: float) -> bool:
        """Whether the lease of the limit and its `reuse_last` are over."""
        return now >= self.renewed + self.lasts(name)

    def any_over(self, now: float) -> bool:
        return any(self.over(name, now) for told in self.told for name in told.limits)

    def all_over(self, now: float) -> bool:
        return all(self.over(name, now) for told in self.told for name in told.limits)

    def has_lapsed(self, now: float) -> bool:
        """Whether it was told of a limit, and the leases of all are over; asked for every report."""
        lapsed = False
        for told in self.told:
            for name in told.limits:
                if now < self.renewed + CLOCK_RATE * told.leases.get(name, _USUAL).lasts:
                    return False
                lapsed = True
        return lapsed

    def lasts(self, name: str) -> float:
        leases = [told.leases.get(name, _USUAL) for told in self.told if name in told.limits]
        return CLOCK_RATE * max((lease.lasts for lease in leases), default=0.0)

    @property
    def last_told(self) -> _Told | None:
        return self.told[-1] if self.told else None
