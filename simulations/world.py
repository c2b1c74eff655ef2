"""Virtual time: one event queue, one seed, and a trace of all that happened.

Everything that a run does follows from the seed: each part draws from its own `Random`, named after it,
and events of one instant happen in the order in which they were planned.
"""

import heapq
from collections.abc import Callable
from hashlib import blake2b
from itertools import count
from math import inf
from random import Random

WALL_AT_START = 1_800_000_000.0
"""Seconds since 1970 when a run begins."""


class Deadline(AssertionError):
    """Something that must come true did not, within its time."""


class World:
    """The clock and the queue. Times are seconds since the run began."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.now = 0.0
        self.events = 0
        self.events_max = inf
        """More are a storm: `Deadline` is raised."""
        self._queue: list[tuple[float, int, Callable[[], object]]] = []
        self._serial = count()
        self._trace = blake2b(digest_size=16)

    def random(self, name: str) -> Random:
        """The source of chance of the part `name`: the same in each run of one seed."""
        return Random(f"{self.seed}/{name}")

    def at(self, time: float, action: Callable[[], object]) -> None:
        """Let `action` happen at `time`, or now where that is past."""
        heapq.heappush(self._queue, (max(time, self.now), next(self._serial), action))

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        self.at(self.now + seconds, action)

    def note(self, kind: str, *details: str | bytes) -> None:
        """Write what happens into the trace."""
        parts = [f"{self.now:.9f} {kind}".encode()]
        for detail in details:
            data = detail if isinstance(detail, bytes) else detail.encode("utf-8", "surrogateescape")
            parts += len(data).to_bytes(4), data
        self._trace.update(b"".join(parts))

    @property
    def trace(self) -> str:
        """A hash of everything that has happened: equal for equal runs."""
        return self._trace.copy().hexdigest()

    def run_for(self, seconds: float) -> None:
        """Let `seconds` pass."""
        end = self.now + seconds
        self._until(end)
        self.now = end

    def run_until(self, condition: Callable[[], bool], within: float, what: str) -> float:
        """Let time pass until `condition` holds and give the seconds that took; raises `Deadline`."""
        start, end = self.now, self.now + within
        while not condition():
            if not self._queue or self._queue[0][0] > end:
                raise Deadline(f"within {within} s: {what} (seed {self.seed})")
            checked = self.now + 0.01
            self._until(checked)
            self.now = max(self.now, min(checked, end))
        return self.now - start

    def _until(self, end: float) -> None:
        queue, pop = self._queue, heapq.heappop
        while queue and queue[0][0] <= end:
            self.now, _, action = pop(queue)
            self.events += 1
            if self.events > self.events_max:
                raise Deadline(f"a storm: {self.events} events by {self.now:.3f} s (seed {self.seed})")
            action()
