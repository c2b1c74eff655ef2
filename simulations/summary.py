"""What the lines of sweeps say together, as tables."""

from collections import defaultdict
from collections.abc import Iterable
from statistics import median

from manager.cli.tables import table
from simulations.literature.grids import GRIDS
from simulations.mutants.hunt import merged
from simulations.report import Line


def summary(lines: Iterable[Line]) -> str:
    """One table for each kind of sweep, the newest code last."""
    kinds: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        kinds[line["kind"]].append(line)
    parts = [f"{kind}\n{_of_kind(kind, found)}" for kind, found in sorted(kinds.items())]
    return "\n\n".join(parts) or "there is no line"


def _of_kind(kind: str, lines: list[Line]) -> str:
    match kind:
        case "fuzz" | "disks" | "strict":
            return seeds(lines)
        case "mutant":
            return mutants(lines)
        case name if name in GRIDS:
            return GRIDS[name].table(lines)
        case _:
            commits: dict[str, int] = defaultdict(int)
            for line in lines:
                commits[line["commit"]] += 1
            rows = [{"commit": commit, "cells": count} for commit, count in commits.items()]
            return table(rows, ("commit", "cells"), colour=False)


def seeds(lines: Iterable[Line]) -> str:
    """Seeds of drawn faults by commit, and each that broke a promise."""
    commits: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        commits[line["commit"]].append(line)
    rows = [
        {
            "commit": commit,
            "seeds": len(found),
            "broken": sum(bool(line["broken"]) for line in found),
            "events": sum(line["events"] for line in found),
            "healed_after_median": f"{median(line['healed_after'] for line in found):.1f} s",
            "slowest": f"{max(line['healed_after'] for line in found):.1f} s",
        }
        for commit, found in commits.items()
    ]
    text = table(
        rows, ("commit", "seeds", "broken", "events", "healed_after_median", "slowest"), colour=False
    )
    for found in commits.values():
        for line in found:
            for broken in line["broken"]:
                text += f"\nseed {line['cell']} of {line['commit']}: {line['checker']}: {broken}"
    return text


def mutants(lines: Iterable[Line]) -> str:
    """Each mutant: which checker named it, and after how many seeds."""
    lines = merged(lines)
    rows = [
        {
            "mutant": line["cell"],
            "killed_by": line["checker"] or f"nobody within {line['seeds']} seeds",
            "seeds": line["seeds"],
            "commit": line["commit"],
        }
        for line in lines
    ]
    killed = sum(bool(line["checker"]) for line in lines)
    rows_text = table(rows, ("mutant", "killed_by", "seeds", "commit"), colour=False)
    return f"{rows_text}\n{killed} of {len(lines)} killed"
