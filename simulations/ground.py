"""A cluster in which things break: who is there, and what every fault asks of it."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from gossip.config import LAN
from simulations.disk import ManagerDisk
from simulations.network import Network
from simulations.nodes import Disk, SimNode
from simulations.plan import TOKENS, Plan
from simulations.processes import GOSSIP_PORT, NODE_PORT, SimManager
from simulations.watch import Watch
from simulations.world import World

NODES_MAX = 20


class Ground:
    """The managers and nodes of `plan`; faults may add to them. All chance of faults is `random`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.world = World(plan.seed)
        self.random = self.world.random("faults")
        self.network = Network(self.world, replace(plan.links))
        self.managers: list[SimManager] = []
        self.nodes: list[SimNode] = []
        self.story: list[str] = []
        """What broke, a line each."""
        self.watch = Watch(self.world, self.managers, self.nodes, lambda: self.network.whole)
        self._gossip = replace(LAN, tombstones_max=plan.tombstones)
        hosts = [f"10.0.0.{at}" for at in range(1, plan.managers + 1)]
        self._peers = tuple(f"{host}:{GOSSIP_PORT}" for host in hosts[: 1 if plan.few_peers else None])
        self._seeds = tuple(f"{host}:{NODE_PORT}" for host in hosts)
        for at, host in enumerate(hosts, start=1):
            self._add_manager(f"m{at}", host)
        if plan.stranger:
            self._add_manager("stranger", "10.0.9.9", group_name="another")
        for _ in range(plan.nodes):
            self._add_node()
        self._twins = 0
        self._moves = 0
        self._ends = plan.calm + plan.fire

    def _add_manager(
        self, name: str, host: str, group_name: str = "krakend", disk: ManagerDisk | None = None
    ) -> None:
        drift, skew = self.plan.drift, self.plan.skew
        manager = SimManager(
            self.network,
            name,
            host,
            self._peers,
            self.plan.config,
            self._gossip,
            group_name=group_name,
            rate=1.0 + self.random.uniform(-drift, drift),
            skew=self.random.uniform(-skew, skew),
            lag=self.plan.lag,
            observer=self.watch,
            disk=disk or (ManagerDisk(self.world, f"{host}/{name}") if self.plan.disks else None),
        )
        manager.issuer = self._from_issuer
        self.managers.append(manager)

    def _add_node(self, disk: Disk | None = None, seeds: tuple[str, ...] = ()) -> SimNode:
        at = len(self.nodes)
        rate = 1.0 + self.random.uniform(-self.plan.drift, self.plan.drift)
        node = SimNode(
            self.network,
            f"n{at + 1}",
            f"10.1.{at // 250}.{at % 250 + 1}",
            seeds or self._seeds,
            disk,
            rate=rate,
            ephemeral=self._is_ephemeral(at),
            token=self._token(at),
            saved=self.watch.rights.saved,
        )
        self.nodes.append(node)
        return node

    def _token(self, at: int) -> str:
        """What the node that is `at`-th shows, by a chance of its own."""
        if not self.plan.config.join_tokens:
            return ""
        return Random(f"{self.plan.seed}/token/{at}").choices(list(TOKENS), list(TOKENS.values()))[0]

    def _from_issuer(self) -> str:
        """What the issuer's URL gives; nothing where it does not answer."""
        return ""

    def _is_ephemeral(self, at: int) -> bool:
        """Whether the node that is `at`-th is one of many that come and go."""
        return False

    def _manager(self) -> SimManager:
        return self.random.choice(self.managers)

    def _node(self) -> SimNode | None:
        return self.random.choice(self.nodes) if self.nodes else None

    def _hosts(self) -> list[str]:
        return [manager.host for manager in self.managers] + [node.host for node in self.nodes]

    def _two_hosts(self) -> tuple[str, str]:
        """Two managers, or a manager and a node."""
        left = self._manager().host
        others = [host for host in self._hosts() if host != left]
        near = [m.host for m in self.managers if m.host != left]
        if near and self.random.random() < 0.6:
            others = near
        return left, self.random.choice(others or [left])

    def _for_a_while(self, undo: Callable[[], None]) -> float:
        seconds = self.random.expovariate(1 / self.plan.lasting)

        def over() -> None:
            self.watch.disturb()
            undo()

        self.world.after(seconds, over)
        return seconds

    def _start_again(self, manager: SimManager) -> None:
        if not manager.alive and not manager.conflicting:
            manager.restart()
