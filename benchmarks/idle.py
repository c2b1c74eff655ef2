"""What an idle group costs: processor, memory, and traffic in quiescence.

Each system runs in a network namespace of its own where one can be had, so that the loopback's counters
are its own: `python -m benchmarks.idle managers SECONDS` is the process inside.
"""

import asyncio
import fcntl
import json
import os
import shutil
import socket
import struct
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.figures import Table
from benchmarks.groups import cpu_seconds, mebibytes
from benchmarks.managers import Managers
from benchmarks.processes import BenchmarkError, start
from benchmarks.serf import Agents, installed
from node.loop import run

SIZE = 3
SECONDS = 20.0
SETTLE_SECONDS = 5.0
NOTES = f"""
- Over {SECONDS:g} s, {SETTLE_SECONDS:g} s after all agreed, nobody asking anything; no nodes. Mean of the
  three.
- Packets and bytes are what each sends: UDP, and TCP with its acknowledgements, with IP headers, as counted
  by the loopback of a network namespace of its own.
"""
_SIOCSIFFLAGS, _IFF_UP_RUNNING = 0x8914, 0x41


@dataclass(frozen=True, slots=True)
class Idle:
    """Per process: per cent of a core, MiB resident (and its share of shared pages), sent per second."""

    cpu: float
    rss: float
    pss: float
    packets: float
    bytes: float


async def measure(rounds: int) -> list[Table]:
    """All systems at the same time; `rounds` does not matter."""
    names = ["managers", *(["serf"] if installed() else [])]
    found = await asyncio.gather(*map(_in_namespace, names))
    rows = [
        (
            {"managers": "ours", "serf": "serf"}[name],
            f"{idle.cpu:.2f} %",
            f"{idle.rss:.1f} MiB",
            f"{idle.pss:.1f} MiB",
            f"{idle.packets:.2f}",
            f"{idle.bytes:.0f}",
        )
        for name, idle in zip(names, found, strict=True)
    ]
    head = ("each of 3", "of a core", "resident", "of it, shared pages divided", "packets/s", "bytes/s")
    return [Table("An idle group of three", head, rows, NOTES)]


async def _in_namespace(system: str) -> Idle:
    if shutil.which("unshare") is None:
        raise BenchmarkError("unshare (package util-linux) is needed to count a group's own traffic")
    rights = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    inside = (sys.executable, "-m", "benchmarks.idle", system)
    # --kill-child: whatever ends unshare ends the group inside with it.
    process = await start(
        system, "unshare", *rights, "--net", "--pid", "--fork", "--kill-child", "--mount-proc", *inside
    )
    try:
        async with asyncio.timeout(SECONDS + SETTLE_SECONDS + 60.0):
            output, _ = await process.child.communicate()
    finally:
        await process.kill()
    try:
        return Idle(**json.loads(output.splitlines()[-1]))
    except (ValueError, TypeError, IndexError):
        raise BenchmarkError(output.decode(errors="replace").strip()) from None


async def _inside(system: str) -> Idle:
    _loopback_up()
    group: Managers | Agents = Managers() if system == "managers" else Agents()
    try:
        await group.start(SIZE)
        await group.until_agreed()
        if isinstance(group, Managers):
            for api in group.apis:
                api.close()
        await asyncio.sleep(SETTLE_SECONDS)
        pids = [process.pid for process in group.processes]
        cpu, sent = -sum(map(cpu_seconds, pids)), _sent()
        await asyncio.sleep(SECONDS)
        cpu += sum(map(cpu_seconds, pids))
        packets, sent_bytes = (now - was for now, was in zip(_sent(), sent, strict=True))
        each = SIZE * SECONDS
        return Idle(
            cpu=100 * cpu / each,
            rss=sum(mebibytes(pid, "Rss") for pid in pids) / SIZE,
            pss=sum(mebibytes(pid, "Pss") for pid in pids) / SIZE,
            packets=packets / each,
            bytes=sent_bytes / each,
        )
    finally:
        await group.kill()


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP_RUNNING))


def _sent() -> list[int]:
    """Packets and bytes that have left by the loopback."""
    [line] = [
        line for line in Path("/proc/net/dev").read_text().splitlines() if line.strip().startswith("lo:")
    ]
    columns = line.split(":")[1].split()
    return [int(columns[9]), int(columns[8])]


if __name__ == "__main__":
    print(json.dumps(asdict(run(_inside(sys.argv[1])))))
