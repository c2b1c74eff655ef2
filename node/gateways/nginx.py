"""nginx: limits are `limit_req_zone` lines in a file that its configuration includes.

A reload keeps the state of a zone whose name, size and key stay, and takes its new rate at once. A HUP
with files that nginx cannot use returns 0 all the same, so `nginx -t` looks first, and whether new
workers came afterwards tells whether it was taken.
"""

import asyncio
import os
import re
import signal
from math import floor
from pathlib import Path

from node.config import GatewaySettings
from node.gateways.accesslog import AccessLog
from node.gateways.adapter import Adapter, Applied, ask_program, fetch
from node.gateways.errors import GatewayError
from node.gateways.files import Files
from node.gateways.processes import children_of
from node.gateways.supervisor import Supervisor
from node.protocol import Limit, Limits

_RELOAD_SECONDS_MAX = 10.0
_ZONE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class NginxGateway(Adapter):
    """`limits` in `gateway` is the file to include in `http { }`."""

    def __init__(self, settings: GatewaySettings, supervisor: Supervisor, files: Files) -> None:
        super().__init__(settings, supervisor, files)
        self._program = settings.program or "nginx"
        self._limits = Path(settings.limits)
        self._log = AccessLog(Path(settings.access_log), self._traffic) if settings.access_log else None
        if not self._limits.exists():
            self._may_start.clear()  # its configuration names zones that are not there yet

    async def start(self) -> None:
        try:
            await super().start()
        finally:
            if self._log is not None:
                self._log.close()

    async def prepare(self, limits: Limits) -> None:
        if self._files.read(self._limits) is None:
            self._files.write(self._limits, render(limits))

    async def apply_limits(self, limits: Limits) -> Applied:
        applied = await self._replace(self._limits, render(limits))
        self._may_start.set()
        return applied

    async def stats(self) -> dict[str, float]:
        """Of the access log, and of `stub_status`: every request, also those that a limit stopped."""
        counters: dict[str, float] = {}
        if self._log is not None:
            await self._log.read()
            counters = self._log.counters
        if not self._settings.stats:
            return counters
        text = (await fetch(self._settings.stats)).decode(errors="replace")
        match = re.search(r"^\s*(\d+)\s+(\d+)\s+(\d+)\s*$", text, re.MULTILINE)
        if match is None:
            raise GatewayError(f"{self._settings.stats} is not nginx's stub_status")
        return counters | {"gateway_requests": float(match[3])}

    async def _check(self, config: Path) -> None:
        await ask_program((self._program, "-t", "-q", "-c", str(config)))

    async def _into_force(self) -> Applied:
        await self._check(self._config)
        master = self._supervisor.pid
        if master is None or not (before := children_of(master)):
            return "reloaded"  # it reads the files when it starts
        os.kill(master, signal.SIGHUP)
        loop = asyncio.get_running_loop()
        ends = loop.time() + _RELOAD_SECONDS_MAX
        while not children_of(master) - before:
            if loop.time() > ends:
                raise GatewayError("nginx has not taken the new files: its error log says why")
            await asyncio.sleep(0.02)
        return "reloaded"


def render(limits: Limits) -> bytes:
    """The zones, one for each limit; raises `GatewayError` for a name that no zone can have."""
    lines = ["# Written by krakend-cluster-node. Use a zone by `limit_req zone=NAME burst=N nodelay;`."]
    for name, limit in sorted(limits.items()):
        if not _ZONE.fullmatch(name):
            raise GatewayError(f"limit {name!r}: nginx has no zone of that name; use letters, digits, `_.-`")
        key, size = ("$binary_remote_addr", "10m") if limit.per_client else ("all", "32k")
        lines.append(f"limit_req_zone {key} zone={name}:{size} rate={rate(limit)};")
    return ("\n".join(lines) + "\n").encode()


def rate(limit: Limit) -> str:
    """nginx knows whole numbers a second or a minute: the finer of both, rounded down, at least 1r/m."""
    a_second = limit.max_rate / limit.every
    if a_second >= 1 and a_second == floor(a_second):
        return f"{floor(a_second)}r/s"
    return f"{max(1, floor(a_second * 60 + 1e-6))}r/m"
