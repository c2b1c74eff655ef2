"""Numbers for people: medians with their spread, percentiles, ratios, and tables of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isnan
from statistics import median


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of `values` that is no less than `percent` of them."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100).__trunc__() - 1)]


def spread(values: Sequence[float], unit: str = "", scale: float = 1.0) -> str:
    """`median (least-most)`; a dash where there is nothing."""
    if not values:
        return "–"
    middle, low, high = (_number(value * scale) for value in (median(values), min(values), max(values)))
    return f"{middle} ({low}-{high}){f' {unit}' if unit else ''}"


def milliseconds(seconds: Sequence[float]) -> str:
    return spread(seconds, "ms", 1000.0)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """How ours compares with theirs, round by round; below 1 is less than theirs. None where theirs is 0."""
    ratios = [one / other for one, other in zip(ours, theirs, strict=False) if other]
    return spread([each for each in ratios if not isnan(each)])


def _number(value: float) -> str:
    if value == inf:
        return "never"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def with_part(text: str, part: str) -> str:
    """`text` with `part` instead of the part of the same heading (a line `# …`), or at its end."""
    heading = part.splitlines()[0]
    parts = re.split(r"^(?=# )", text, flags=re.MULTILINE)
    kept = [part if old.startswith(f"{heading}\n") else f"{old.rstrip()}\n" for old in parts if old]
    return "\n".join(kept if part in kept else [*kept, part])


@dataclass(frozen=True, slots=True)
class Table:
    """One figure's results and what a reader must know of how they were taken."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    notes: str
    """A list in markdown; an item may go on in further lines."""

    def markdown(self) -> str:
        lines = [f"## {self.title}", "", _line(self.head), _line(("---",) * len(self.head))]
        lines += [*map(_line, self.rows), "", self.notes.strip().replace("\n  ", " ")]
        return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
