"""A group of Debian's `serf` agents, as real processes, watched by their RPC (MessagePack over TCP)."""

import asyncio
import shutil
import time
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import msgpack

from benchmarks.agreeing import AGREE_SECONDS_MAX, Agreed, until_agreed
from benchmarks.processes import BenchmarkError, Process, block, start

RPC_PORT = 7373
_RPC_VERSION = 1


def installed() -> bool:
    return shutil.which("serf") is not None


class Rpc:
    """One connection to an agent; not for two callers at once."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._unpacker = msgpack.Unpacker(raw=True)
        self._number = 0

    @classmethod
    async def open(cls, host: str) -> Self:
        return await cls.over(*await asyncio.open_connection(host, RPC_PORT))

    @classmethod
    async def over(cls, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Self:
        """Greet the agent at the other end."""
        rpc = cls(reader, writer)
        await rpc.call("handshake", {"Version": _RPC_VERSION})
        return rpc

    def close(self) -> None:
        self._writer.close()

    async def call(self, command: str, body: dict[str, Any] | None = None) -> None:
        """Raises `BenchmarkError` where the agent refuses."""
        self._number += 1
        self._writer.write(msgpack.packb({"Command": command, "Seq": self._number}, use_bin_type=False))
        if body is not None:
            self._writer.write(msgpack.packb(body, use_bin_type=False))
        header = await self.read()
        if header[b"Error"]:
            raise BenchmarkError(f"serf refuses {command}: {header[b'Error']!r}")

    async def read(self) -> dict[bytes, Any]:
        """The next object that comes."""
        while True:
            for item in self._unpacker:
                return dict(item)
            data = await self._reader.read(65536)
            if not data:
                raise BenchmarkError("a serf agent closed its RPC connection")
            self._unpacker.feed(data)

    async def members(self) -> frozenset[tuple[bytes, bytes, bytes]]:
        """(name, address, status) of each member."""
        await self.call("members")
        members = (await self.read())[b"Members"]
        return frozenset((member[b"Name"], member[b"Addr"], member[b"Status"]) for member in members)


@dataclass(slots=True)
class EventStream:
    """The user events that an agent sees, as it sees them."""

    rpc: Rpc

    @classmethod
    async def open(cls, host: str) -> Self:
        rpc = await Rpc.open(host)
        await rpc.call("stream", {"Type": "user"})
        return cls(rpc)

    async def until(self, name: str) -> float:
        """When the event `name` was seen."""
        while True:
            await self.rpc.read()
            if (await self.rpc.read())[b"Name"] == name.encode():
                return time.monotonic()


class Agents:
    """s1, s2, … on loopback addresses of their own at the default ports, LAN profile."""

    def __init__(self) -> None:
        self.processes: list[Process] = []
        self.rpcs: list[Rpc] = []
        self.hosts: list[str] = []

    async def start(self, count: int) -> None:
        """Start one, then all others at once; returns when each has said that it is running.

        `-join` needs somebody who answers: an agent that finds nobody ends.
        """
        net = block()
        self.hosts = [f"{net}.{number}" for number in range(1, count + 1)]
        await self._start(1)
        await self.processes[0].until_ready("Serf agent running!")
        for number in range(2, count + 1):
            await self._start(number, f"-join={self.hosts[0]}")
        others = self.processes[1:]
        await asyncio.gather(*(process.until_ready("Serf agent running!") for process in others))

    async def _start(self, number: int, *options: str) -> None:
        host = self.hosts[number - 1]
        own = (f"-node=s{number}", f"-bind={host}", f"-rpc-addr={host}:{RPC_PORT}")
        self.processes.append(await start(f"s{number}", "serf", "agent", *own, *options))

    async def until_agreed(self, within: float = AGREE_SECONDS_MAX) -> Agreed:
        """Wait until each lists all as alive, and all the same."""
        if not self.rpcs:
            self.rpcs = list(await asyncio.gather(*map(Rpc.open, self.hosts)))
        return await until_agreed(
            (partial(self._lists_all, rpc) for rpc in self.rpcs), self._differences, within
        )

    async def _lists_all(self, rpc: Rpc) -> bool:
        return [status for _, _, status in await rpc.members()] == [b"alive"] * len(self.hosts)

    async def _differences(self) -> list[str]:
        views = await asyncio.gather(*(rpc.members() for rpc in self.rpcs))
        return [] if len(set(views)) == 1 else ["their lists differ"]

    async def kill(self) -> None:
        """End all at once."""
        for rpc in self.rpcs:
            rpc.close()
        await asyncio.gather(*(process.kill() for process in self.processes))
