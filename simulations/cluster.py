"""Managers and nodes in one world, as the scenarios use them."""

from dataclasses import replace

from gossip.config import LAN, GossipConfig
from manager.terms import ManagerConfig
from node.protocol import Limit
from simulations.checkers import unhealed
from simulations.disk import ManagerDisk
from simulations.network import Network
from simulations.nodes import SimNode
from simulations.processes import GOSSIP_PORT, NODE_PORT, SimManager
from simulations.watch import Watch
from simulations.world import World

DEFAULT = ManagerConfig(limits={"public": Limit(1000.0)})


class Cluster:
    """`managers` managers that all list each other, started together."""

    def __init__(
        self,
        seed: int,
        managers: int,
        config: ManagerConfig = DEFAULT,
        gossip: GossipConfig = LAN,
        watch: type[Watch] | None = None,
        *,
        disks: bool = False,
    ) -> None:
        """`watch`: check at every step what must always hold. `disks`: whether managers keep their state."""
        self.world = World(seed)
        self.network = Network(self.world)
        hosts = [f"10.0.0.{at}" for at in range(1, managers + 1)]
        peers = tuple(f"{host}:{GOSSIP_PORT}" for host in hosts)
        self.seeds = tuple(f"{host}:{NODE_PORT}" for host in hosts)
        self.managers: list[SimManager] = []
        self.nodes: list[SimNode] = []
        self.watch = (
            None
            if watch is None
            else watch(self.world, self.managers, self.nodes, lambda: self.network.whole)
        )
        for at, host in enumerate(hosts, start=1):
            disk = ManagerDisk(self.world, f"{host}/m{at}") if disks else None
            manager = SimManager(
                self.network, f"m{at}", host, peers, replace(config), gossip, observer=self.watch, disk=disk
            )
            self.managers.append(manager)

    def add_nodes(self, count: int, seeds: tuple[str, ...] = (), token: str = "") -> list[SimNode]:
        """`count` more nodes, each on a host of its own, that know `seeds`, or else all managers.

        `token`: what they show.
        """
        start = len(self.nodes)
        added = [
            SimNode(
                self.network,
                f"n{at + 1}",
                f"10.1.{at // 250}.{at % 250 + 1}",
                seeds or self.seeds,
                token=token,
            )
            for at in range(start, start + count)
        ]
        self.nodes += added
        return added

    def settle(self, within: float, what: str) -> float:
        """Let time pass until nothing is amiss; gives the seconds that took."""
        try:
            return self.world.run_until(lambda: not unhealed(self.managers), within, what)
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), *unhealed(self.managers)])) from error

    def formed(self) -> bool:
        """Whether every living manager sees every other and has its pages."""
        living = [manager for manager in self.managers if manager.alive]
        return not unhealed(living) and all(m.core.group.reconciled for m in living if len(living) > 1)
