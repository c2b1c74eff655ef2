"""A gateway that is a command: it lives and dies with this agent.

Ended by exit 0, SIGTERM or SIGINT it was stopped by its operator; ended in any other way it has
crashed, and is started again after a back-off. It leads a process group of its own. If the agent is
killed, the kernel sends it SIGTERM (`launch`), and whoever of its group is left after the stop
timeout gets SIGKILL (`undertaker`); should both be killed too, the next agent ends it first.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from random import Random

import aiohttp

from node.backoff import full_jitter
from node.config import GatewaySettings
from node.gateways.processes import Use, end_group, is_alive, process_id, use_of
from node.state import ProcessId, StateError

_LOG = logging.getLogger(__name__)
_HERE = Path(__file__).parent
_STEADY_SECONDS = 60.0
"""A gateway that ran for so long starts the back-off anew when it crashes."""
_DAEMON_SECONDS = 2.0
"""One that ends well in so short a time may have left a daemon, which no agent would look after."""
_HEALTH_SECONDS = 2.0
"""Between two questions after its health, and the longest wait for an answer."""


class CommandGateway:
    """Run `run()` once; it returns when the gateway was stopped, by `stop` or by its operator."""

    def __init__(
        self,
        settings: GatewaySettings,
        environ: Mapping[str, str],
        record: Callable[[ProcessId | None], None],
    ) -> None:
        """`record` is told of every process that is started, and of None when there is none left."""
        self.state = "starting"
        """`starting`, `running`, `unhealthy`, `restarting`, `stopping` or `stopped`."""
        self.restarts = 0
        self._settings = settings
        self._environ = gateway_environment(environ)
        self._record = record
        self._process: Process | None = None
        self._stop, self._hurry = asyncio.Event(), asyncio.Event()
        self._cpu_seconds_before, self._cpu_seconds = 0.0, 0.0

    async def run(self) -> None:
        loop, rng = asyncio.get_running_loop(), Random()
        step = 0
        while not self._stop.is_set():
            started = loop.time()
            try:
                code = await self._run_once()
            except OSError as error:
                _LOG.error("The gateway cannot be started: %s", error)
                code = 1
            seconds = loop.time() - started
            if self._stop.is_set():
                break
            if code in (0, -signal.SIGTERM, -signal.SIGINT):
                _LOG.info("The gateway %s: its operator has stopped it", _shown(code))
                if code == 0 and seconds < _DAEMON_SECONDS:
                    _LOG.warning(
                        "Did it go to the background? Make it stay in front, as nginx -g 'daemon off;'"
                    )
                break
            step = 0 if seconds >= _STEADY_SECONDS else step + 1
            delay = full_jitter(step, rng, first=0.5, longest=30.0)
            self.state = "restarting"
            self.restarts += 1
            _LOG.warning("The gateway %s: next start in %.1f s", _shown(code), delay)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), delay)
        self.state = "stopped"

    def stop(self) -> None:
        """SIGTERM, and SIGKILL after the stop timeout; called again, SIGKILL at once."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    def use(self) -> Use:
        """CPU seconds of all its processes so far, memory of the present one."""
        if self._process is None:
            return Use(self._cpu_seconds_before, 0)
        use = use_of(self._process.pid)
        self._cpu_seconds = max(self._cpu_seconds, use.cpu_seconds)
        return Use(self._cpu_seconds_before + self._cpu_seconds, use.rss_bytes)

    async def _run_once(self) -> int:
        """Start it, see to its end, leave nobody of its group behind; returns its exit code."""
        process = await self._start()
        try:
            async with self._undertaker(process.pid):
                return await self._until_end(process)
        finally:
            await end_group(process.pid, 0.0)
            self.use()
            self._process = None
            self._cpu_seconds_before, self._cpu_seconds = self._cpu_seconds_before + self._cpu_seconds, 0.0
            self._record_or_warn(None)

    async def _until_end(self, process: Process) -> int:
        health = asyncio.create_task(self._watch_health())
        ended = asyncio.create_task(process.wait())
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
            health.cancel()
            if not ended.done():
                self.state = "stopping"
            if not await end_group(process.pid, self._settings.stop_timeout, self._hurry):
                _LOG.error("Some process of the gateway's group %d does not end", process.pid)
            return await ended
        finally:
            for task in (health, ended, stopped):
                task.cancel()

    async def _start(self) -> Process:
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_HERE / "launch.py"), str(os.getpid()), *self._settings.run),
            stdin=DEVNULL,
            env=self._environ,
            start_new_session=True,
        )
        self._record_or_warn(process_id(process.pid))
        self.state = "starting" if self._settings.health else "running"
        _LOG.info("The gateway is started, pid %d: %s", process.pid, " ".join(self._settings.run))
        return process

    @contextlib.asynccontextmanager
    async def _undertaker(self, group: int) -> AsyncIterator[None]:
        undertaker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_HERE / "undertaker.py")),
            *(str(group), str(self._settings.stop_timeout)),
            stdin=PIPE,
            stdout=DEVNULL,
            stderr=DEVNULL,
            env={},
            start_new_session=True,
        )
        assert undertaker.stdin is not None
        try:
            yield
        finally:
            with contextlib.suppress(ConnectionError):
                undertaker.stdin.write(b"\n")
                await undertaker.stdin.drain()
            await undertaker.wait()

    async def _watch_health(self) -> None:
        if not self._settings.health:
            return
        timeout = aiohttp.ClientTimeout(total=_HEALTH_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as client:
            while True:
                healthy = await _is_healthy(client, self._settings.health)
                if healthy and self.state != "running":
                    _LOG.info("The gateway is healthy")
                    self.state = "running"
                elif not healthy and self.state == "running":
                    _LOG.warning("The gateway is not healthy: %s", self._settings.health)
                    self.state = "unhealthy"
                await asyncio.sleep(_HEALTH_SECONDS if healthy else _HEALTH_SECONDS / 4)

    def _record_or_warn(self, process: ProcessId | None) -> None:
        try:
            self._record(process)
        except StateError as error:
            _LOG.warning("The gateway's process is not recorded: %s", error)


async def end_leftover(process: ProcessId | None, patience: float) -> None:
    """End the gateway that an earlier agent recorded, if it still runs."""
    if process is None or not is_alive(process):
        return
    _LOG.warning("The gateway of an earlier agent still runs, pid %d: ending it first", process.pid)
    if not await end_group(process.pid, patience):
        raise StateError(f"the gateway of an earlier agent, pid {process.pid}, does not end: end it by hand")


def gateway_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` without what is ours."""
    return {
        name: value
        for name, value in environ.items()
        if name != "KRAKEND_SEED" and not name.startswith(("KRAKEND_NODE_", "KCM_"))
    }


async def _is_healthy(client: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with client.get(url) as response:
            return 200 <= response.status < 300
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


def _shown(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
