"""A gateway that is a unit of systemd: systemd starts and restarts it, the agent watches.

A drop-in binds the unit to the agent (`BindsTo=`), so that neither runs without the other.
"""

import asyncio
import contextlib
import logging

from node.gateways import health
from node.gateways.adapter import ask_program
from node.gateways.errors import GatewayError
from node.gateways.processes import Use, use_of
from node.gateways.supervisor import CRASHES_MAX, STEADY_SECONDS, OnLoop

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0
_RESTART_SECONDS_MAX = 60.0


class Unit:
    """A `Supervisor` by `systemctl`; `run` it once."""

    def __init__(self, unit: str, health_url: str = "") -> None:
        self.state = "starting"
        """`starting`, `running`, `unhealthy`, `failed`, or systemd's own word."""
        self.restarts = 0
        self.pid: int | None = None
        self._unit, self._health_url = unit, health_url
        self._healthy = not health_url
        self._stop = asyncio.Event()
        self._cpu_seconds_before, self._cpu_seconds = 0.0, 0.0

    async def run(self, on_loop: OnLoop) -> None:
        watch = asyncio.create_task(self._watch())
        try:
            if not self._stop.is_set():
                await self._start()
            await self._look_until_end(on_loop)
        finally:
            watch.cancel()
            if self._stop.is_set():
                with contextlib.suppress(GatewayError):
                    await ask_program(("systemctl", "stop", self._unit))
            self.state = "stopped"

    def stop(self) -> None:
        """`systemctl stop`, whose time is the unit's `TimeoutStopSec`."""
        self._stop.set()

    async def restart(self) -> None:
        await ask_program(("systemctl", "restart", self._unit))
        ends = asyncio.get_running_loop().time() + _RESTART_SECONDS_MAX
        while not self._stop.is_set():
            await asyncio.sleep(_LOOK_SECONDS)
            await self._look()
            if self.state == "running":
                return
            if asyncio.get_running_loop().time() > ends:
                raise GatewayError(f"it is {self.state} after its restart: {await self._last_lines()}")

    def use(self) -> Use:
        use = Use(0.0, 0) if self.pid is None else use_of(self.pid)
        if use.cpu_seconds < self._cpu_seconds:  # another process than before
            self._cpu_seconds_before += self._cpu_seconds
        self._cpu_seconds = use.cpu_seconds
        return Use(self._cpu_seconds_before + self._cpu_seconds, use.rss_bytes)

    async def _start(self) -> None:
        try:
            await ask_program(("systemctl", "start", self._unit))
            _LOG.info("The gateway is started: %s", self._unit)
        except GatewayError as error:
            _LOG.error("The gateway cannot be started: %s", error)

    async def _look_until_end(self, on_loop: OnLoop) -> None:
        loop = asyncio.get_running_loop()
        crashes, steady_at = 0, loop.time() + STEADY_SECONDS
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _LOOK_SECONDS)
            before = self.restarts
            try:
                await self._look()
            except GatewayError as error:
                _LOG.warning("%s", error)
                continue
            if self.restarts > before or self.state == "failed":
                crashes = 1 if loop.time() >= steady_at else crashes + max(1, self.restarts - before)
                steady_at = loop.time() + STEADY_SECONDS
            if self.state == "inactive":
                _LOG.info("%s is inactive: its operator has stopped it", self._unit)
                return
            if crashes >= CRASHES_MAX or self.state == "failed":
                crashes = 0
                await on_loop(await self._last_lines())
                with contextlib.suppress(GatewayError):
                    await ask_program(("systemctl", "reset-failed", self._unit))
                await self._start()

    async def _look(self) -> None:
        """What systemd says of the unit now."""
        names = "ActiveState,MainPID,NRestarts"
        shown = await ask_program(("systemctl", "show", self._unit, f"--property={names}"))
        values = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        active = values.get("ActiveState", "unknown")
        pid, restarts = values.get("MainPID", "0"), values.get("NRestarts", "0")
        self.pid = int(pid) if pid.isdecimal() and int(pid) else None
        self.restarts = int(restarts) if restarts.isdecimal() else self.restarts
        if active in ("active", "reloading"):
            self.state = "running" if self._healthy else "unhealthy"
        else:
            self.state = {"activating": "starting", "deactivating": "stopping"}.get(active, active)

    async def _last_lines(self) -> str:
        try:
            printed = await ask_program(
                ("journalctl", "-u", self._unit, "-n", "5", "-o", "cat", "--no-pager")
            )
        except GatewayError as error:
            return str(error)
        return " | ".join(line.strip() for line in printed.splitlines() if line.strip())

    async def _watch(self) -> None:
        if self._health_url:
            await health.watch(self._health_url, self._heard_health)

    def _heard_health(self, healthy: bool) -> None:
        self._healthy = healthy
