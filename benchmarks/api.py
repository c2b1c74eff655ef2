"""The least that asks a manager's public API: one kept connection, requests one after the other.

A full HTTP client would cost more of the processor than the manager that is watched.
"""

import asyncio
import json
from typing import Any, Self

from manager.agreement import View

HTTP_PORT = 9897
_VIEWS = ("/api/v1/nodes", "/api/v1/members", "/api/v1/subscription")


class Api:
    """One manager's API; not for two callers at once."""

    def __init__(self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.host = host
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, host: str) -> Self:
        return cls(host, *await asyncio.open_connection(host, HTTP_PORT))

    def close(self) -> None:
        self._writer.close()

    async def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of the answer."""
        self._ask(path)
        return await self._answer()

    async def view(self) -> View:
        """What `agree` compares, by three requests at once."""
        for path in _VIEWS:
            self._ask(path)
        nodes, members, subscription = [(await self._answer())[1] for _ in _VIEWS]
        return View(nodes["nodes"], members["members"], subscription)

    def _ask(self, path: str) -> None:
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode())

    async def _answer(self) -> tuple[int, Any]:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        body = await self._reader.readexactly(int(headers["content-length"]))
        return int(first.split()[1]), json.loads(body)
