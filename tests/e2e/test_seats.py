"""Sixty nodes for forty seats; real managers are killed, stopped and cut off, and the log is judged."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

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


async def play(cluster: ApartCluster, seconds: float, faults: tuple[Fault, ...]) -> tuple[Held, int]:
    """What was held, and how many hold a seat some seconds after the last fault."""
    random, held = Random(6), Held()
    seeds = [f"{cluster.address(name)}:{NODE_PORT}" for name in NAMES]
    async with ClientSession() as http:
        nodes = [
            NodeSession(http, f"n{at}", random.sample(seeds, 3), held, ephemeral=at % 3 == 0)
            for at in range(NODES)
        ]
        await asyncio.sleep(3.0)
        ends = time.monotonic() + seconds
        busy: dict[str, asyncio.Task[None]] = {}
        while time.monotonic() < ends:
            name, node = random.choice(NAMES), random.choice(nodes)
            if name not in busy or busy[name].done():
                busy[name] = asyncio.ensure_future(random.choice(faults)(cluster, name, random))
            node.kill()
            await asyncio.sleep(random.uniform(0.1, 0.5))
            node.start()
        await asyncio.gather(*busy.values())
        for _ in range(24):  # until whoever is still refused has tried again
            await asyncio.sleep(0.5)
            if (seated := sum(node.seated for node in nodes)) >= CAP:
                break
        for node in nodes:
            node.over()
        await asyncio.sleep(0.3)
    return held, seated


@pytest.mark.needs("root", "ip", "nft")
@pytest.mark.parametrize(
    ("config", "seconds", "faults"),
    [(STRICT, 10.0, (killed, stopped, cut_off)), (AVAILABLE, 5.0, (killed,))],
    ids=["strict", "available, connected"],
)
def test_the_cap_holds_among_real_managers_whatever_becomes_of_them(
    tmp_path: Path, config: str, seconds: float, faults: tuple[Fault, ...]
) -> None:
    with alone():
        cluster = ApartCluster(tmp_path, net="10.77.0")
        cluster.networks = Namespaces(3)
        try:
            on_the_bridge()
            cluster.start_managers(3, config=config)
            held, seated = asyncio.run(play(cluster, seconds, faults))
        finally:
            cluster.close()
            cluster.networks.close()
    assert 0.9 * CAP <= held.most <= CAP
    assert seated >= 0.9 * CAP, "seats are given again once all is well"
