"""Start the demo as its user does, read along, and see that nothing is left of it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ALL_IN = "Three managers and five nodes are in."


@dataclass
class Demo:
    process: subprocess.Popen[str]
    mark: str
    first_port: int
    lines: list[str] = field(default_factory=list)

    def read_until(self, part: str) -> str:
        """The first line from here on that holds `part`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if part in line:
                return line
        raise AssertionError(f"the demo ended without {part!r}:\n" + "\n".join(self.lines))

    def end(self) -> tuple[int, str]:
        """Its exit code, and all it said from here on."""
        rest, _ = self.process.communicate(timeout=120)
        return self.process.returncode, rest

    def folder(self, name: str) -> Path:
        return ROOT / ".demo" / str(self.first_port) / name

    def processes(self) -> dict[int, list[str]]:
        """Every process that the demo started, directly or not, and itself: pid and command line."""
        found = {}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                pid = int(entry.name)
                if f"DEMO_MARK={self.mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found[pid] = (entry / "cmdline").read_text().split("\0")
        return found

    def pid_of(self, name: str) -> int:
        """The process that was given the configuration in `name`'s folder."""
        folder = str(self.folder(name))
        pids = [
            pid for pid, words in self.processes().items() if any(w.startswith(f"{folder}/") for w in words)
        ]
        return min(pids)


@contextlib.contextmanager
def demo(*arguments: str, command: tuple[str, ...] | None = None, **variables: str) -> Iterator[Demo]:
    """A running demo on ports of its own; it has left nothing when the block ends, or the test fails."""
    with port_block() as first_port:
        mark = uuid.uuid4().hex
        if command is None:
            command = (sys.executable, str(ROOT / "deploy" / "demo.py"), "--ports", str(first_port))
        process = subprocess.Popen(
            [*command, *arguments],
            env={**os.environ, "DEMO_MARK": mark, "PORTS": str(first_port), "MAKEFLAGS": "", **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            process_group=0,
        )
        running = Demo(process, mark, first_port)
        with process:
            try:
                yield running
                eventually(lambda: not running.processes(), within=5.0)
                assert running.processes() == {}
            finally:
                for pid in running.processes():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)


def eventually(true: Callable[[], bool], within: float) -> None:
    deadline = time.monotonic() + within
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)


@contextlib.contextmanager
def port_block() -> Iterator[int]:
    """The first of thirty free ports in a row, which no other test uses until the block ends."""
    with contextlib.ExitStack() as held:
        yield next(first for first in range(15000, 32000, 50) if _take(first, held))


def _take(first: int, held: contextlib.ExitStack) -> bool:
    # Tests that look at the same time keep apart by the name of an abstract socket: it belongs to the same
    # network namespace as the ports, and goes with its process.
    try:
        held.enter_context(socket.socket(socket.AF_UNIX)).bind(f"\0port-block-{first}")
        with contextlib.ExitStack() as probes:
            for port in range(first, first + 30):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    probes.enter_context(socket.socket(socket.AF_INET, kind)).bind(("127.0.0.1", port))
    except OSError:
        return False
    return True
