"""What a scenario tells: a table of what was seen when, what broke, and what pictures are made of."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

Line: TypeAlias = dict[str, Any]
"""Of a sweep: `kind`, `cell`, `commit`, `python`, and what came out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a scenario is unless it is told otherwise, and how small it may be."""

    managers: int = 3
    nodes: int = 20
    minutes: float = 5.0
    managers_min: int = 2
    nodes_min: int = 4


@dataclass(frozen=True, slots=True)
class Row:
    """One line: at virtual second `at`, in `phase`."""

    at: float
    phase: str
    seen: str


@dataclass(frozen=True, slots=True)
class Sample:
    """What one manager showed at virtual second `at`; `cap` None for none."""

    at: float
    manager: str
    managers_alive: int
    used: int
    over: int
    cap: int | None
    active: int
    unreachable: int


@dataclass(slots=True)
class Report:
    """The outcome of one run; `broken` is empty where every checker held."""

    name: str
    seed: int
    rows: list[Row] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    detections: list[float] = field(default_factory=list)
    """Seconds from the end of a manager until another one held it for dead."""
    spoken: list[tuple[float, str, str]] = field(default_factory=list)
    """Lines of the managers' logs: when, who, what."""
    trace: str = ""
    events: int = 0
    last: list[str] = field(default_factory=list)
    """The last events of each member that is named in what broke."""

    def text(self) -> str:
        """The table, the trace and the verdict."""
        width = max((len(row.phase) for row in self.rows), default=0)
        lines = [f"{row.at:9.2f} s  {row.phase:<{width}}  {row.seen}" for row in self.rows]
        verdict = [f"BROKEN: {item}" for item in self.broken] or ["every checker held"]
        end = f"seed {self.seed}, {self.events} events, trace {self.trace}"
        return "\n".join([*lines, end, *verdict, *self.last])

    def lines(self) -> Iterator[str]:
        """All of it as JSON, a line for each thing, in the order of time."""
        timed = [
            *((row.at, {"kind": "row", "phase": row.phase, "seen": row.seen}) for row in self.rows),
            *((s.at, {"kind": "sample", **asdict(s)}) for s in self.samples),
            *((at, {"kind": "log", "manager": who, "text": text}) for at, who, text in self.spoken),
        ]
        for at, line in sorted(timed, key=lambda pair: pair[0]):
            yield json.dumps(
                {"at": round(at, 6)} | {key: value for key, value in line.items() if key != "at"}
            )
        end = {"kind": "end", "scenario": self.name, "seed": self.seed, "trace": self.trace}
        yield json.dumps(end | {"events": self.events, "broken": self.broken})
