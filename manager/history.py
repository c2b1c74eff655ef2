"""How many nodes there were in which state: a sample for each step in the window of the statistics."""

from collections import Counter, deque
from dataclasses import dataclass
from math import ceil

from manager.registry import Registry


@dataclass(frozen=True, slots=True)
class Sample:
    """`at` in seconds since 1970; `cap` is None without one; `states` counts nodes by state."""

    at: float
    used: int
    cap: int | None
    over_limit: int
    states: dict[str, int]


class History:
    """`window` and `step` in seconds."""

    def __init__(self, window: float, step: float) -> None:
        self.step = step
        self._samples: deque[Sample] = deque(maxlen=ceil(window / step))

    def sample(self, at: float, registry: Registry, cap: int | None) -> None:
        """Take one where the step of the last is over; also where the clock was set back by more."""
        if self._samples and abs(at - self._samples[-1].at) < self.step:
            return
        states = Counter(view.state.value for view in registry.unordered())
        self._samples.append(Sample(at, registry.used, cap, registry.over, dict(states)))

    def samples(self) -> list[Sample]:
        """In the order in which they were taken."""
        return list(self._samples)
