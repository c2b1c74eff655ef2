"""No gateway: somebody else starts and stops it, this agent only counts as its node."""

import asyncio

from node.gateways.processes import Use


class NoGateway:
    """Always up; `run` ends with `stop`."""

    state = "running"
    restarts = 0

    def __init__(self) -> None:
        self._stop = asyncio.Event()

    async def run(self) -> None:
        await self._stop.wait()

    def stop(self) -> None:
        self._stop.set()

    def use(self) -> Use:
        return Use(0.0, 0)
