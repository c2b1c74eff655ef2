"""On what the figures were taken: without it they mean nothing."""

import os
import platform
import shutil
import subprocess
import time
from pathlib import Path

from benchmarks.serf import installed

ROOT = Path(__file__).resolve().parent.parent


def description(command: str, load_before: float) -> list[str]:
    """Lines for the head of the results."""
    load = f"{load_before:.2f} before, {os.getloadavg()[0]:.2f} after, our own included"
    system = f"kernel {platform.release()}, Python {platform.python_version()}"
    return [
        f"- machine: {os.cpu_count()} cores ({_processor()}), {system}; load {load}",
        f"- ours: {commit()}; serf: {_serf()}",
        f"- command: `{command}`, {time.strftime('%Y-%m-%d', time.gmtime())}",
    ]


def commit() -> str:
    """Of this checkout, with `-dirty` where it was changed since."""
    return _said("git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*") or "unknown"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _serf() -> str:
    if not installed():
        return "not installed, so ours stands alone"
    return _said("dpkg-query", "-W", "-f=${Version}", "serf") or "of a version that dpkg does not know"


def _said(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout.strip()
