"""How fast news travels: from a node's hello at one manager until every manager lists the node."""

import asyncio
import os
import random
import time
from statistics import median

import aiohttp

from benchmarks.api import Api
from benchmarks.figures import Table, milliseconds, percentile, ratio
from benchmarks.managers import Managers
from benchmarks.processes import BenchmarkError
from benchmarks.serf import Agents, EventStream, installed
from manager.identity import KEY_BYTES, Identity
from node.codec import decode, encode
from node.protocol import FRAME_BYTES_MAX, PATH, SUBPROTOCOL, Hello, Leave, Welcome

SIZES = (3, 5)
HELLOS_PER_ROUND = 25
NODE_PORT = 7000
GROUP = "bench"
CAP = 190
"""Few enough that no newcomer is let in before all managers have answered for its claim (rule A1)."""
SEEN_SECONDS_MAX = 10.0
POLL_PAUSE = 0.001
PAUSE_MAX = 0.15
"""Chance between two measurements, so that none keeps step with anybody's gossip interval."""


NOTES = """
- {rounds} rounds of {hellos} of each, by turns, at each manager or agent in turn; medians of the rounds
  with their spread, p99 over all. Every hello is a new node's, over a connection that is open already.
- Clock and watchers are one process. Ours are watched from the hello on by `GET /api/v1/nodes/ID` at every
  manager at once, each asked again {gap} (median) after the question before. About so much of a figure, and
  the managers' time for the answers, is the watching.
- Serf pushes events to its watchers (RPC stream): no polling is in its figures.
- After each round the managers agreed.
"""


class _Samples:
    """Seconds, round by round: until the welcome, and until all have it."""

    def __init__(self) -> None:
        self.welcome: list[float] = []
        self.seen: list[list[float]] = []

    @property
    def all(self) -> list[float]:
        return [seconds for round_ in self.seen for seconds in round_]

    @property
    def medians(self) -> list[float]:
        return [median(round_) for round_ in self.seen if round_]


class _Newcomers:
    """Says hello as a new node at each manager in turn, and watches all of them."""

    def __init__(self, http: aiohttp.ClientSession, cap: int | None) -> None:
        self.samples = _Samples()
        self.gaps: list[float] = []
        """Between two questions to the same manager."""
        self._http = http
        self._identity = Identity(GROUP, "")
        self._group = Managers()
        self._options = [f"--group-name={GROUP}", *([f"--subscription-max-nodes={cap}"] if cap else [])]
        self._turn = 0

    async def start(self, size: int) -> None:
        await self._group.start(size, *self._options)
        await self._group.until_agreed()

    async def settle(self) -> None:
        """Raises `BenchmarkError` where the managers do not agree in the end."""
        await self._group.until_agreed()

    async def kill(self) -> None:
        await self._group.kill()

    async def measure(self) -> None:
        """One hello."""
        host = self._group.hosts[self._turn % len(self._group.hosts)]
        self._turn += 1
        key = os.urandom(KEY_BYTES)
        path = f"/api/v1/nodes/{self._identity.id_of(key)}"
        hello = encode(Hello(key=key, incarnation=1, nonce=1, name="bench"))
        url = f"http://{host}:{NODE_PORT}{PATH}"
        async with (
            asyncio.timeout(SEEN_SECONDS_MAX),
            self._http.ws_connect(url, protocols=(SUBPROTOCOL,), max_msg_size=FRAME_BYTES_MAX) as socket,
        ):
            said = time.monotonic()
            await socket.send_bytes(hello)
            welcomed = asyncio.ensure_future(_welcomed(socket))
            seen = await asyncio.gather(*(self._listed(api, path) for api in self._group.apis))
            self.samples.welcome.append(await welcomed - said)
            self.samples.seen[-1].append(max(seen) - said)
            await socket.send_bytes(encode(Leave()))

    async def _listed(self, api: Api, path: str) -> float:
        """When `api` answered that the node is active."""
        asked = time.monotonic()
        while True:
            status, node = await api.get(path)
            if status == 200 and node["state"] == "active":
                return time.monotonic()
            await asyncio.sleep(POLL_PAUSE)
            before, asked = asked, time.monotonic()
            self.gaps.append(asked - before)


async def _welcomed(socket: aiohttp.ClientWebSocketResponse) -> float:
    answer = decode(await socket.receive_bytes())
    if not isinstance(answer, Welcome):
        raise BenchmarkError(f"no welcome but {answer}")
    return time.monotonic()


class _Events:
    """Fires user events at each serf agent in turn, and hears them at all."""

    def __init__(self) -> None:
        self.samples = _Samples()
        self._group = Agents()
        self._streams: list[EventStream] = []
        self._turn = 0

    async def start(self, size: int) -> None:
        await self._group.start(size)
        await self._group.until_agreed()
        self._streams = list(await asyncio.gather(*map(EventStream.open, self._group.hosts)))

    async def settle(self) -> None:
        """Nothing to wait for: an event is over when all have it."""

    async def kill(self) -> None:
        for stream in self._streams:
            stream.rpc.close()
        await self._group.kill()

    async def measure(self) -> None:
        """One event."""
        rpc = self._group.rpcs[self._turn % len(self._group.rpcs)]
        self._turn += 1
        name = f"e{self._turn}"
        async with asyncio.timeout(SEEN_SECONDS_MAX):
            fired = time.monotonic()
            await rpc.call("event", {"Name": name, "Payload": b"", "Coalesce": False})
            seen = await asyncio.gather(*(stream.until(name) for stream in self._streams))
            self.samples.seen[-1].append(max(seen) - fired)


async def measure(rounds: int) -> list[Table]:
    """At each size all systems at once, one hello or event at a time, by turns."""
    rows: list[tuple[str, ...]] = []
    gaps: list[float] = []
    for size in SIZES:
        async with aiohttp.ClientSession() as http:
            free, capped = _Newcomers(http, None), _Newcomers(http, CAP)
            events = [_Events()] if installed() else []
            systems: list[_Newcomers | _Events] = [free, capped, *events]
            try:
                await _take(systems, size, rounds)
            finally:
                await asyncio.gather(*(system.kill() for system in systems))
        serf = events[0].samples if events else _Samples()
        rows += [
            _row(size, "hello → listed by all", free.samples, serf),
            _row(size, f"the same, max_nodes {CAP}: after all have answered", capped.samples, serf),
        ]
        if events:
            rows.append(_row(size, "serf: user event → seen by all", serf, serf))
        gaps += free.gaps + capped.gaps
    return [_table(rows, gaps, rounds)]


async def _take(systems: list[_Newcomers | _Events], size: int, rounds: int) -> None:
    for system in systems:
        await system.start(size)
    await asyncio.sleep(1.0)  # what is told of the newest member is still on its way
    for _ in range(rounds):
        for system in systems:
            system.samples.seen.append([])
        for _ in range(HELLOS_PER_ROUND):
            for system in systems:
                await asyncio.sleep(random.uniform(0.02, PAUSE_MAX))
                await system.measure()
        for system in systems:
            await system.settle()


def _row(size: int, what: str, samples: _Samples, serf: _Samples) -> tuple[str, ...]:
    return (
        str(size),
        what,
        milliseconds(samples.medians),
        f"{percentile(samples.all, 99) * 1000:.3g} ms",
        f"{median(samples.welcome) * 1000:.3g} ms" if samples.welcome else "–",
        "" if samples is serf else ratio(samples.medians, serf.medians),
    )


def _table(rows: list[tuple[str, ...]], gaps: list[float], rounds: int) -> Table:
    head = ("n", "news", "median (of the rounds: least-most)", "p99", "welcome, median", "ratio to serf")
    notes = NOTES.format(rounds=rounds, hellos=HELLOS_PER_ROUND, gap=f"{median(gaps) * 1000:.1f} ms")
    return Table("News", head, rows, notes)
