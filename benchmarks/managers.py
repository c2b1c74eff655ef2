"""A group of our managers, as real processes."""

import asyncio
import sys
from functools import partial
from pathlib import Path

from benchmarks.agreeing import AGREE_SECONDS_MAX, Agreed, until_agreed
from benchmarks.api import Api
from benchmarks.processes import Process, block, start
from manager.agreement import agree

PROGRAM = Path(sys.executable).parent / "krakend-cluster-manager"


class Managers:
    """m1, m2, … on loopback addresses of their own at the default ports; each lists all as peers."""

    def __init__(self) -> None:
        self.processes: list[Process] = []
        self.apis: list[Api] = []
        self.hosts: list[str] = []

    async def start(self, count: int, *options: str) -> None:
        """Start `count` at once; returns when each has said that it is listening."""
        net = block()
        self.hosts = [f"{net}.{number}" for number in range(1, count + 1)]
        peers = [f"--peer={host}" for host in self.hosts]
        for number, host in enumerate(self.hosts, start=1):
            own = ("--config=/dev/null", f"--name=m{number}", f"--bind={host}")
            self.processes.append(await start(f"m{number}", str(PROGRAM), *own, *peers, *options))
        await asyncio.gather(*(process.until_ready(" is listening: ") for process in self.processes))

    async def until_agreed(self, within: float = AGREE_SECONDS_MAX) -> Agreed:
        """Wait until each lists all as alive and `agree` finds no difference."""
        if not self.apis:
            self.apis = list(await asyncio.gather(*map(Api.open, self.hosts)))
        return await until_agreed(
            (partial(self._lists_all, api) for api in self.apis), self._differences, within
        )

    async def _lists_all(self, api: Api) -> bool:
        _, answer = await api.get("/api/v1/members")
        return [member["state"] for member in answer["members"]] == ["alive"] * len(self.hosts)

    async def _differences(self) -> list[str]:
        views = await asyncio.gather(*(api.view() for api in self.apis))
        return agree(dict(zip(self.hosts, views, strict=True)))

    async def kill(self) -> None:
        """End all at once."""
        for api in self.apis:
            api.close()
        await asyncio.gather(*(process.kill() for process in self.processes))
