"""Lifeguard's experiments (Dadgar, Phillips, Currey 2017, § V): some members stand still together.

A failure event about a member that never stood still is a false positive, wherever it is raised; of these
those `at_healthy` are raised at such members. A detection is the first failure event about a member that
stands still, at one that does not, counted from the first anomaly.
"""

from dataclasses import dataclass

from simulations.literature.members import Members
from simulations.literature.rules import rules
from simulations.network import Network
from simulations.report import Line
from simulations.world import World

SETTLE = 15.0
LASTS = 120.0
MEMBERS = 128
BLOCKED = (1, 4, 8, 12, 16, 20, 24, 28, 32)
ANOMALY_MS = (128, 512, 2048, 8192, 16384, 32768)
BETWEEN_MS = (1, 4, 16, 64, 256, 1024, 4096, 16384)
SMALL = (3, 5, 9)


@dataclass(frozen=True, slots=True)
class Cell:
    """One run. Times are milliseconds; `between` 0: one anomaly, and no more (the paper's Threshold)."""

    rules: str
    members: int
    blocked: int
    anomaly: int
    between: int
    seed: int

    @classmethod
    def parse(cls, text: str) -> "Cell":
        rules_name, *numbers = text.split("/")
        return cls(rules_name, *(int(number[1:]) for number in numbers))

    def __str__(self) -> str:
        sizes = f"n{self.members}/C{self.blocked}/D{self.anomaly}/I{self.between}"
        return f"{self.rules}/{sizes}/s{self.seed}"


def cells(rules_name: str, seed: int) -> list[str]:
    """The paper's grid, once: 432 Interval runs and 54 Threshold runs."""
    return [
        str(Cell(rules_name, MEMBERS, blocked, anomaly, between, seed))
        for blocked in BLOCKED
        for anomaly in ANOMALY_MS
        for between in (0, *BETWEEN_MS)
    ]


def small_cells(rules_name: str, seed: int) -> list[str]:
    """The same in groups as they are run, with one that stands still."""
    return [
        str(Cell(rules_name, members, 1, anomaly, between, seed))
        for members in SMALL
        for anomaly in ANOMALY_MS
        for between in (0, *BETWEEN_MS)
    ]


def run(text: str) -> Line:
    """Play one: false positives, detections in seconds, and what it cost."""
    cell = Cell.parse(text)
    world = World(cell.seed)
    network = Network(world)
    group = Members(network, cell.members, rules(cell.rules, cell.members), SETTLE)
    blocked = world.random("blocked").sample(group.all, cell.blocked)
    names = {member.name for member in blocked}
    started = world.now
    while world.now - started < LASTS:
        for member in blocked:
            member.block()
        world.run_for(cell.anomaly / 1000)
        for member in blocked:
            member.release()
        if not cell.between:
            world.run_for(max(0.0, started + LASTS - world.now))
            break
        world.run_for(cell.between / 1000)
    false = [who for _, who, whom in group.deaths if whom not in names]
    first: dict[str, float] = {}
    for at, who, whom in group.deaths:
        if whom in names and who not in names:
            first.setdefault(whom, at - started)
    return {
        "false_positives": len(false),
        "at_healthy": sum(who not in names for who in false),
        "detected": sorted(round(seconds, 3) for seconds in first.values()),
        "events": world.events,
        "seconds": round(world.now, 3),
        "packets": sum(network.packets.values()),
    }
