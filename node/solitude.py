"""How long a node has heard no manager, and when it gives up its place in the cluster for that."""

from math import inf

from node.life import Clock

WARNED_BEFORE = (86400.0, 3600.0)
"""Seconds before the end at which it is logged again that no manager is heard; first at half of the time."""


class Solitude:
    """Call `heard` with each word of a manager, and `look` when `next_change` says so, or earlier."""

    def __init__(self, now: float, clock: Clock, silent: float) -> None:
        """No manager has been heard for `silent` seconds, over restarts of the agent and of the host."""
        self.over = False
        """Whether it has lasted for too long."""
        self._since = now - silent
        self._running_since = clock.running - silent
        self._told = 0

    def heard(self, now: float, clock: Clock) -> None:
        """A manager has said something."""
        self.over = False
        self._since, self._running_since, self._told = now, clock.running, 0

    def left(self, now: float, clock: Clock, after: float) -> float:
        """Seconds until it has lasted for `after`; infinite where that is 0: then it may last for ever."""
        return max(0.0, after - self._lasts(now, clock)) if after else inf

    def look(self, now: float, clock: Clock, after: float) -> bool:
        """Whether there is something to say: that it goes on, or, where it is `over`, too long."""
        steps = _steps(after)
        told, lasts = self._told, self._lasts(now, clock)
        while self._told < len(steps) and steps[self._told] <= lasts:
            self._told += 1
        self.over = bool(steps) and self._told == len(steps)
        return self._told > told

    def next_change(self, after: float) -> float:
        """When `look` has something to say, if the host is not suspended meanwhile; infinite for never."""
        steps = _steps(after)
        return self._since + steps[self._told] if self._told < len(steps) else inf

    def _lasts(self, now: float, clock: Clock) -> float:
        # The loop's clock stands still while the host is suspended.
        return max(now - self._since, clock.running - self._running_since)


def _steps(after: float) -> list[float]:
    if not after:
        return []
    return sorted({after / 2, after, *(after - before for before in WARNED_BEFORE if before < after / 2)})
