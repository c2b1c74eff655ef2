"""What gateways answered, by node, endpoint and backend, in a window of steps, by the manager that was told.

Reports are cumulative, so what is kept is the growth from one to the next in a session. A finished step is
packed, and names are bounded: what comes beyond the bound counts as `other`.

Kept over a restart in the same form. In memory, held to by the tests: `STEP_BYTES` for each endpoint,
backend, node, and pair of node and backend in each step in which it had traffic, and `TOLD_BYTES` for each
row that a connected node tells.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Literal, TypeAlias

from manager.packing import pack, unpack
from node.protocol import OTHER, Served

By: TypeAlias = Literal["all", "endpoint", "backend", "node", "node_backend"]
BYS: tuple[By, ...] = ("all", "endpoint", "backend", "node", "node_backend")

STEPS = 60
"""In a window, at most."""
PAIR_STEPS = 10
"""How many of them keep which node used which backend."""
NAMES_MAX: dict[By, int] = {
    "all": 1,
    "endpoint": 256,
    "backend": 256,
    "node": 20_000,
    "node_backend": 20_000,
}
STEP_BYTES = 500
TOLD_BYTES = 500
_COUNT_MAX = 2**63


@dataclass(slots=True)
class Sum:
    """Requests, how many of them failed, and how long those took that were timed."""

    requests: int = 0
    errors: int = 0
    seconds: float = 0.0
    buckets: dict[int, int] = field(default_factory=dict)

    def add(self, other: "Sum") -> None:
        self.requests += other.requests
        self.errors += other.errors
        self.seconds += other.seconds
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count


@dataclass(slots=True)
class Cell:
    """One name's figures."""

    whole: Sum = field(default_factory=Sum)
    """Since it was first seen here."""
    at: float = -inf
    now: Sum = field(default_factory=Sum)
    """In the step that begins at `at`."""
    past: deque[tuple[float, bytes]] = field(default_factory=deque)

    def add(self, grown: Sum, at: float) -> None:
        if at > self.at:
            if self.now.requests:
                self.recall(self.at, _packed(self.now))
            self.at, self.now = at, Sum()
        self.now.add(grown)
        self.whole.add(grown)

    def recall(self, at: float, packed: bytes) -> None:
        """What was counted in the step that began at `at`, none later than which is here.

        Not in `whole`: who reads that takes a restart for the begin of a new count.
        """
        if self.past and self.past[-1][0] == at:
            both = _unpacked(self.past.pop()[1])
            both.add(_unpacked(packed))
            packed = _packed(both)
        self.past.append((at, packed))
        self.at = max(self.at, at)

    def steps(self) -> Iterator[tuple[float, Sum]]:
        """Oldest first; one that a restart cut in two comes in two parts."""
        for at, packed in self.past:
            yield at, _unpacked(packed)
        yield self.at, self.now

    def kept(self, since: float) -> Iterator[tuple[float, bytes]]:
        """The same of those that began at `since` or later, packed, newest first."""
        if self.at >= since and self.now.requests:
            yield self.at, _packed(self.now)
        for at, packed in reversed(self.past):
            if at < since:
                break
            yield at, packed


KeptSteps: TypeAlias = Mapping[tuple[float, By], list[tuple[str, bytes]]]
"""By the start of a step, and what the figures are of: names, and what each had in it."""
Told: TypeAlias = dict[tuple[str, str], bytes]
"""What one session has said so far."""


class TrafficWindow:
    """`window` in seconds; times are seconds since 1970."""

    def __init__(self, window: float, step: float) -> None:
        """`step`: no finer than this."""
        self.window = window
        self.step = max(step, window / STEPS)
        self._cells: dict[By, OrderedDict[str, Cell]] = {by: OrderedDict() for by in BYS}
        self._expired = -inf
        self.began = inf
        """When the first report came: before, nothing was counted here."""

    def add(self, node: str, told: Told | None, rows: Iterable[Served], at: float) -> Told:
        """`node` reported `rows`; gives what to come with next time.

        `told` is None for the first report of a session: what was answered before is in no step.
        """
        self.began = min(self.began, at)
        start = at - at % self.step
        known: Told = {} if told is None else told
        for row in rows:
            now = Sum(row.requests, row.errors, row.seconds, _pairs(row.buckets))
            before = known.get(row.key)
            known[row.key] = _packed(now)
            if told is None:
                continue
            grown = now if before is None else _grown(_unpacked(before), now)
            if grown.requests:
                self._count(node, row, grown, start)
        return known

    def since(self, at: float) -> KeptSteps:
        """The steps that start at `at` or later."""
        found: dict[tuple[float, By], list[tuple[str, bytes]]] = {}
        for by, cells in self._cells.items():
            for name, cell in reversed(cells.items()):
                if cell.at < at:
                    break
                for start, packed in cell.kept(at):
                    found.setdefault((start, by), []).append((name, packed))
        return found

    def recall(self, kept: KeptSteps, at: float) -> None:
        """Take over what stood in the window when we last ran."""
        for start, by in sorted(kept):
            if at - self.kept_for(by) <= start <= at:
                self.began = min(self.began, start)
                for name, packed in kept[start, by]:
                    self._cell(by, name, start).recall(start, packed)

    def timed(self, node: str) -> dict[int, float]:
        """Of all that it answered since it was first seen here, how many were in which bucket."""
        cell = self._cells["node"].get(node)
        return {} if cell is None else {bucket: float(n) for bucket, n in cell.whole.buckets.items()}

    def _count(self, node: str, row: Served, grown: Sum, start: float) -> None:
        self._cell(row.kind, row.name, start).add(grown, start)
        if row.kind == "endpoint":
            self._cell("all", "all", start).add(grown, start)
            self._cell("node", node, start).add(grown, start)
        else:
            self._cell("node_backend", f"{node} {row.name}", start).add(grown, start)

    def _cell(self, by: By, name: str, start: float) -> Cell:
        cells = self._cells[by]
        if name not in cells and len(cells) >= NAMES_MAX[by]:
            self.expire(start)
        if name not in cells and len(cells) >= NAMES_MAX[by]:
            if by in ("endpoint", "backend"):
                name = OTHER
            else:
                cells.popitem(last=False)
        cell = cells.setdefault(name, Cell())
        cells.move_to_end(name)
        return cell

    def expire(self, at: float) -> None:
        """Forget what is older than the window, and names without anything in it; once a step is enough."""
        if self._expired <= at < self._expired + self.step:
            return
        self._expired = at
        for by, cells in self._cells.items():
            oldest = at - self.kept_for(by)
            while cells:
                name, cell = next(iter(cells.items()))
                if cell.at >= oldest:
                    break
                del cells[name]
            for cell in cells.values():
                while cell.past and cell.past[0][0] < oldest:
                    cell.past.popleft()

    def kept_for(self, by: By) -> float:
        """In seconds."""
        return min(self.window, PAIR_STEPS * self.step) if by == "node_backend" else self.window

    def whole(self, by: By) -> Iterator[tuple[str, Sum]]:
        """By name what was counted since it came."""
        for name, cell in sorted(self._cells[by].items()):
            yield name, cell.whole

    def view(
        self,
        by: By,
        *,
        since: float,
        until: float,
        step: float | None = None,
        after: str = "",
        count: int | None = None,
        node: str | None = None,
    ) -> dict[str, dict[float, Sum]]:
        """By name, of the first `count` after `after`, what was answered from `since` to `until`.

        Steps are not divided: it is from the start of the first, `since - since % self.step`. By the start
        of each `step`; without one as a whole, under the start of the first. `node`: of it
        alone, where names begin with nodes.
        """
        first = since - since % self.step
        found: dict[str, dict[float, Sum]] = {}
        names = (name for name in self._cells[by] if name > after)
        for name in sorted(name for name in names if node is None or name.split(" ", 1)[0] == node):
            if len(found) == count:
                break
            sums: dict[float, Sum] = {}
            for start, one in self._cells[by][name].steps():
                if first <= start <= until and one.requests:
                    sums.setdefault(first if step is None else start - start % step, Sum()).add(one)
            if sums:
                found[name] = sums
        return found


def _grown(before: Sum, now: Sum) -> Sum:
    """From one report to a later one of the same process, which never counts less."""
    buckets = {bucket: count - before.buckets.get(bucket, 0) for bucket, count in now.buckets.items()}
    return Sum(
        max(0, now.requests - before.requests),
        max(0, now.errors - before.errors),
        max(0.0, now.seconds - before.seconds),
        {bucket: count for bucket, count in buckets.items() if count > 0},
    )


def _pairs(numbers: tuple[int, ...]) -> dict[int, int]:
    return dict(zip(numbers[::2], numbers[1::2], strict=True))


def _packed(one: Sum) -> bytes:
    # A node may say any number, and sums of such may exceed what MessagePack holds.
    buckets = [min(number, _COUNT_MAX) for pair in one.buckets.items() for number in pair]
    return pack([min(one.requests, _COUNT_MAX), min(one.errors, _COUNT_MAX), one.seconds, *buckets])


def _unpacked(packed: bytes) -> Sum:
    requests, errors, seconds, *buckets = unpack(packed)
    return Sum(requests, errors, seconds, _pairs(tuple(buckets)))
