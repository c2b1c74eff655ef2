"""A split of managers that heals, with 10,000 nodes in the registry, a part of which changed meanwhile.

While it lasts every manager writes: a tenth of its records anew, a twentieth more, and a twentieth fewer. A
change has arrived at a reader when that one's copy is at its version. The clock starts with the heal;
`healed` is when both sides count each other as running again, and rounds are counted from there.
"""

from dataclasses import dataclass
from math import inf
from random import Random

from manager.records import NODE, NodeRecord, NodeState
from manager.terms import ManagerConfig
from simulations.checkers import pages_differ
from simulations.cluster import Cluster
from simulations.processes import SimManager
from simulations.report import Line
from simulations.world import WALL_AT_START

ENTRIES = 10_000
ROUND = 1.0
"""Seconds between two summaries, each to a random member: a reconciliation round."""
MANAGERS = (3, 5, 9)
SPLIT_SECONDS = (10, 60)
_LOOK = 0.02
_WITHIN = 60.0


@dataclass(frozen=True, slots=True)
class Cell:
    """One run. `split` is seconds."""

    rules: str
    managers: int
    split: int
    seed: int

    @classmethod
    def parse(cls, text: str) -> "Cell":
        rules, managers, split, seed = text.split("/")
        return cls(rules, int(managers[1:]), int(split[5:]), int(seed[1:]))

    def __str__(self) -> str:
        return f"{self.rules}/n{self.managers}/split{self.split}/s{self.seed}"


def cells(rules: str, seed: int) -> list[str]:
    """Each length of a split at each size."""
    return [str(Cell(rules, managers, split, seed)) for managers in MANAGERS for split in SPLIT_SECONDS]


class _Writer:
    """Writes records of nodes to the page of one manager, as if it served them."""

    def __init__(self, manager: SimManager, random: Random) -> None:
        self.manager = manager
        self._random = random
        self._ids: list[str] = []
        self._count = 0

    def add(self, count: int) -> None:
        for _ in range(count):
            self._count += 1
            self._ids.append(f"{self.manager.name}-{self._count}")
            self._write(self._ids[-1], NodeState.ACTIVE)

    def change(self, count: int) -> None:
        for id_ in self._random.sample(self._ids, count):
            self._write(id_, NodeState.UNREACHABLE)

    def delete(self, count: int) -> None:
        for id_ in self._random.sample(self._ids, count):
            self._ids.remove(id_)
            core = self.manager.core
            core.group.ledger.delete(NODE + id_)
            core.registry.page_changed(self.manager.name, (NODE + id_,), self.manager.loop.now)

    def _write(self, id_: str, state: NodeState) -> None:
        record = NodeRecord(
            state, 1, 1, self._count, True, False, WALL_AT_START, "said hello", id_, "10.1.0.1", "krakend 2.9"
        )
        core = self.manager.core
        core.group.ledger.put(NODE + id_, record.pack())
        core.registry.page_changed(self.manager.name, (NODE + id_,), self.manager.loop.now)


def run(text: str) -> Line:
    """Play one."""
    cell = Cell.parse(text)
    cluster = Cluster(cell.seed, cell.managers, ManagerConfig())
    world, managers = cluster.world, cluster.managers
    world.run_until(cluster.formed, 30.0, "the managers form one group")
    writers = [_Writer(manager, world.random(f"{manager.name}/writer")) for manager in managers]
    part = ENTRIES // len(writers)
    for writer in writers:
        writer.add(part)
    world.run_until(lambda: not pages_differ(managers), 60.0, "all have all records")
    half = len(managers) // 2
    sides = managers[: half + 1], managers[half + 1 :]
    cluster.network.partition(*([manager.host for manager in side] for side in sides))
    world.run_for(cell.split / 2)
    known = {(reader.name, owner.name): _version(reader, owner) for reader in managers for owner in managers}
    for writer in writers:
        writer.change(part // 10)
        writer.add(part // 20)
        writer.delete(part // 20)
    world.run_for(cell.split / 2)
    cluster.network.heal()
    healed = inf
    took: list[float] = []
    started = world.now
    pairs = [(r, o) for side, other in (sides, sides[::-1]) for r in side for o in other]
    ends = {owner.name: _version(owner, owner) for owner in managers}
    while (pairs or healed == inf) and world.now - started < _WITHIN:
        if _all_seen(managers):
            healed = min(healed, world.now - started)
        for reader, owner in list(pairs):
            before, now = known[reader.name, owner.name], _version(reader, owner)
            versions = (entry.version for entry in owner.core.group.ledger.own.since(before))
            took += [world.now - started for version in versions if version <= now]
            known[reader.name, owner.name] = max(before, now)
            if now >= ends[owner.name]:
                pairs.remove((reader, owner))
        world.run_for(_LOOK)
    took.sort()
    p99 = took[int(0.99 * len(took))]
    lost, resurrected = _compare(managers)
    return {
        "healed": round(healed, 3),
        "changes": len(took),
        "p50": round(took[len(took) // 2], 3),
        "p99": round(p99, 3),
        "rounds": round(max(0.0, p99 - healed) / ROUND, 2),
        "late": len(pairs),
        "lost": lost,
        "resurrected": resurrected,
        "events": world.events,
    }


def _version(reader: SimManager, owner: SimManager) -> int:
    page = reader.core.group.ledger.pages.get(owner.name)
    return 0 if page is None else page.version


def _all_seen(managers: list[SimManager]) -> bool:
    return all(len(manager.core.group.kin()) == len(managers) - 1 for manager in managers)


def _compare(managers: list[SimManager]) -> tuple[int, int]:
    """Records that a reader lacks or holds otherwise, and those that it has and the owner has not."""
    lost = resurrected = 0
    for owner in managers:
        own = dict(owner.core.group.ledger.own.items())
        for reader in managers:
            page = reader.core.group.ledger.pages[owner.name]
            copy = dict(page.items())
            lost += sum(copy.get(key) != value for key, value in own.items())
            resurrected += sum(key not in own for key in copy)
    return lost, resurrected
