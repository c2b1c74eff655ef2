"""Sixty nodes for forty seats; real managers are killed, stopped and cut off, and the log is judged."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import pytest
from aiohttp import ClientSession

from benchmarks.networks import Namespaces
from tests.e2e.cluster import NODE_PORT
from tests.e2e.sessions import Held, NodeSession
from tests.e2e.test_config_apart import ApartCluster
from tests.interop.apart import alone, on_the_bridge

CAP, NODES = 40, 60
NAMES = ("m1", "m2", "m3")
QUICK = "nodes: {heartbeat: 1s, grace: 4s, rejoin_window: 2s, retry_after: 1s}\n"
STRICT = (
    "group: {founders: [m1, m2, m3]}\n"
    f"subscription: {{max_nodes: {CAP}, policy: strict, ticket_life: 6s, ephemeral_life: 3s}}\n{QUICK}"
)
AVAILABLE = f"subscription: {{max_nodes: {CAP}}}\n{QUICK}"
SETTLED = 15.0
"""Seconds after a heal within which the surplus of a split is marked; two will do on a quiet machine."""

Fault = Callable[[ApartCluster, str, Random], Awaitable[None]]


async def killed(cluster: ApartCluster, name: str, random: Random) -> None:
    cluster.managers[name].kill()
    await asyncio.sleep(random.uniform(0.1, 1.5))
    cluster.start_manager(name, config=(cluster.folder / f"{name}.yml").read_text())


async def stopped(cluster: ApartCluster, name: str, random: Random) -> None:
    cluster.managers[name].send(signal.SIGSTOP)
    await asyncio.sleep(random.uniform(0.2, 4.0))
    cluster.managers[name].send(signal.SIGCONT)


async def cut_off(cluster: ApartCluster, name: str, random: Random) -> None:
    others = [cluster.address(other) for other in NAMES if other != name]
    cluster.networks.cut([cluster.address(name)], others)
    await asyncio.sleep(random.uniform(0.5, 4.0))
    cluster.networks.heal()


class Play:
    """Sixty nodes at three managers, and what becomes of them; for use within `nodes_run`."""

    def __init__(self, cluster: ApartCluster) -> None:
        self.cluster, self.random, self.held = cluster, Random(6), Held()
        self.nodes: list[NodeSession] = []

    @asynccontextmanager
    async def nodes_run(self) -> AsyncIterator[None]:
        seeds = [f"{self.cluster.address(name)}:{NODE_PORT}" for name in NAMES]
        async with ClientSession() as http:
            for at in range(NODES):
                order = self.random.sample(seeds, 3)
                self.nodes.append(NodeSession(http, f"n{at}", order, self.held, ephemeral=at % 3 == 0))
            await asyncio.sleep(3.0)
            yield
            for node in self.nodes:
                node.over()
            await asyncio.sleep(0.3)

    async def trouble(self, seconds: float, *faults: Fault, pause: float = 0.5) -> None:
        """Managers have `faults`, each of them one at a time, and nodes are killed and started again.

        `pause`: seconds for which a node is away, and until the next one goes, at the most.
        """
        busy: dict[str, asyncio.Task[None]] = {}
        ends = monotonic() + seconds
        while monotonic() < ends:
            name, node = self.random.choice(NAMES), self.random.choice(self.nodes)
            if faults and (name not in busy or busy[name].done()):
                busy[name] = asyncio.ensure_future(
                    self.random.choice(faults)(self.cluster, name, self.random)
                )
            node.kill()
            await asyncio.sleep(self.random.uniform(0.2, 1.0) * pause)
            node.start()
        await asyncio.gather(*busy.values())

    @property
    def seated(self) -> int:
        return sum(node.seated for node in self.nodes)

    async def refill(self) -> None:
        """Until whoever is still refused has tried again."""
        for _ in range(24):
            await asyncio.sleep(0.5)
            if self.seated >= CAP:
                break
        assert self.seated >= 0.9 * CAP, "seats are given again once all is well"

    async def settle(self) -> None:
        """Until all managers say the same, and nobody is seated beyond the cap."""
        ends = monotonic() + SETTLED
        while (different := await asyncio.to_thread(self.cluster.differences)) or self.seated > CAP:
            assert monotonic() < ends, f"{self.seated} have a seat, {different}"
            await asyncio.sleep(0.1)


async def under_strict(play: Play) -> None:
    async with play.nodes_run():
        await play.trouble(10.0, killed, stopped, cut_off)
        await play.refill()
    assert 0.9 * CAP <= play.held.most() <= CAP


async def under_available(play: Play) -> None:
    async with play.nodes_run():
        await play.trouble(3.0, killed, stopped)
        split = play.held.now()
        one, *others = map(play.cluster.address, NAMES)
        play.cluster.networks.cut([one], others)
        # Many change sides, and their seats are given away where they were: together more than the cap.
        await play.trouble(4.0, pause=0.1)
        play.cluster.networks.heal()
        await play.settle()
        healed = play.held.now()
        await play.trouble(3.0, killed, stopped)
        await play.refill()
    assert 0.9 * CAP <= play.held.most(ends=split) <= CAP
    assert 0.9 * CAP <= play.held.most(begins=healed) <= CAP


@pytest.mark.needs("root", "ip", "nft")
@pytest.mark.parametrize(
    ("config", "story"),
    [(STRICT, under_strict), (AVAILABLE, under_available)],
    ids=["strict, always", "available, but in a split"],
)
def test_the_cap_holds_among_real_managers_whatever_becomes_of_them(
    tmp_path: Path, config: str, story: Callable[[Play], Coroutine[Any, Any, None]]
) -> None:
    with alone():
        cluster = ApartCluster(tmp_path, net="10.77.0")
        cluster.networks = Namespaces(3)
        try:
            on_the_bridge()
            cluster.start_managers(3, config=config)
            asyncio.run(story(Play(cluster)))
        finally:
            cluster.close()
            cluster.networks.close()
