"""What recorded cells say together: rules are compared over the cells that all of them have."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from statistics import median

from manager.tables import table
from simulations.report import Line


def compared(lines: Iterable[Line], columns: Callable[[list[Line]], Line], shape: str) -> str:
    """A row for each commit, each value of the cell's part `shape` (such as `n`), and each rules' name.

    `columns(lines)` makes one of the cells of one row.
    """
    groups: dict[tuple[str, str], dict[str, dict[str, Line]]] = defaultdict(lambda: defaultdict(dict))
    for line in lines:
        rules, _, rest = line["cell"].partition("/")
        part = next(part for part in rest.split("/") if part.startswith(shape))
        groups[line["commit"], part][rules][rest] = line
    rows = []
    for (commit, part), by_rules in sorted(groups.items(), key=lambda group: (group[0][0], len(group[0][1]))):
        shared = set.intersection(*(set(cells) for cells in by_rules.values()))
        for rules, cells in by_rules.items():
            chosen = [line for cell, line in cells.items() if cell in shared]
            if chosen:
                rows.append(
                    {"commit": commit, "members": part[len(shape) :], "rules": rules, "cells": len(chosen)}
                )
                rows[-1] |= columns(chosen)
    return table(rows, tuple(rows[0]) if rows else ("cells",), colour=False)


def alarms(lines: Sequence[Line]) -> Line:
    """Lifeguard's: false positives of all cells, and first detections of those with one anomaly."""
    detected = sorted(second for line in lines if "/I0/" in line["cell"] for second in line["detected"])
    return {
        "false_positives": sum(line["false_positives"] for line in lines),
        "at_healthy": sum(line["at_healthy"] for line in lines),
        "detected": len(detected),
        "median": f"{median(detected):.2f} s" if detected else "",
        "p99": f"{detected[int(0.99 * len(detected))]:.2f} s" if detected else "",
        "packets": sum(line["packets"] for line in lines),
    }
