"""What recorded cells say together: rules are compared over the cells that all of them have."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from statistics import median

from manager.cli.tables import table
from simulations.report import Line


def compared(lines: Iterable[Line], columns: Callable[[Sequence[Line]], Line], parts: int) -> str:
    """A row for each commit, shape of cells and rules; `columns(lines)` makes the end of one.

    The shape is the first `parts` parts of a cell's name after its rules.
    """
    groups: dict[tuple[str, str], dict[str, dict[str, Line]]] = defaultdict(lambda: defaultdict(dict))
    for line in lines:
        rules, *rest = line["cell"].split("/")
        groups[line["commit"], " ".join(rest[:parts])][rules]["/".join(rest)] = line
    rows = []
    for (commit, shape), by_rules in sorted(groups.items(), key=lambda group: _by_number(*group[0])):
        shared = set.intersection(*(set(cells) for cells in by_rules.values()))
        for rules, cells in by_rules.items():
            if chosen := [line for cell, line in cells.items() if cell in shared]:
                row = {"commit": commit, "group": shape, "rules": rules, "cells": len(chosen)}
                rows.append(row | columns(chosen))
    return table(rows, tuple(rows[0]) if rows else ("cells",), colour=False)


def _by_number(commit: str, shape: str) -> tuple[str, int, str]:
    return commit, int("".join(filter(str.isdecimal, shape.split(" ")[0]))), shape


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


def removals(lines: Sequence[Line]) -> Line:
    """Rapid's: the worst of the cells."""
    return {
        "removed": max(line["removed"] for line in lines),
        "came_back": max(line["came_back"] for line in lines),
        "healthy_removed": max(line["healthy_removed"] for line in lines),
        "first_after": min((line["after"] for line in lines if line["after"] is not None), default=""),
    }


def arrivals(lines: Sequence[Line]) -> Line:
    """Of a heal: the worst of the cells."""
    return {
        "changes": sum(line["changes"] for line in lines),
        "healed": f"{max(line['healed'] for line in lines):.2f} s",
        "p99": f"{max(line['p99'] for line in lines):.2f} s",
        "rounds": max(line["rounds"] for line in lines),
        "late": sum(line["late"] for line in lines),
        "lost": sum(line["lost"] for line in lines),
        "resurrected": sum(line["resurrected"] for line in lines),
    }
