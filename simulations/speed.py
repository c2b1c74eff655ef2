"""How fast whole groups are played here: seconds of theirs for each second of this machine's CPU."""

import time
from collections.abc import Callable
from typing import NamedTuple

from simulations.cluster import Cluster
from simulations.literature import lifeguard
from simulations.watch import Watch

LIFEGUARD = "ours/n128/C4/D8192/I64/s1"


class Played(NamedTuple):
    """What was played, and what that took."""

    what: str
    virtual: float
    cpu: float
    wall: float
    events: int

    def row(self) -> dict[str, str]:
        return {
            "what": self.what,
            "virtual": f"{self.virtual:.0f} s",
            "cpu": f"{self.cpu:.2f} s",
            "wall": f"{self.wall:.2f} s",
            "times_real_time": f"{self.virtual / self.cpu:.0f}",
            "by_wall": f"{self.virtual / self.wall:.0f}",
            "events_a_second": f"{self.events / self.cpu:.0f}",
        }


COLUMNS = ("what", "virtual", "cpu", "wall", "times_real_time", "by_wall", "events_a_second")


def measure(managers: int, nodes: int, seconds: float, seed: int) -> list[Played]:
    """A group at rest, without and with every checker looking on; then 128 members under anomalies."""
    size = f"{managers} managers, {nodes} nodes"
    return [
        _group(size, managers, nodes, seconds, seed, checked=False),
        _group(f"{size}, checked", managers, nodes, seconds, seed, checked=True),
        _lifeguard(),
    ]


def _group(what: str, managers: int, nodes: int, seconds: float, seed: int, *, checked: bool) -> Played:
    cluster = Cluster(seed, managers, watch=Watch if checked else None)
    world = cluster.world
    world.run_until(cluster.formed, 30.0, "the managers form one group")
    added = cluster.add_nodes(nodes)
    world.run_until(lambda: all(node.joined for node in added), 60.0, "every node is let in")
    before = world.events
    cpu, wall = _timed(lambda: world.run_for(seconds))
    return Played(what, seconds, cpu, wall, world.events - before)


def _lifeguard() -> Played:
    lines = []
    cpu, wall = _timed(lambda: lines.append(lifeguard.run(LIFEGUARD)))
    return Played("128 members, 4 stand still", lines[0]["seconds"], cpu, wall, lines[0]["events"])


def _timed(work: Callable[[], None]) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return max(1e-9, time.process_time() - cpu), max(1e-9, time.perf_counter() - wall)
