"""Rapid's experiments (Suresh et al. 2018, § 7): the links of one member fail one way, all others are well.

`flipflop`: nothing reaches it for 20 s, then everything for 20 s, and so on. `egress`: of what it sends 80 %
is lost. What the others hold of it counts: how often it was removed, at whoever removed it most often, and
came back; and how many of the others were removed by one of them.
"""

from collections import Counter
from dataclasses import dataclass

from simulations.literature.members import Members
from simulations.literature.rules import rules
from simulations.network import Links, Network
from simulations.report import Line
from simulations.world import World

SETTLE = 15.0
LASTS = 300.0
HALF = 20.0
LOSS = 0.8
MEMBERS = (10, 50, 100)
FAULTS = ("flipflop", "egress")


@dataclass(frozen=True, slots=True)
class Cell:
    """One run."""

    rules: str
    members: int
    fault: str
    seed: int

    @classmethod
    def parse(cls, text: str) -> "Cell":
        rules_name, members, fault, seed = text.split("/")
        return cls(rules_name, int(members[1:]), fault, int(seed[1:]))

    def __str__(self) -> str:
        return f"{self.rules}/n{self.members}/{self.fault}/s{self.seed}"


def cells(rules_name: str, seed: int) -> list[str]:
    """Each fault at each size."""
    return [str(Cell(rules_name, members, fault, seed)) for members in MEMBERS for fault in FAULTS]


def run(text: str) -> Line:
    """Play one."""
    cell = Cell.parse(text)
    world = World(cell.seed)
    network = Network(world)
    group = Members(network, cell.members, rules(cell.rules, cell.members), SETTLE)
    faulty = world.random("faulty").choice(group.all[1:])
    others = [member.host for member in group.all if member is not faulty]
    started = world.now
    if cell.fault == "egress":
        for host in others:
            network.set_link(faulty.host, host, Links(loss=LOSS), one_way=True)
        world.run_for(LASTS)
    while world.now - started < LASTS:
        undo = [network.cut(host, faulty.host, one_way=True) for host in others]
        world.run_for(HALF)
        for whole in undo:
            whole()
        world.run_for(HALF)
    removed = Counter(who for _, who, whom in group.deaths if whom == faulty.name)
    healthy = {whom for _, who, whom in group.deaths if faulty.name not in (who, whom)}
    back = Counter(who for _, who, whom in group.returns if whom == faulty.name)
    first = [at - started for at, _, whom in group.deaths if whom == faulty.name]
    return {
        "removed": max(removed.values(), default=0),
        "removed_by": len(removed),
        "came_back": max(back.values(), default=0),
        "healthy_removed": len(healthy),
        "after": round(min(first), 3) if first else None,
        "events": world.events,
        "packets": sum(network.packets.values()),
    }
