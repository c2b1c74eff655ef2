"""A gateway that is left alone: somebody else starts and ends it."""

import asyncio
import os
from pathlib import Path

from node.gateways import health
from node.gateways.errors import GatewayError
from node.gateways.processes import Use, process_id, use_of
from node.gateways.supervisor import OnLoop


class Alone:
    """A `Supervisor` that only looks; `run` ends with `stop`."""

    restarts = 0

    def __init__(self, health_url: str = "", pid_file: str = "") -> None:
        self.state = "starting" if health_url else "running"
        self._health_url, self._pid_file = health_url, pid_file
        self._stop = asyncio.Event()

    @property
    def pid(self) -> int | None:
        if not self._pid_file:
            return None
        try:
            pid = int(Path(self._pid_file).read_text())
            os.kill(pid, 0)
        except (OSError, ValueError, OverflowError):
            return None
        return pid if process_id(pid) else None

    async def run(self, on_loop: OnLoop) -> None:
        watch = asyncio.create_task(self._watch())
        await self._stop.wait()
        watch.cancel()

    def stop(self) -> None:
        self._stop.set()

    async def restart(self) -> None:
        raise GatewayError("it is left alone (`supervise: none`): restart it yourself")

    def use(self) -> Use:
        return Use(0.0, 0) if self.pid is None else use_of(self.pid)

    async def _watch(self) -> None:
        if self._health_url:
            await health.watch(self._health_url, self._heard_health)

    def _heard_health(self, healthy: bool) -> None:
        self.state = "running" if healthy else "unhealthy"
