"""One group of ours or of serf's, watched by its logs, for stories that start, kill and split its members."""

import asyncio
import json
import re
import signal
import tempfile
import time
from pathlib import Path

from benchmarks.api import HTTP_PORT
from benchmarks.managers import PROGRAM
from benchmarks.networks import Loopback
from benchmarks.processes import BenchmarkError, Process, start
from benchmarks.serf import RPC_PORT, Rpc
from benchmarks.watch import Seen, Watch, read_ours, read_serf


class WatchedGroup:
    """Members n1, n2, … of a group on the hosts of a network."""

    ready_line: str
    leave_signal: signal.Signals

    def __init__(self, network: Loopback, size: int) -> None:
        self.hosts = dict(
            zip((f"n{number}" for number in range(1, size + 1)), network.hosts(size), strict=True)
        )
        self.running: dict[str, Process] = {}
        self.ended: list[Process] = []
        self.watch = Watch(self.read)
        self.network = network
        self._folder = tempfile.TemporaryDirectory(prefix="kcm-bench-")
        """What its members keep on disk, so that no group remembers another."""

    @staticmethod
    def read(observer: str, at: float, line: str) -> Seen | None:
        """What a line of a member's log tells."""
        raise NotImplementedError

    def command(self, name: str, others: list[str]) -> list[str]:
        """What starts `name`; `others` are hosts of members that run or are started with it."""
        raise NotImplementedError

    async def tell(self, news: str, by: str) -> float:
        """Give `by` a piece of news for all; when that was."""
        raise NotImplementedError

    async def start_all(self) -> None:
        """Start every member; returns when each has said that it runs."""
        raise NotImplementedError

    async def start(self, name: str, others: list[str]) -> None:
        """Start one member; returns when it has said that it runs."""
        self.watch.started(name)
        inside = self.network.inside(self.hosts[name])
        process = await start(name, *inside, *self.command(name, others))
        self.running[name] = process
        process.hears = lambda line: self.watch.line(name, line)
        await process.until_ready(self.ready_line)

    async def end(self, name: str, number: signal.Signals) -> float:
        """Signal `name`, which ends by it; when that was. It is reaped by `close`."""
        process = self.running.pop(name)
        at = time.monotonic()
        process.send(number)
        self.ended.append(process)
        return at

    async def close(self) -> None:
        """End all at once."""
        await asyncio.gather(*(process.kill() for process in [*self.running.values(), *self.ended]))
        self.network.close()
        self._folder.cleanup()


class WatchedManagers(WatchedGroup):
    """Ours, as users start them: each lists all as peers."""

    ready_line = " is listening: "
    leave_signal = signal.SIGTERM
    read = staticmethod(read_ours)

    def command(self, name: str, others: list[str]) -> list[str]:
        host = self.hosts[name]
        own = [
            "--config=/dev/null",
            f"--name={name}",
            f"--bind={self.network.bind(host)}",
            f"--advertise={host}",
            f"--state-dir={self._folder.name}",
        ]
        return [str(PROGRAM), *own, *(f"--peer={host}" for host in self.hosts.values())]

    async def start_all(self) -> None:
        await asyncio.gather(*(self.start(name, []) for name in self.hosts))

    async def tell(self, news: str, by: str) -> float:
        """A cap for the group: an entry of the ledger, written by `PATCH /api/v1/subscription`."""
        host = self.hosts[by]
        reader, writer = await self.network.connect(host, HTTP_PORT)
        body = json.dumps({"max_nodes": int(news)})
        head = "PATCH /api/v1/subscription HTTP/1.1\r\nConnection: close\r\n"
        head += f"Host: {self.network.itself(host)}\r\n"
        at = time.monotonic()
        writer.write(
            f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        answer = await reader.read()
        writer.close()
        if not re.match(rb"HTTP/1.1 2", answer):
            raise BenchmarkError(f"{by} did not take the cap: {answer.decode(errors='replace')}")
        return at


class WatchedAgents(WatchedGroup):
    """Serf's, LAN profile: one runs, then all others are started at once and join it."""

    ready_line = "Serf agent running!"
    leave_signal = signal.SIGINT
    read = staticmethod(read_serf)

    def command(self, name: str, others: list[str]) -> list[str]:
        host = self.hosts[name]
        own = [f"-node={name}", f"-bind={host}", f"-rpc-addr={self.network.itself(host)}:{RPC_PORT}"]
        return ["serf", "agent", *own, *(f"-join={other}" for other in others[:1])]

    async def start_all(self) -> None:
        first, *others = self.hosts
        await self.start(first, [])
        await asyncio.gather(*(self.start(name, [self.hosts[first]]) for name in others))

    async def _rpc(self, by: str) -> Rpc:
        return await Rpc.over(*await self.network.connect(self.hosts[by], RPC_PORT))

    async def tell(self, news: str, by: str) -> float:
        """A user event."""
        rpc = await self._rpc(by)
        at = time.monotonic()
        await rpc.call("event", {"Name": news, "Payload": b"", "Coalesce": False})
        rpc.close()
        return at

    async def tag(self, value: str, by: str) -> float:
        """Another value of a tag of `by`; when that was."""
        rpc = await self._rpc(by)
        at = time.monotonic()
        await rpc.call("tags", {"Tags": {"bench": value}, "DeleteTags": []})
        rpc.close()
        return at


def cpu_seconds(pid: int) -> float:
    """Of all threads, in nanoseconds' grain: a tick of 10 ms is much for an idle process."""
    spent = (task.joinpath("schedstat").read_text() for task in Path(f"/proc/{pid}/task").iterdir())
    return sum(int(text.split()[0]) for text in spent) / 1e9


def mebibytes(pid: int, what: str) -> float:
    """`Rss` or `Pss` of a process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    [line] = [line for line in lines if line.startswith(f"{what}:")]
    return int(line.split()[1]) / 1024
