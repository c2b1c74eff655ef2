"""What stands between one connection and aiohttp: hands on what comes, once somebody is there to take it."""

import asyncio
from typing import cast


class Passage(asyncio.Protocol):
    """Set `_inner` to aiohttp's end, and call its `connection_made` and `connection_lost`."""

    def __init__(self) -> None:
        self._inner: asyncio.Protocol | None = None
        self._peer = ""
        """The IP address of the other end, empty where there is none."""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if peer else ""

    def eof_received(self) -> bool | None:
        return None if self._inner is None else self._inner.eof_received()

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()

    def _abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()
