"""One manager with 10,000 nodes by TLS, of which a tenth misbehaves: what becomes of the others.

Manager, well-behaved nodes and bad ones are three processes; `python -m benchmarks.load well|bad …` is one of
the latter two. A node here is a connection that says hello and reports as an agent does.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import resource
import secrets
import signal
import ssl
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.clients import framed
from benchmarks.figures import Table, percentile
from benchmarks.groups import cpu_seconds, mebibytes
from benchmarks.managers import PROGRAM
from benchmarks.processes import BenchmarkError, Process, block, start
from manager.process import raise_files_limit
from node.codec import decode, encode
from node.loop import run
from node.protocol import PATH, SUBPROTOCOL, Hello, Report, Reported, Welcome
from tests.authority import Authority

NODES, BAD = 10_000, 1_000
HEARTBEAT = 5.0
QUIET_SECONDS, BAD_SECONDS = 30.0, 60.0
CONNECT_SECONDS_MAX = 600.0
AT_ONCE = 50
"""Handshakes that a client has under way."""
COMES_AGAIN_SECONDS = 10.0
"""How long a client that was thrown out for garbage waits before it comes again."""
KINDS = ("slow reader", "flood", "garbage")
_COUNTERS = {
    "agent_cpu_seconds": 1.5,
    "agent_rss_bytes": 36e6,
    "agent_uptime_seconds": 1e4,
    "gateway_cpu_seconds": 99.0,
    "gateway_rss_bytes": 48e6,
    "gateway_restarts": 0.0,
}


@dataclass(slots=True)
class Seen:
    """What the well-behaved nodes saw in one phase."""

    reports: int = 0
    took: list[float] = field(default_factory=list)
    lost: int = 0
    waiting: int = 0
    """Reports older than a heartbeat that had no answer when the phase ended."""


async def measure(options: argparse.Namespace) -> list[Table]:
    """Without and with the bad ones."""
    count, bad = options.nodes, options.nodes // 10
    with tempfile.TemporaryDirectory(prefix="kcm-load") as folder:
        authority = Authority(Path(folder))
        host = f"{block()}.1"
        cert, key = authority.issue("m1", host)
        tls = (f"--tls-cert={cert}", f"--tls-key={key}", f"--tls-ca={authority.ca}")
        names = ("--config=/dev/null", "--name=m1", f"--bind={host}", "--log-level=warning")
        manager = await start("m1", str(PROGRAM), *names, *tls)
        clients: list[Process] = []
        try:
            await _until_up(host, authority.ca)
            before = mebibytes(manager.pid, "Rss")
            here = (sys.executable, "-m", "benchmarks.load")
            well = await start("well", *here, "well", host, str(authority.ca), str(count - bad))
            clients.append(well)
            await _until(well, "connected", CONNECT_SECONDS_MAX)
            rows = [
                await _phase(
                    f"{count - bad:,} well-behaved", well, manager, QUIET_SECONDS, host, authority.ca
                )
            ]
            worse = await start("bad", *here, "bad", host, str(authority.ca), str(bad))
            clients.append(worse)
            await _until(worse, "connected", CONNECT_SECONDS_MAX)
            label = f"the same beside {bad:,} bad ones"
            rows.append(await _phase(label, well, manager, BAD_SECONDS, host, authority.ca))
            rejected = await asyncio.to_thread(_rejected, host, authority.ca)
            files = _files_max(manager.pid)
        finally:
            for process in (*clients, manager):
                await process.kill()
    head = (
        "nodes", "reports", "answered: median", "p99", "longest", "later than a heartbeat, or never",
        "connections lost", "ever not active", "manager: of a core", "resident",
    )  # fmt: skip
    per_node = (float(rows[-1][-1].split()[0]) - before) * 1024 / count
    notes = f"""
- One manager, TLS 1.3, state in memory; nodes report every {HEARTBEAT:g} s with six counters. Phases of
  {QUIET_SECONDS:g} and {BAD_SECONDS:g} s. A node is `unreachable` after three heartbeats without a word.
- Bad ones, a third each: slow readers report and never read; floods send reports as fast as they are taken;
  garbage is noise before, in and after the WebSocket's handshake, thrown out, and back after
  {COMES_AGAIN_SECONDS:g} s. The manager had counted: {rejected}.
- Memory: {before:.0f} MiB without a node; with all, {per_node:.0f} KiB for each node, with TLS and the
  statistics so far. Those are kept for `stats.window`, so they grow to their bound within the hour.
- Open files: the manager raises its limit to the hard one, here {files}: so many connections, less some 50.
- Python stands still while it looks for garbage among all that lives. A manager has it look seldom, and never
  among what was there at its start (`manager/garbage.py`): what is left of that is in the longest answers.
- Manager, well-behaved and bad nodes are three processes on this machine's cores.
"""
    return [Table("10,000 nodes at one manager" if count == NODES else f"{count:,} nodes", head, rows, notes)]


async def _phase(
    label: str, well: Process, manager: Process, seconds: float, host: str, ca: Path
) -> tuple[str, ...]:
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    well.hears = lambda line: None if answer.done() or not line.startswith("{") else answer.set_result(line)
    cpu = cpu_seconds(manager.pid)
    well.send(signal.SIGUSR1)
    await asyncio.sleep(seconds)
    cpu = (cpu_seconds(manager.pid) - cpu) / seconds
    well.send(signal.SIGUSR2)
    seen = json.loads(await asyncio.wait_for(answer, 60))
    troubled = await asyncio.to_thread(_troubled, host, ca)
    times = [f"{one * 1000:.0f} ms" for one in seen["times"]]
    return (
        label, f"{seen['reports']:,}", *times, str(seen["late"]), str(seen["lost"]), str(troubled),
        f"{100 * cpu:.0f} %", f"{mebibytes(manager.pid, 'Rss'):.0f} MiB",
    )  # fmt: skip


async def _until(process: Process, line: str, within: float) -> None:
    heard = asyncio.Event()
    process.hears = lambda said: heard.set() if line in said else None
    reader = asyncio.create_task(process._read_until(None))
    process._reader = reader
    try:
        await asyncio.wait_for(heard.wait(), within)
    except TimeoutError:
        raise BenchmarkError(
            f"{process.name}: no {line!r} within {within:g} s: {' | '.join(process.said)}"
        ) from None


# What the manager says


def _get(host: str, path: str, ca: Path) -> bytes:
    context = ssl.create_default_context(cafile=str(ca))
    context.check_hostname = False
    with urllib.request.urlopen(f"https://{host}:9897{path}", timeout=30, context=context) as answer:
        body: bytes = answer.read()
        return body


async def _until_up(host: str, ca: Path) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError):
            await asyncio.to_thread(_get, host, "/ready", ca)
            return
        await asyncio.sleep(0.2)
    raise BenchmarkError("the manager is not ready within 20 s")


def _troubled(host: str, ca: Path) -> int:
    """How many of the well-behaved are not active now, or were not at some time in the last events."""
    events = json.loads(_get(host, "/api/v1/events?limit=1000", ca))["events"]
    found = {
        event["subject"]
        for event in events
        if event["name"].startswith("well") and event["kind"] == "node" and event["state"] != "active"
    }
    cursor: str | None = ""
    while cursor is not None:
        page = json.loads(_get(host, f"/api/v1/nodes?limit=1000&cursor={cursor}", ca))
        for node in page["nodes"]:
            if node["name"].startswith("well") and node["state"] != "active":
                found.add(node["id"])
        cursor = page["next"]
    return len(found)


def _files_max(pid: int) -> str:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line.split()[3] for line in lines if line.startswith("Max open files"))


def _rejected(host: str, ca: Path) -> str:
    lines = _get(host, "/metrics", ca).decode().splitlines()
    found = []
    for line in lines:
        if line.startswith("kcm_rejected_total{"):
            labels, _, count = line.partition("} ")
            reason = labels.partition('reason="')[2].partition('"')[0]
            found.append(f"{reason} {float(count):.0f}")
    return ", ".join(found) or "nothing"


# A node that is a connection


class Link:
    """A WebSocket to the manager's node port; frames are masked with zeros, which is a mask too."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def dial(cls, host: str, context: ssl.SSLContext, own: str) -> "Link":
        reader, writer = await asyncio.open_connection(
            host, 7000, ssl=context, server_hostname="m1", local_addr=(own, 0), limit=2**16
        )
        return cls(reader, writer)

    async def upgrade(self) -> None:
        self.writer.write(
            f"GET {PATH} HTTP/1.1\r\nHost: m1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n".encode()
        )
        await self.reader.readuntil(b"\r\n\r\n")

    def send(self, payload: bytes) -> None:
        self.writer.write(framed(payload))

    async def messages(self) -> AsyncIterator[object]:
        """Until the manager closes."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            while True:
                first, size = await self.reader.readexactly(2)
                if size == 126:
                    size = int.from_bytes(await self.reader.readexactly(2), "big")
                payload = await self.reader.readexactly(size)
                if first & 15 == 8:
                    return
                yield decode(payload)


def report(number: int) -> bytes:
    return encode(Report(number=number, gateway="nginx: running", counters=_COUNTERS))


def _context(ca: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca)
    context.check_hostname = False
    return context


async def _hello(link: Link, name: str) -> None:
    await link.upgrade()
    link.send(encode(Hello(key=secrets.token_bytes(32), incarnation=1, nonce=1, name=name)))


# Those that behave


class Well:
    """`count` nodes that report, and how soon each report was answered."""

    def __init__(self, host: str, ca: str, count: int) -> None:
        self._host, self._context, self._count = host, _context(ca), count
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._in = 0
        self._said: dict[tuple[int, int], float] = {}
        self._seen = Seen()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, self._begin)
        loop.add_signal_handler(signal.SIGUSR2, self._tell)
        await asyncio.gather(*(self._node(number) for number in range(self._count)))

    def _begin(self) -> None:
        self._seen = Seen()

    def _tell(self) -> None:
        now = time.monotonic()
        self._seen.waiting = sum(now - at > HEARTBEAT for at in self._said.values())
        seen = self._seen
        took = seen.took or [0.0]
        shown = {
            "reports": seen.reports,
            "late": seen.waiting + sum(one > HEARTBEAT for one in took),
            "times": [percentile(took, 50), percentile(took, 99), max(took)],
            "lost": seen.lost,
        }
        print(json.dumps(shown), flush=True)

    async def _node(self, number: int) -> None:
        while True:
            async with self._gate:
                try:
                    link = await Link.dial(self._host, self._context, f"127.0.1.{1 + number % 200}")
                    await _hello(link, f"well-{number}")
                    messages = link.messages()
                    while not isinstance(await anext(messages), Welcome):
                        pass
                except (OSError, StopAsyncIteration, asyncio.IncompleteReadError):
                    await asyncio.sleep(1)
                    continue
            self._in += 1
            if self._in == self._count:
                print("connected", flush=True)
            writing = asyncio.create_task(self._write(number, link))
            async for message in messages:
                if isinstance(message, Reported):
                    at = self._said.pop((number, message.number), None)
                    if at is not None:
                        self._seen.took.append(time.monotonic() - at)
            writing.cancel()
            link.writer.close()
            self._seen.lost += 1

    async def _write(self, number: int, link: Link) -> None:
        await asyncio.sleep(random.uniform(0, HEARTBEAT))
        at = asyncio.get_running_loop().time()
        for report_number in range(1, 10**9):
            self._said[number, report_number] = time.monotonic()
            self._seen.reports += 1
            link.send(report(report_number))
            at += HEARTBEAT
            await asyncio.sleep(at - asyncio.get_running_loop().time())


# Those that do not


class Bad:
    """`count` that misbehave, each in the way that its number says."""

    def __init__(self, host: str, ca: str, count: int) -> None:
        self._host, self._context, self._count = host, _context(ca), count
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._in = 0

    async def run(self) -> None:
        await asyncio.gather(*(self._one(number) for number in range(self._count)))

    async def _one(self, number: int) -> None:
        kind = KINDS[number % len(KINDS)]
        first = True
        while True:
            link = None
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                async with self._gate:
                    link = await Link.dial(self._host, self._context, f"127.0.2.{1 + number % 200}")
                    if kind != "garbage":
                        await _hello(link, f"{kind}-{number}")
                if first:
                    self._enter()
                    first = False
                match kind:
                    case "slow reader":
                        await self._never_read(link)
                    case "flood":
                        await self._flood(link)
                    case _:
                        await self._garbage(link)
            if link is not None:
                link.writer.close()
            if first:
                self._enter()
                first = False
            await asyncio.sleep(COMES_AGAIN_SECONDS * random.uniform(0.5, 1.5))

    def _enter(self) -> None:
        self._in += 1
        if self._in == self._count:
            print("connected", flush=True)

    async def _never_read(self, link: Link) -> None:
        transport: Any = link.writer.transport
        transport.pause_reading()
        for number in range(1, 10**9):
            link.send(report(number))
            await link.writer.drain()
            await asyncio.sleep(HEARTBEAT)

    async def _flood(self, link: Link) -> None:
        for number in range(1, 10**9, 50):
            link.writer.write(b"".join(framed(report(one)) for one in range(number, number + 50)))
            await link.writer.drain()
            await asyncio.sleep(0.2)

    async def _garbage(self, link: Link) -> None:
        noise = random.randbytes(random.choice((10, 1000, 50_000)))
        how = random.randrange(3)
        if how:
            await link.upgrade()
        link.writer.write(framed(noise) if how == 1 else noise)
        await link.writer.drain()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(link.reader.read(), COMES_AGAIN_SECONDS)


def main(arguments: list[str]) -> None:
    kind, host, ca, count = arguments
    raise_files_limit()
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < int(count) + 100:
        sys.exit(f"{count} connections need more open files than this system allows: raise RLIMIT_NOFILE")
    os.nice(0 if kind == "well" else 5)
    run((Well if kind == "well" else Bad)(host, ca, int(count)).run())


if __name__ == "__main__":
    main(sys.argv[1:])
