"""Processes as /proc tells of them, and how to end a group of them."""

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from node.state import ProcessId

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_POLL_SECONDS = 0.05
_AFTER_KILL_SECONDS_MAX = 5.0


@dataclass(frozen=True, slots=True)
class Use:
    """What a process and its descendants have used."""

    cpu_seconds: float
    rss_bytes: int


def process_id(pid: int) -> ProcessId | None:
    """The process that now has this number, None if it is gone or only waits to be reaped."""
    fields = _stat(pid)
    if fields is None or fields[0] in ("Z", "X"):
        return None
    return ProcessId(pid=pid, start_time=int(fields[19]))


def is_alive(process: ProcessId) -> bool:
    return process_id(process.pid) == process


def use_of(pid: int, descend: bool = True) -> Use:
    """Of `pid` and all below it, with those that it has reaped; zero for who is gone."""
    fields = _stat(pid)
    if fields is None:
        return Use(0.0, 0)
    cpu_seconds = sum(int(ticks) for ticks in fields[11:15]) / _TICKS
    rss_bytes = int(fields[21]) * _PAGE
    if not descend:
        return Use(cpu_seconds, rss_bytes)
    for child in children_of(pid):
        below = use_of(child)
        cpu_seconds += below.cpu_seconds
        rss_bytes += below.rss_bytes
    return Use(cpu_seconds, rss_bytes)


def children_of(pid: int) -> set[int]:
    """The direct children of `pid`'s main thread; none if it is gone."""
    try:
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except OSError:
        return set()


async def end_group(
    group: int,
    patience: float,
    hurry: asyncio.Event | None = None,
    number: signal.Signals = signal.SIGTERM,
) -> bool:
    """Signal `number` to all of the group, SIGKILL when `patience` is over or `hurry` set.

    Returns when nobody is left; False in the rare case that even SIGKILL has not ended somebody.
    """
    _signal_group(group, number)
    await _until_gone(group, patience, hurry)
    _signal_group(group, signal.SIGKILL)
    await _until_gone(group, _AFTER_KILL_SECONDS_MAX, None)
    return not _is_group(group)


async def _until_gone(group: int, seconds: float, hurry: asyncio.Event | None) -> None:
    # Nothing tells of a group's end: its processes need not be our children.
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while _is_group(group):
        if loop.time() >= until or (hurry is not None and hurry.is_set()):
            return
        await asyncio.sleep(_POLL_SECONDS)


def _is_group(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the third on, which follow the name in parentheses."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
