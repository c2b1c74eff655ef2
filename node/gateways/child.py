"""A gateway that this agent starts: both live and die together.

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
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from random import Random

from node.backoff import full_jitter
from node.gateways import health
from node.gateways.errors import GatewayError
from node.gateways.output import Output
from node.gateways.processes import Use, end_group, is_alive, process_id, use_of
from node.gateways.supervisor import CRASHES_MAX, STEADY_SECONDS, OnLoop
from node.state import ProcessId, StateError

_LOG = logging.getLogger(__name__)
_HERE = Path(__file__).parent
_DAEMON_SECONDS = 2.0
"""One that ends well within this may have left a daemon, which no agent would look after."""
_RESTART_SECONDS_MAX = 30.0
"""After a restart that we asked for, beyond the time for draining, it must be well within this."""

_PROOF_SECONDS = 1.0
"""Without a health URL, a gateway that lives this long after a restart counts as up."""


class Child:
    """A `Supervisor` of a process; `run` it once."""

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        record: Callable[[ProcessId | None], None],
        *,
        health_url: str = "",
        stop_timeout: float = 30.0,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        """`record` is told of every process that is started, and of None when there is none left.

        `stop_signal` is that for a graceful end; after `stop_timeout` seconds follows SIGKILL.
        """
        self.state = "starting"
        """`starting`, `running`, `unhealthy`, `restarting`, `stopping` or `stopped`."""
        self.restarts = 0
        self._command = tuple(command)
        self._environ = gateway_environment(environ)
        self._record = record
        self._health_url, self._stop_timeout, self._stop_signal = health_url, stop_timeout, stop_signal
        self._process: Process | None = None
        self._output = Output()
        self._stop, self._hurry, self._again = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._cpu_seconds_before, self._cpu_seconds = 0.0, 0.0

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    async def run(self, on_loop: OnLoop) -> None:
        loop, rng = asyncio.get_running_loop(), Random()
        crashes = 0
        while not self._stop.is_set():
            started = loop.time()
            self._again.clear()
            try:
                code = await self._run_once()
            except OSError as error:
                _LOG.error("The gateway cannot be started: %s", error)
                code = 1
            seconds = loop.time() - started
            if self._stop.is_set():
                break
            if self._again.is_set():
                continue
            if code in (0, -signal.SIGTERM, -signal.SIGINT):
                _LOG.info("The gateway %s: its operator has stopped it", _shown(code))
                if code == 0 and seconds < _DAEMON_SECONDS:
                    _LOG.warning(
                        "Did it go to the background? Make it stay in front, as nginx -g 'daemon off;'"
                    )
                break
            crashes = 0 if seconds >= STEADY_SECONDS else crashes + 1
            if crashes == CRASHES_MAX:
                await on_loop(self._output.last_lines())
            delay = full_jitter(crashes, rng, first=0.5, longest=30.0)
            self.state = "restarting"
            self.restarts += 1
            _LOG.warning("The gateway %s: next start in %.1f s", _shown(code), delay)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), delay)
        self.state = "stopped"

    def stop(self) -> None:
        """The stop signal, and SIGKILL after the stop timeout; called again, SIGKILL at once."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def restart(self) -> None:
        """End it gracefully and start it anew; returns once it runs. Raises `GatewayError`."""
        before = self._process
        if before is None:
            return  # whoever starts it next reads the new files anyway
        loop, crashes = asyncio.get_running_loop(), self.restarts
        ends = loop.time() + self._stop_timeout + _RESTART_SECONDS_MAX
        self._again.set()
        well_since = loop.time()
        while not self._stop.is_set():
            if self.restarts > crashes:
                raise GatewayError(f"it crashes after its restart: {self._output.last_lines()}")
            proof = 0.0 if self._health_url else _PROOF_SECONDS
            new = self._process not in (None, before) and self.state == "running"
            well_since = well_since if new else loop.time()
            if new and loop.time() - well_since >= proof:
                return
            if loop.time() > ends:
                raise GatewayError(f"it is {self.state} after its restart: {self._output.last_lines()}")
            await asyncio.sleep(0.05)

    def use(self) -> Use:
        """CPU seconds of all its processes so far, memory of the present one."""
        if self._process is None:
            return Use(self._cpu_seconds_before, 0)
        use = use_of(self._process.pid)
        self._cpu_seconds = max(self._cpu_seconds, use.cpu_seconds)
        return Use(self._cpu_seconds_before + self._cpu_seconds, use.rss_bytes)

    async def _run_once(self) -> int:
        """Start it, see to its end, leave nobody of its group behind; returns its exit code."""
        reading, writing = os.pipe()
        try:
            process = await self._start(writing)
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        output: asyncio.Task[None] | None = None
        try:
            async with self._undertaker(process.pid, reading):
                output = asyncio.create_task(self._output.follow(reading))
                return await self._until_end(process)
        finally:
            await end_group(process.pid, 0.0)
            if output is not None:
                # Its end comes with that of the last writer; who left the group may keep the pipe.
                await asyncio.wait({output}, timeout=0.5)
                output.cancel()
            self.use()
            self._process = None
            self._cpu_seconds_before, self._cpu_seconds = self._cpu_seconds_before + self._cpu_seconds, 0.0
            self._record_or_warn(None)

    async def _until_end(self, process: Process) -> int:
        watch = asyncio.create_task(self._watch_health())
        ended = asyncio.create_task(process.wait())
        asked = [asyncio.create_task(event.wait()) for event in (self._stop, self._again)]
        try:
            await asyncio.wait({ended, *asked}, return_when=asyncio.FIRST_COMPLETED)
            watch.cancel()
            if not ended.done():
                self.state = "stopping"
            if not await end_group(process.pid, self._stop_timeout, self._hurry, self._stop_signal):
                _LOG.error("Some process of the gateway's group %d does not end", process.pid)
            return await ended
        finally:
            for task in (watch, ended, *asked):
                task.cancel()

    async def _start(self, output: int) -> Process:
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_HERE / "launch.py"), str(os.getpid()), *self._command),
            stdin=DEVNULL,
            stdout=output,
            stderr=output,
            env=self._environ,
            start_new_session=True,
        )
        self._record_or_warn(process_id(process.pid))
        self.state = "starting" if self._health_url else "running"
        _LOG.info("The gateway is started, pid %d: %s", process.pid, " ".join(self._command))
        return process

    @contextlib.asynccontextmanager
    async def _undertaker(self, group: int, output: int) -> AsyncIterator[None]:
        undertaker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_HERE / "undertaker.py")),
            *(str(group), str(self._stop_timeout), str(output)),
            pass_fds=(output,),
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
        if self._health_url:
            await health.watch(self._health_url, self._heard_health)

    def _heard_health(self, healthy: bool) -> None:
        if healthy and self.state != "running":
            _LOG.info("The gateway is healthy")
            self.state = "running"
        elif not healthy and self.state == "running":
            _LOG.warning("The gateway is not healthy: %s", self._health_url)
            self.state = "unhealthy"

    def _record_or_warn(self, process: ProcessId | None) -> None:
        try:
            self._record(process)
        except StateError as error:
            _LOG.warning("The gateway's process is not recorded: %s", error)


async def end_leftover(process: ProcessId | None, patience: float, agent: ProcessId | None = None) -> None:
    """End the gateway that an earlier agent recorded, if it still runs and that `agent` does not."""
    if process is None or not is_alive(process):
        return
    if agent is not None and is_alive(agent):
        _LOG.warning(
            "This state was copied from an agent that still runs, pid %d: its gateway, pid %d, is left alone",
            *(agent.pid, process.pid),
        )
        return
    _LOG.warning("The gateway of an earlier agent still runs, pid %d: ending it first", process.pid)
    if not await end_group(process.pid, patience):
        raise StateError(f"the gateway of an earlier agent, pid {process.pid}, does not end: end it by hand")


_OURS = {"KRAKEND_SEED", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"}
"""What systemd wants to know, it wants to know of us."""


def gateway_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` without what is ours."""
    return {
        name: value
        for name, value in environ.items()
        if name not in _OURS and not name.startswith(("KRAKEND_NODE_", "KCM_"))
    }


def _shown(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
