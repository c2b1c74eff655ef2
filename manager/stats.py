"""What nodes reported, in a window of fixed steps, by the manager that received it.

Counters are cumulative per (id, nonce), so of several reports in a step the last one holds (rule I8), and
the window outlives the node: what it reported stays until the window has passed. A step of a node with the
agent's own counters takes no more than `STEP_BYTES` of memory.
"""

import struct
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from math import inf
from typing import NamedTuple

RECALLED_AT_ONCE = 4_000
"""Reports from before a restart that are taken over in one go: there may be millions."""
SERIES_MAX = 20_000
"""Nodes whose window is kept; the one that has been silent longest goes first."""
STEP_BYTES = 250
_UNTAKEN_STEPS = 3
"""After so many what was not taken never is: nothing is kept."""
_SHARED_MAX = 256
"""Sets of counter names that are held once for all nodes that report them."""

SUMMED = (
    "agent_cpu_seconds",
    "gateway_cpu_seconds",
    "gateway_errors",
    "gateway_requests",
    "gateway_restarts",
)
"""Counters that only grow, whose growth is summed over all nodes: no others, so that no node adds names."""


class Reported(NamedTuple):
    """What process `nonce` of `node` reported last in one step."""

    node: str
    nonce: int
    counters: dict[str, float]


class _Names:
    """What is the same in most reports: which counters there are."""

    __slots__ = ("names", "pack", "summed", "unpack")

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        packing = struct.Struct(f"{len(names)}d")
        self.pack, self.unpack = packing.pack, packing.unpack
        self.summed = tuple((names.index(name), name) for name in SUMMED if name in names)
        """Where those stand whose growth is summed."""


@dataclass(slots=True)
class _Step:
    """Packed: there are many."""

    at: float
    nonce: int
    names: _Names
    values: bytes

    @property
    def counters(self) -> dict[str, float]:
        return dict(zip(self.names.names, self.names.unpack(self.values), strict=True))


@dataclass(slots=True)
class _Series:
    steps: deque[_Step] = field(default_factory=deque)
    first: dict[str, float] | None = None
    """The first report since our start, while what was before may still be recalled."""


class StatsWindow:
    """`window` and `step` in seconds; times are seconds since 1970."""

    def __init__(self, window: float, step: float) -> None:
        self.window = window
        self.step = step
        self._series: OrderedDict[str, _Series] = OrderedDict()
        self._totals: dict[float, dict[str, float]] = {}
        self._shared: dict[tuple[str, ...], _Names] = {}
        self._untaken: dict[float, list[tuple[str, _Step]]] = {}
        """By their start: to look for them among all that are here takes long."""
        self._earlier: Iterator[tuple[float, Reported]] | None = None
        """What is still to be recalled, the newest first."""

    def add(self, node: str, nonce: int, counters: dict[str, float], at: float) -> None:
        """One report of `node`."""
        series = self._series.get(node)
        if series is None:
            series = self._series[node] = _Series()
        else:
            self._series.move_to_end(node)
        steps = series.steps
        if not steps and self._earlier is not None:
            series.first = counters
        start, names, values = at - at % self.step, self._names(counters), tuple(counters.values())
        if steps and steps[-1].nonce == nonce:
            last = steps[-1]
            self._sum_up(start, last, names, values)
            if last.at >= start:
                last.names, last.values = names, names.pack(*values)
                return
        step = _Step(start, nonce, names, names.pack(*values))
        steps.append(step)
        self._untaken.setdefault(start, []).append((node, step))
        while steps[0].at < at - self.window:
            steps.popleft()
        if len(self._series) > SERIES_MAX:
            self._series.popitem(last=False)

    def _names(self, counters: dict[str, float]) -> _Names:
        names = tuple(counters)
        known = self._shared.get(names)
        if known is None:
            known = _Names(names)
            if len(self._shared) < _SHARED_MAX:
                self._shared[names] = known
        return known

    def expire(self, at: float) -> None:
        """Forget the nodes whose last report is older than the window, and what nobody took."""
        for start in [start for start in self._untaken if start < at - _UNTAKEN_STEPS * self.step]:
            del self._untaken[start]
        while self._series:
            node, series = next(iter(self._series.items()))
            if series.steps[-1].at >= at - self.window:
                return
            del self._series[node]

    def _sum_up(self, start: float, before: _Step, names: _Names, now: tuple[float, ...]) -> None:
        """From what stood in `before` the counters of one process have grown to `now`."""
        total = self._totals.get(start)
        if total is None:
            total = self._totals[start] = {}
            for passed in [at for at in self._totals if at < start - self.window]:
                del self._totals[passed]
        if names is before.names:
            was = names.unpack(before.values)
        else:
            known = before.counters
            was = tuple(known.get(name, 0.0) for name in names.names)
        for at, name in names.summed:
            grown = now[at] - was[at]
            total[name] = total.get(name, 0.0) + (max(0.0, grown))

    def totals(self, at: float) -> dict[float, dict[str, float]]:
        """By the start of each step in the window: how much the counters of all nodes grew in it.

        From one report to the next at this manager: what a node did before its first one here, or while it
        moved, is in no step.
        """
        return {
            start: dict(total) for start, total in sorted(self._totals.items()) if start >= at - self.window
        }

    def take(self, before: float = inf) -> dict[float, list[Reported]]:
        """The steps that start before `before`, by their start, each once: those that go on are for later.

        In each the newest first, as `recall` wants them.
        """
        due = [start for start in self._untaken if start < before]
        return {
            start: [Reported(node, s.nonce, s.counters) for node, s in reversed(self._untaken.pop(start))]
            for start in due
        }

    def recall(self, steps: Mapping[float, list[Reported]], at: float) -> None:
        """Take over what stood in the window when we last ran: the last two steps now, the rest by and by."""
        starts = sorted((start for start in steps if at - self.window <= start <= at), reverse=True)
        for start in starts[:2]:
            for reported in steps[start]:
                self._recall(start, reported)
        # The one that goes on is to be taken with what it had before.
        going_on = at - at % self.step
        recalled = ((node, step) for node, series in self._series.items() for step in series.steps)
        self._untaken[going_on] = [(node, step) for node, step in recalled if step.at == going_on]
        self._earlier = ((start, reported) for start in starts[2:] for reported in steps[start])
        self.recall_more()

    def recall_more(self) -> None:
        """Go on with what `recall` began."""
        if self._earlier is None:
            return
        more = False
        for start, reported in islice(self._earlier, RECALLED_AT_ONCE):
            self._recall(start, reported)
            more = True
        if not more:
            self._earlier = None
            for series in self._series.values():
                series.first = None

    def _recall(self, start: float, reported: Reported) -> None:
        """A report that is older than all that are here of its node."""
        node, nonce, counters = reported
        series = self._series.get(node)
        if series is None:
            if len(self._series) >= SERIES_MAX:
                return
            series = self._series[node] = _Series()
            self._series.move_to_end(node, last=False)
        after, names = series.steps[0] if series.steps else None, self._names(counters)
        step = _Step(start, nonce, names, names.pack(*counters.values()))
        if after is not None and after.nonce == nonce:
            later = after.counters if series.first is None else series.first
            self._sum_up(after.at, step, self._names(later), tuple(later.values()))
        series.first = None
        if after is None or (after.at, after.nonce) != (start, nonce):
            series.steps.appendleft(step)

    def view(
        self,
        at: float,
        *,
        since: float = 0.0,
        until: float = inf,
        step: float | None = None,
        after: str = "",
        count: int | None = None,
        only: str | None = None,
    ) -> dict[str, list[dict[str, object]]]:
        """Per node its steps within the window, oldest first: `{"at", "nonce", "counters"}`.

        Of those from `since` to `until`, in steps of `step`; of the first `count` nodes by id after `after`,
        or of the node `only`.
        """
        since, wide = max(since, at - self.window), step or self.step
        if only is None:
            ids = sorted(id_ for id_ in self._series if id_ > after)[:count]
        else:
            ids = [only] if only in self._series else []
        found: dict[str, list[dict[str, object]]] = {}
        for id_ in ids:
            last: dict[tuple[float, int], _Step] = {}
            for one in self._series[id_].steps:
                if since <= one.at <= until:
                    last[one.at - one.at % wide, one.nonce] = one
            found[id_] = [
                {"at": start, "nonce": nonce, "counters": one.counters}
                for (start, nonce), one in last.items()
            ]
        return found
