"""How many nodes a second become known, on disk: three managers, three etcd members, Redis with a replica."""

import argparse
import asyncio
import base64
import importlib.util
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from benchmarks.clients import Http, Node, bytes_field, hello, number_field, read_number_field
from benchmarks.figures import Table, percentile, ratio, spread
from benchmarks.groups import cpu_seconds
from benchmarks.managers import Managers
from benchmarks.processes import BenchmarkError, Process, block, start
from manager.process import raise_files_limit

JOINS, MANY = 2000, 10_000
IN_FLIGHT = 64
LEASE_SECONDS = 15
SEEN_SECONDS_MAX = 20.0
POLL_PAUSE = 0.005
HAS_GRPC = importlib.util.find_spec("grpc") is not None

NOTES = """
- {rounds} rounds of {joins} joins by turns, {in_flight} in flight at all members in turn, each round with
  new processes and an empty disk; median (least-most) of the rounds. One client process in Python for all, on
  the machine of the members: it is part of what limits joins/s, so its CPU stands beside theirs.
- A join: ours is a connection, hello and welcome, on one manager's disk before it is said, and told to
  the others at once. etcd's is a lease and a put under it, over kept connections, on the disks of two of
  three; so ours stand there a second time with connections that were open before. Redis' is SET with EX,
  `appendfsync always`, and WAIT for its one replica.
- All visible: from the last answer until each member counts all of them.
"""


class _Store(Protocol):
    """A group of servers that nodes join."""

    name: str
    needs: tuple[str, ...]

    async def begin(self, folder: Path) -> None: ...
    async def join(self, number: int) -> None: ...
    async def known(self) -> list[int]: ...
    def pids(self) -> list[int]: ...
    async def end(self) -> None: ...


class _Ours:
    name = "our managers"
    needs: tuple[str, ...] = ()

    async def begin(self, folder: Path) -> None:
        self._group = Managers()
        self._nodes: list[Node] = []
        await self._group.start(3, f"--state-dir={folder}")
        await self._group.until_agreed()

    async def join(self, number: int) -> None:
        node = await Node.dial(self._group.hosts[number % 3])
        self._nodes.append(node)
        await node.joins(hello())

    async def known(self) -> list[int]:
        answers = await asyncio.gather(*(api.get("/api/v1/subscription") for api in self._group.apis))
        return [answer["used"] for _, answer in answers]

    def pids(self) -> list[int]:
        return [process.pid for process in self._group.processes]

    async def end(self) -> None:
        await self._group.kill()
        for node in self._nodes:
            node.close()


class _OursOpen(_Ours):
    """As others are asked: over connections that are open when the clock starts."""

    name = "our managers, connections open before"

    async def begin(self, folder: Path) -> None:
        await super().begin(folder)
        for at in range(0, JOINS, IN_FLIGHT):
            numbers = range(at, min(JOINS, at + IN_FLIGHT))
            self._nodes += await asyncio.gather(*(self._dial(one) for one in numbers))

    async def _dial(self, number: int) -> Node:
        # From many addresses: of one a manager holds only so many that have not said hello.
        return await Node.dial(self._group.hosts[number % 3], own=f"127.0.3.{1 + number % 200}")

    async def join(self, number: int) -> None:
        await self._nodes[number].joins(hello())


class _Etcd:
    name = "etcd, by HTTP"
    needs: tuple[str, ...] = ("etcd",)

    async def begin(self, folder: Path) -> None:
        net = block()
        self.hosts = [f"{net}.{at}" for at in (1, 2, 3)]
        urls = [f"http://{host}:2379" for host in self.hosts]
        peers = {f"e{at}": f"http://{host}:2380" for at, host in enumerate(self.hosts, start=1)}
        cluster = ",".join(f"{name}={url}" for name, url in peers.items())
        self._processes = [
            await start(
                name,
                "etcd",
                f"--name={name}",
                f"--data-dir={folder}/{name}",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster={cluster}",
            )
            for (name, peer), client in zip(peers.items(), urls, strict=True)
        ]
        await asyncio.gather(
            *(process.until_ready("ready to serve client requests") for process in self._processes)
        )
        await self.connect()

    async def connect(self) -> None:
        self._free: list[asyncio.LifoQueue[Http]] = [asyncio.LifoQueue() for _ in self.hosts]
        for free, host in zip(self._free, self.hosts, strict=True):
            for _ in range(IN_FLIGHT):
                free.put_nowait(await Http.open(host, 2379))

    async def join(self, number: int) -> None:
        lease = await self._ask(number % 3, "lease/grant", {"TTL": LEASE_SECONDS, "ID": 0})
        put = {"key": _text(f"node/{number}"), "value": "", "lease": lease["ID"]}
        await self._ask(number % 3, "kv/put", put)

    async def known(self) -> list[int]:
        asked = {"key": _text("node/"), "range_end": _text("node0"), "count_only": True, "serializable": True}
        answers = await asyncio.gather(*(self._ask(at, "kv/range", asked) for at in range(3)))
        return [int(answer.get("count", 0)) for answer in answers]

    async def _ask(self, at: int, what: str, body: dict[str, object]) -> Any:
        link = await self._free[at].get()
        try:
            return await link.post(f"/v3/{what}", body)
        finally:
            self._free[at].put_nowait(link)

    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    async def end(self) -> None:
        for free in self._free:
            while not free.empty():
                free.get_nowait().close()
        await asyncio.gather(*(process.kill() for process in self._processes))


class EtcdGrpc(_Etcd):
    """The same in what its own clients speak."""

    name = "etcd, by gRPC"

    async def connect(self) -> None:
        self._free = []
        aio: Any = importlib.import_module("grpc.aio")
        self._channels = [aio.insecure_channel(f"{host}:2379") for host in self.hosts]
        self._grants = [channel.unary_unary("/etcdserverpb.Lease/LeaseGrant") for channel in self._channels]
        self._puts = [channel.unary_unary("/etcdserverpb.KV/Put") for channel in self._channels]
        self._ranges = [channel.unary_unary("/etcdserverpb.KV/Range") for channel in self._channels]

    async def join(self, number: int) -> None:
        granted = await self._grants[number % 3](number_field(1, LEASE_SECONDS))
        lease = read_number_field(granted, 2)
        key = bytes_field(1, f"node/{number}".encode())
        await self._puts[number % 3](key + bytes_field(2, b"") + number_field(3, lease))

    async def known(self) -> list[int]:
        asked = bytes_field(1, b"node/") + bytes_field(2, b"node0") + number_field(7, 1) + number_field(9, 1)
        return [
            read_number_field(said, 4) for said in await asyncio.gather(*(r(asked) for r in self._ranges))
        ]

    async def end(self) -> None:
        for channel in self._channels:
            await channel.close()
        await super().end()


class _Redis:
    name = "Redis, one replica"
    needs: tuple[str, ...] = ("redis-server",)

    async def begin(self, folder: Path) -> None:
        net = block()
        self._hosts = [f"{net}.1", f"{net}.2"]
        self._processes: list[Process] = []
        for host in self._hosts:
            place = folder / host
            place.mkdir()
            follows = ("--replicaof", self._hosts[0], "6379") if self._processes else ()
            own = ("--bind", host, "--dir", str(place), "--appendonly", "yes", "--appendfsync", "always")
            process = await start(
                host, "redis-server", *own, "--protected-mode", "no", "--save", "", *follows
            )
            self._processes.append(process)
            await process.until_ready("Ready to accept connections")
        links = [await asyncio.open_connection(self._hosts[0], 6379) for _ in range(IN_FLIGHT)]
        self._free: asyncio.LifoQueue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.LifoQueue()
        for link in links:
            self._free.put_nowait(link)
        ends = time.monotonic() + SEEN_SECONDS_MAX
        while await self._ask(self._hosts[0], b"WAIT 1 100\r\n") != 1:
            if time.monotonic() > ends:
                raise BenchmarkError("the replica of Redis does not follow")

    async def join(self, number: int) -> None:
        reader, writer = link = await self._free.get()
        writer.write(f"SET node/{number} x EX {LEASE_SECONDS}\r\nWAIT 1 1000\r\n".encode())
        said = [await reader.readline(), await reader.readline()]
        self._free.put_nowait(link)
        if said != [b"+OK\r\n", b":1\r\n"]:
            raise BenchmarkError(f"Redis: {said}")

    async def known(self) -> list[int]:
        return list(await asyncio.gather(*(self._ask(host, b"DBSIZE\r\n") for host in self._hosts)))

    async def _ask(self, host: str, command: bytes) -> int:
        reader, writer = await asyncio.open_connection(host, 6379)
        writer.write(command)
        said = await reader.readline()
        writer.close()
        return int(said[1:])

    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    async def end(self) -> None:
        while not self._free.empty():
            self._free.get_nowait()[1].close()
        await asyncio.gather(*(process.kill() for process in self._processes))


@dataclass(slots=True)
class _Samples:
    rate: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    visible: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """Seconds of all members together for 1,000 joins, until all were visible …"""
    client: list[float] = field(default_factory=list)
    """… and of the client."""


_KINDS: tuple[type[_Store], ...] = (_Ours, _OursOpen, EtcdGrpc, _Etcd, _Redis)


def lacks(kind: type[_Store]) -> str:
    """What is not installed here, or empty."""
    if kind is EtcdGrpc and not HAS_GRPC:
        return "grpcio (pip install grpcio)"
    return ", ".join(program for program in kind.needs if shutil.which(program) is None)


async def measure(options: argparse.Namespace) -> list[Table]:
    """One table; what is not installed is left out, and said."""
    raise_files_limit()
    samples = {kind: _Samples() for kind in _KINDS if not lacks(kind)}
    for _ in range(options.rounds):
        for kind, found in samples.items():
            with tempfile.TemporaryDirectory() as folder:
                await _round(kind(), Path(folder), found)
    many = _Samples()
    with tempfile.TemporaryDirectory() as folder:
        await _round(_Ours(), Path(folder), many, MANY)
    ours, alike = samples[_Ours], samples[_OursOpen]
    rows = [
        (
            kind.name,
            spread(found.rate),
            f"{1000 * percentile(found.took, 50):.1f} / {1000 * percentile(found.took, 99):.1f} ms",
            spread(found.visible, "ms", 1000.0),
            spread(found.cpu, "s"),
            spread(found.client, "s"),
            *(
                ("", "")
                if found in (ours, alike)
                else (ratio(ours.rate, found.rate), ratio(alike.rate, found.rate))
            ),
        )
        for kind, found in samples.items()
    ]
    head = (
        "who", "joins/s", "a join, p50 / p99", "last → all visible", "CPU for 1,000", "the client's",
        "ours to it, joins/s", "with connections open",
    )  # fmt: skip
    notes = NOTES.format(rounds=options.rounds, joins=JOINS, in_flight=IN_FLIGHT)
    notes += (
        f"- {MANY:,} joins at our three managers, once: {many.rate[0]:.0f}/s, and all are visible at all "
    )
    notes += f"three {1000 * many.visible[0]:.0f} ms after the last.\n"
    notes += "".join(
        f"- {kind.name} is left out, for want of {lacks(kind)}.\n" for kind in _KINDS if lacks(kind)
    )
    return [Table("Joins", head, rows, notes)]


async def _round(store: _Store, folder: Path, samples: _Samples, joins: int = JOINS) -> None:
    await store.begin(folder)
    try:
        spent, before, began = time.process_time(), sum(map(cpu_seconds, store.pids())), time.monotonic()
        samples.took += await _all(store.join, joins)
        ended = time.monotonic()
        samples.client.append((time.process_time() - spent) * 1000 / joins)
        while min(await store.known()) < joins:
            if time.monotonic() - ended > SEEN_SECONDS_MAX:
                raise BenchmarkError(f"{store.name}: not all are visible within {SEEN_SECONDS_MAX:g} s")
            await asyncio.sleep(POLL_PAUSE)
        samples.visible.append(time.monotonic() - ended)
        samples.rate.append(joins / (ended - began))
        samples.cpu.append((sum(map(cpu_seconds, store.pids())) - before) * 1000 / joins)
    finally:
        await store.end()


async def _all(join: Callable[[int], Awaitable[None]], joins: int) -> list[float]:
    """Seconds that each took."""
    numbers, took = iter(range(joins)), []

    async def some() -> None:
        for number in numbers:
            began = time.monotonic()
            await join(number)
            took.append(time.monotonic() - began)

    await asyncio.gather(*(some() for _ in range(IN_FLIGHT)))
    return took


def _text(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
