"""What nodes cost that just run: heartbeats with statistics at our managers, leases and puts at etcd.

Servers and nodes are processes of their own: `python -m benchmarks.heartbeats nodes|leases|values …` is the
latter.
"""

import argparse
import asyncio
import importlib
import json
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.clients import (
    REPORTED,
    Node,
    bytes_field,
    framed,
    hello,
    number_field,
    read_number_field,
)
from benchmarks.figures import Table, percentile
from benchmarks.groups import cpu_seconds, mebibytes
from benchmarks.joins import EtcdGrpc, lacks
from benchmarks.managers import Managers
from benchmarks.processes import BenchmarkError, Process, start
from manager.process import raise_files_limit
from node.codec import encode
from node.loop import run
from node.protocol import Report

NODES = 10_000
"""At one manager; half as many at three, and at etcd's."""
HEARTBEAT = 5.0
SECONDS = 30.0
READY_SECONDS_MAX = 120.0
DIALS_AT_ONCE = 50
LEASE_SECONDS = 15
_COUNTERS = ("agent_cpu_seconds", "agent_rss_bytes", "agent_uptime_seconds", "gateway_cpu_seconds",
             "gateway_rss_bytes", "gateway_restarts")  # fmt: skip


async def measure(options: argparse.Namespace) -> list[Table]:
    """One table; etcd is left out where it, or grpcio, is not installed, and that is said."""
    many, some = options.nodes, options.nodes // 2
    rows = [await _ours(3, some), await _ours(1, many)]
    ours, missing = rows[0], lacks(EtcdGrpc)
    note = f"- etcd is left out, for want of {missing}.\n" if missing else ""
    if not missing:
        theirs = [await _etcd(some, value=False), await _etcd(some, value=True)]
        rows[1:1] = theirs
    shown = [(row[0], f"{row[1]:,}", *row[3:]) for row in rows]
    if not missing:
        without, with_ = (ours[2] / row[2] for row in theirs)
        note = f"- Three managers need {with_:.2f} of etcd's CPU with the counters, {without:.2f} without.\n"
    head = (
        "who", "nodes", "of a core, all together", "CPU seconds a minute for 1,000", "resident, each",
        "KiB for a node", "heartbeats/s", "answered: median / p99 / longest",
    )  # fmt: skip
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    notes = f"""
- Every node says each {HEARTBEAT:g} s that it lives, with six counters; over {SECONDS:g} s, {HEARTBEAT:g} s
  after all were in. Ours keep their state on disk, by plain TCP; each node is a connection and is answered.
- etcd keeps a lease of {LEASE_SECONDS} s alive for each node and puts a key under it, by gRPC, all over one
  connection to each member: without a value, and with the counters as ours pack them.
- CPU is that of the members; nodes are another process. Resident: the most of the members. For a node: what
  it is more than before the first, the statistics of that time included.
- Open files: managers and nodes raise their limit to the hard one, here {files}; each connection is one.
{note}"""
    return [Table("Heartbeats", head, shown, notes)]


_Row = tuple[str, int, float, str, str, str, str, str, str]


async def _ours(managers: int, count: int) -> _Row:
    group = Managers()
    with tempfile.TemporaryDirectory(prefix="kcm-heartbeats") as folder:
        try:
            await group.start(managers, f"--state-dir={folder}")
            await group.until_agreed()
            name = "one of our managers" if managers == 1 else f"{managers} of our managers"
            pids = [process.pid for process in group.processes]
            return await _phase(name, "nodes", group.hosts, count, pids)
        finally:
            await group.kill()


async def _etcd(count: int, *, value: bool) -> _Row:
    etcd = EtcdGrpc()
    with tempfile.TemporaryDirectory(prefix="kcm-heartbeats") as folder:
        await etcd.begin(Path(folder))
        try:
            name = "etcd, with the counters" if value else "etcd, without"
            kind = "values" if value else "leases"
            return await _phase(name, kind, etcd.hosts, count, etcd.pids())
        finally:
            await etcd.end()


async def _phase(name: str, kind: str, hosts: Sequence[str], count: int, pids: Sequence[int]) -> _Row:
    before = max(mebibytes(pid, "Rss") for pid in pids)
    command = (sys.executable, "-m", "benchmarks.heartbeats", kind, str(count), *hosts)
    nodes = await start(kind, *command)
    try:
        async with asyncio.timeout(READY_SECONDS_MAX):
            await nodes.until_ready("all are in")
        await asyncio.sleep(HEARTBEAT)
        spent = sum(map(cpu_seconds, pids))
        nodes.send(signal.SIGUSR1)
        await asyncio.sleep(SECONDS)
        spent = sum(map(cpu_seconds, pids)) - spent
        seen = await _told(nodes)
    finally:
        await nodes.kill()
    resident = max(mebibytes(pid, "Rss") for pid in pids)
    per_node = (resident - before) * 1024 * len(pids) / count
    times = " / ".join(f"{1000 * one:.1f}" for one in seen["times"])
    return (
        name, count, spent / SECONDS, f"{100 * spent / SECONDS:.1f} %",
        f"{60 * spent / SECONDS * 1000 / count:.2f} s", f"{resident:.0f} MiB", f"{per_node:.0f}",
        f"{seen['said'] / SECONDS:.0f}", f"{times} ms",
    )  # fmt: skip


async def _told(nodes: Process) -> Any:
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    nodes.hears = lambda line: None if answer.done() or not line.startswith("{") else answer.set_result(line)
    nodes.send(signal.SIGUSR2)
    return json.loads(await asyncio.wait_for(answer, 30))


# The nodes


class Beats:
    """Says every heartbeat for each of many, at times of its own, and how soon each was answered."""

    def __init__(self) -> None:
        self._said = 0
        self._took: list[float] = []
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, self._begin)
        loop.add_signal_handler(signal.SIGUSR2, self._tell)

    def _begin(self) -> None:
        self._said, self._took = 0, []

    def _tell(self) -> None:
        took = self._took or [0.0]
        times = [percentile(took, 50), percentile(took, 99), max(took)]
        print(json.dumps({"said": self._said, "times": times}), flush=True)

    def said(self) -> float:
        """A heartbeat has gone out; when."""
        self._said += 1
        return time.monotonic()

    def answered(self, at: float) -> None:
        self._took.append(time.monotonic() - at)


def counters(number: int) -> dict[str, float]:
    """As an agent has them: all but the sizes grow."""
    grown = {name: number * 0.37 for name in _COUNTERS}
    return {**grown, "agent_rss_bytes": 36e6, "gateway_rss_bytes": 48e6, "gateway_restarts": 0.0}


async def nodes(count: int, hosts: Sequence[str]) -> None:
    """`count` nodes that join at `hosts` by turns, and report until they are ended."""
    beats, loop = Beats(), asyncio.get_running_loop()

    async def one(number: int) -> None:
        node = await Node.dial(hosts[number % len(hosts)], own=f"127.0.3.{1 + number % 200}")
        await node.joins(hello(f"n{number}"))
        node.lost = lambda: sys.exit("a manager closed a node's connection")
        _Reporter(beats, node, loop.time() + random.uniform(0, HEARTBEAT)).arm()

    await _at_once(count, one)
    print("all are in", flush=True)
    await asyncio.Event().wait()


class _Reporter:
    """One node's heartbeats."""

    __slots__ = ("_at", "_beats", "_node", "_number", "_since")

    def __init__(self, beats: Beats, node: Node, at: float) -> None:
        self._beats, self._node, self._at = beats, node, at
        self._number, self._since = 0, 0.0
        node.heard = self._heard

    def arm(self) -> None:
        asyncio.get_running_loop().call_at(self._at, self._report)

    def _report(self) -> None:
        self._number += 1
        report = Report(number=self._number, gateway="nginx: running", counters=counters(self._number))
        self._node.say(framed(encode(report)))
        self._since = self._beats.said()
        self._at += HEARTBEAT
        self.arm()

    def _heard(self, payload: bytes) -> None:
        if payload.startswith(REPORTED):
            self._beats.answered(self._since)


async def leases(count: int, hosts: Sequence[str], *, values: bool) -> None:
    """`count` leases at etcd's members by turns, each with a key, kept alive until this is ended."""
    beats = Beats()
    aio: Any = importlib.import_module("grpc.aio")
    channels = [aio.insecure_channel(f"{host}:2379") for host in hosts]
    puts = [channel.unary_unary("/etcdserverpb.KV/Put") for channel in channels]
    grants = [channel.unary_unary("/etcdserverpb.Lease/LeaseGrant") for channel in channels]
    queues: list[asyncio.Queue[bytes]] = [asyncio.Queue() for _ in hosts]

    async def asked(queue: "asyncio.Queue[bytes]") -> AsyncIterator[bytes]:
        while True:
            yield await queue.get()

    async def kept_alive(at: int) -> None:
        alive = channels[at].stream_stream("/etcdserverpb.Lease/LeaseKeepAlive")
        async for said in alive(asked(queues[at])):
            if read_number_field(said, 3) <= 0:
                sys.exit("etcd has let a lease end")

    keeping = [asyncio.create_task(kept_alive(at)) for at in range(len(hosts))]
    beating: list[asyncio.Task[None]] = []

    async def one(number: int) -> None:
        at = number % len(hosts)
        lease = read_number_field(await grants[at](number_field(1, LEASE_SECONDS)), 2)
        beating.append(asyncio.create_task(beat(number, at, lease)))

    async def beat(number: int, at: int, lease: int) -> None:
        await asyncio.sleep(random.uniform(0, HEARTBEAT))
        for turn in range(1, 10**9):
            next_at = asyncio.get_running_loop().time() + HEARTBEAT
            value = encode(Report(number=turn, gateway="nginx: running", counters=counters(turn)))
            queues[at].put_nowait(number_field(1, lease))
            since = beats.said()
            key = bytes_field(1, f"node/{number}".encode())
            await puts[at](key + bytes_field(2, value if values else b"") + number_field(3, lease))
            beats.answered(since)
            await asyncio.sleep(next_at - asyncio.get_running_loop().time())

    await _at_once(count, one)
    print("all are in", flush=True)
    await asyncio.gather(*keeping)


async def _at_once(count: int, one: Callable[[int], Awaitable[None]]) -> None:
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            await one(number)

    await asyncio.gather(*(some() for _ in range(DIALS_AT_ONCE)))


def main(arguments: Sequence[str]) -> None:
    kind, count, *hosts = arguments
    raise_files_limit()
    if kind == "nodes" and resource.getrlimit(resource.RLIMIT_NOFILE)[0] < int(count) + 100:
        sys.exit(f"{count} connections need more open files than this system allows: raise RLIMIT_NOFILE")
    if kind == "nodes":
        run(nodes(int(count), hosts))
    else:
        run(leases(int(count), hosts, values=kind == "values"))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except BenchmarkError as error:
        sys.exit(str(error))
