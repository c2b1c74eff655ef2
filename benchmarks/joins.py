"""How many nodes a second become known, on disk: three managers, three etcd members, Redis with a replica."""

import argparse
import asyncio
import base64
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import aiohttp

from benchmarks.figures import Table, percentile, ratio, spread
from benchmarks.managers import Managers
from benchmarks.processes import BenchmarkError, Process, block, start
from manager.identity import KEY_BYTES
from node.protocol import FRAME_BYTES_MAX, PATH, SUBPROTOCOL, Hello, Welcome, decode, encode

JOINS = 1000
IN_FLIGHT = 64
NODE_PORT = 7000
LEASE_SECONDS = 15
SEEN_SECONDS_MAX = 20.0
POLL_PAUSE = 0.005
_TICKS = os.sysconf("SC_CLK_TCK")

NOTES = """
- {rounds} rounds of {joins} joins by turns, {in_flight} in flight at all members in turn, each round with
  new processes and an empty disk; median (least-most) of the rounds. One client in Python for all, on the
  machine of the members: it is part of what limits joins/s, so compare the CPU of the members as well.
- A join: ours is a connection, hello and welcome, on one manager's disk before it is said, and told to
  the others at once. etcd's is a lease and a put under it, by its HTTP gateway over kept connections, on the
  disks of two of three. Redis' is SET with EX, `appendfsync always`, and WAIT for its one replica.
- All visible: from the last answer until each member counts all of them.
"""


class _Store(Protocol):
    """A group of servers that nodes join."""

    name: str
    needs: tuple[str, ...]

    async def begin(self, folder: Path, http: aiohttp.ClientSession) -> None: ...
    async def join(self, number: int) -> None: ...
    async def known(self) -> list[int]: ...
    def pids(self) -> list[int]: ...
    async def end(self) -> None: ...


class _Ours:
    name = "our managers"
    needs: tuple[str, ...] = ()

    async def begin(self, folder: Path, http: aiohttp.ClientSession) -> None:
        self._http, self._group = http, Managers()
        self._sockets: list[aiohttp.ClientWebSocketResponse] = []
        await self._group.start(3, f"--state-dir={folder}")
        await self._group.until_agreed()

    async def join(self, number: int) -> None:
        host = self._group.hosts[number % 3]
        url = f"http://{host}:{NODE_PORT}{PATH}"
        socket = await self._http.ws_connect(url, protocols=(SUBPROTOCOL,), max_msg_size=FRAME_BYTES_MAX)
        self._sockets.append(socket)
        await socket.send_bytes(
            encode(Hello(key=os.urandom(KEY_BYTES), incarnation=1, nonce=1, name="bench"))
        )
        answer = decode(await socket.receive_bytes())
        if not isinstance(answer, Welcome):
            raise BenchmarkError(f"no welcome but {answer}")

    async def known(self) -> list[int]:
        answers = await asyncio.gather(*(api.get("/api/v1/subscription") for api in self._group.apis))
        return [answer["used"] for _, answer in answers]

    def pids(self) -> list[int]:
        return [process.pid for process in self._group.processes]

    async def end(self) -> None:
        await self._group.kill()
        for socket in self._sockets:
            await socket.close()


class _Etcd:
    name = "etcd"
    needs: tuple[str, ...] = ("etcd",)

    async def begin(self, folder: Path, http: aiohttp.ClientSession) -> None:
        self._http, net = http, block()
        self._urls = [f"http://{net}.{at}:2379" for at in (1, 2, 3)]
        peers = {f"e{at}": f"http://{net}.{at}:2380" for at in (1, 2, 3)}
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
            for (name, peer), client in zip(peers.items(), self._urls, strict=True)
        ]
        await asyncio.gather(
            *(process.until_ready("ready to serve client requests") for process in self._processes)
        )

    async def join(self, number: int) -> None:
        url = self._urls[number % 3]
        lease = await self._ask(url, "lease/grant", {"TTL": LEASE_SECONDS, "ID": 0})
        await self._ask(url, "kv/put", {"key": _text(f"node/{number}"), "value": "", "lease": lease["ID"]})

    async def known(self) -> list[int]:
        asked = {"key": _text("node/"), "range_end": _text("node0"), "count_only": True, "serializable": True}
        answers = await asyncio.gather(*(self._ask(url, "kv/range", asked) for url in self._urls))
        return [int(answer.get("count", 0)) for answer in answers]

    async def _ask(self, url: str, what: str, body: dict[str, object]) -> dict[str, str]:
        async with self._http.post(f"{url}/v3/{what}", json=body) as answer:
            said: dict[str, str] = await answer.json()
            if answer.status != 200:
                raise BenchmarkError(f"etcd: {said}")
            return said

    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    async def end(self) -> None:
        await asyncio.gather(*(process.kill() for process in self._processes))


class _Redis:
    name = "Redis, one replica"
    needs: tuple[str, ...] = ("redis-server",)

    async def begin(self, folder: Path, http: aiohttp.ClientSession) -> None:
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
    """Seconds of all members together for 1,000 joins, until all were visible."""


async def measure(options: argparse.Namespace) -> list[Table]:
    """One table; what is not installed is left out, and said."""
    samples = {kind: _Samples() for kind in (_Ours, _Etcd, _Redis) if all(map(shutil.which, kind.needs))}
    for _ in range(options.rounds):
        for kind, found in samples.items():
            with tempfile.TemporaryDirectory() as folder:
                await _round(kind(), Path(folder), found)
    ours = samples[_Ours]
    rows = [
        (
            kind.name,
            spread(found.rate),
            f"{1000 * percentile(found.took, 50):.1f} / {1000 * percentile(found.took, 99):.1f} ms",
            spread(found.visible, "ms", 1000.0),
            spread(found.cpu, "s"),
            "" if found is ours else ratio(ours.rate, found.rate),
        )
        for kind, found in samples.items()
    ]
    head = (
        "who",
        "joins/s",
        "a join, p50 / p99",
        "last → all visible",
        "CPU for 1,000",
        "ours to it, joins/s",
    )
    missing = [kind.name for kind in (_Etcd, _Redis) if kind not in samples]
    notes = NOTES.format(rounds=options.rounds, joins=JOINS, in_flight=IN_FLIGHT)
    notes += "".join(f"- {name} is not installed, and left out.\n" for name in missing)
    return [Table("Joins", head, rows, notes)]


async def _round(store: _Store, folder: Path, samples: _Samples) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        await store.begin(folder, http)
        try:
            before, began = sum(map(_cpu, store.pids())), time.monotonic()
            samples.took += await _all(store.join)
            ended = time.monotonic()
            while min(await store.known()) < JOINS:
                if time.monotonic() - ended > SEEN_SECONDS_MAX:
                    raise BenchmarkError(f"{store.name}: not all are visible within {SEEN_SECONDS_MAX:g} s")
                await asyncio.sleep(POLL_PAUSE)
            samples.visible.append(time.monotonic() - ended)
            samples.rate.append(JOINS / (ended - began))
            samples.cpu.append((sum(map(_cpu, store.pids())) - before) * 1000 / JOINS)
        finally:
            await store.end()


async def _all(join: Callable[[int], Awaitable[None]]) -> list[float]:
    """Seconds that each took."""
    numbers, took = iter(range(JOINS)), []

    async def some() -> None:
        for number in numbers:
            began = time.monotonic()
            await join(number)
            took.append(time.monotonic() - began)

    await asyncio.gather(*(some() for _ in range(IN_FLIGHT)))
    return took


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _text(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
