"""The experiments of others, cell by cell: which there are, and what a recorded line says."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from random import Random

from simulations.literature import heal, lifeguard, rapid
from simulations.literature.rules import RULES
from simulations.literature.tables import alarms, arrivals, compared, removals
from simulations.report import Line


@dataclass(frozen=True, slots=True)
class Grid:
    """`cells(rules, seed)` names one repetition; `run(cell)` plays one."""

    story: str
    rules: tuple[str, ...]
    cells: Callable[[str, int], list[str]]
    run: Callable[[str], Line]
    table: Callable[[list[Line]], str]


GRIDS = {
    "lifeguard": Grid(
        "128 members, some stand still together",
        tuple(RULES),
        lifeguard.cells,
        lifeguard.run,
        lambda lines: compared(lines, alarms, 1),
    ),
    "small": Grid(
        "3, 5 and 9 members, one stands still",
        ("memberlist", "ours"),
        lifeguard.small_cells,
        lifeguard.run,
        lambda lines: compared(lines, alarms, 1),
    ),
    "rapid": Grid(
        "10, 50 and 100 members, one with links that fail one way",
        ("memberlist", "ours"),
        rapid.cells,
        rapid.run,
        lambda lines: compared(lines, removals, 2),
    ),
    "heal": Grid(
        "managers with 10,000 nodes, parted and healed",
        ("ours",),
        heal.cells,
        heal.run,
        lambda lines: compared(lines, arrivals, 1),
    ),
}


def cells(name: str, rules: Iterable[str], seed: int, only: Sequence[str]) -> list[str]:
    """One repetition of a grid, in an order of which every beginning is a fair sample of it.

    `only`: patterns of cells, any of which is enough. All rules of one cell come one after the other.
    """
    grid = GRIDS[name]
    rows = list(zip(*(grid.cells(one, seed) for one in rules), strict=True))
    Random(f"{name}/{seed}").shuffle(rows)
    chosen = [cell for row in rows for cell in row]
    return [cell for cell in chosen if not only or any(fnmatchcase(cell, pattern) for pattern in only)]
