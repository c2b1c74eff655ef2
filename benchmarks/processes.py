"""Real processes for measurements: when each was started, and when it said what.

Only processes that were started here are ever ended.
"""

import asyncio
import contextlib
import itertools
import os
import random
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

READY_SECONDS_MAX = 60.0
GOSSIP_PORT = 7946
_BLOCKS = itertools.count(random.randrange(1, 200))


class BenchmarkError(Exception):
    """Nothing can be measured; the text says why."""


def block() -> str:
    """The first three numbers of loopback addresses on which nobody listens for gossip."""
    for _ in range(200):
        net = f"127.{100 + next(_BLOCKS) % 100}.{random.randrange(1, 255)}"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
            probe.bind((f"{net}.1", GOSSIP_PORT))
            return net
    raise BenchmarkError(f"port {GOSSIP_PORT} is taken on every loopback address that was tried")


@dataclass(slots=True)
class Process:
    """A program whose output is read as it comes. Times are `time.monotonic()`."""

    name: str
    child: asyncio.subprocess.Process
    started: float
    ready: float = 0.0
    """When the line that was waited for arrived; 0 before."""
    said: deque[str] = field(default_factory=lambda: deque(maxlen=20))
    hears: Callable[[str], None] = lambda line: None
    """Called with each line as it comes."""
    _reader: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        return self.child.pid

    async def until_ready(self, line: str) -> None:
        """Wait for a line with `line` in it and note when it came; call once. Later output is drained."""
        try:
            async with asyncio.timeout(READY_SECONDS_MAX):
                await self._read_until(line)
        except TimeoutError:
            raise BenchmarkError(f"{self.name} was not ready in {READY_SECONDS_MAX:g} s") from None
        self.ready = time.monotonic()
        self._reader = asyncio.create_task(self._read_until(None))

    async def _read_until(self, line: str | None) -> None:
        assert self.child.stdout is not None
        async for raw in self.child.stdout:
            text = raw.decode(errors="replace").rstrip()
            self.said.append(text)
            self.hears(text)
            if line is not None and line in text:
                return
        if line is not None:
            raise BenchmarkError(f"{self.name} ended: " + " | ".join(self.said))

    def send(self, number: signal.Signals) -> None:
        """Signal it, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self.child.send_signal(number)

    async def kill(self) -> None:
        """End it at once, with whatever it would still have liked to say."""
        self.send(signal.SIGKILL)
        await self.child.wait()
        if self._reader is not None:
            await self._reader


async def start(name: str, *command: str) -> Process:
    """Start `command` in a session of its own, without variables that make it another than users run.

    Those are what would configure a manager, and what would have Python compile our modules at each start.
    """
    kept = (key for key in os.environ if not key.startswith("KCM_") and key != "PYTHONDONTWRITEBYTECODE")
    environ = {key: os.environ[key] for key in kept}
    started = time.monotonic()
    child = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environ,
        start_new_session=True,
    )
    return Process(name, child, started)


async def seconds_to_run(*command: str) -> float:
    """From the start of `command` to its end."""
    process = await start(command[0], *command)
    try:
        async with asyncio.timeout(READY_SECONDS_MAX):
            await process.child.communicate()
    finally:
        took = time.monotonic() - process.started
        await process.kill()
    return took
