"""Reads connections that speak seldom together: to wake up for each costs more than what it says.

Only of plain TCP, whose bytes are what the other end said.
"""

import asyncio
import os
import select
from collections.abc import Callable
from typing import TypeAlias

from manager.seed.frames import TOGETHER_SECONDS

READ_BYTES = 16 * 1024
"""Of one connection at a time: the longest reports have about so many, most some hundreds."""
AT_ONCE = 1000
"""Connections that are read before everything else has its turn."""

Heard: TypeAlias = Callable[[bytes], None]
"""Gets what has come; nothing where the connection has ended, or failed."""


class Together:
    """The connections that are read so, by file descriptor: each must be removed before it is closed."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._heard: dict[int, Heard] = {}
        self._reads: asyncio.TimerHandle | None = None

    def close(self) -> None:
        if self._reads is not None:
            self._reads.cancel()
        self._epoll.close()

    def add(self, descriptor: int, heard: Heard) -> bool:
        """Nobody else may read it until it is removed; false where the system watches no more."""
        try:
            self._epoll.register(descriptor, select.EPOLLIN)
        except OSError:  # beyond fs.epoll.max_user_watches
            return False
        self._heard[descriptor] = heard
        if self._reads is None:
            self._reads = self._loop.call_later(TOGETHER_SECONDS, self._read)
        return True

    def remove(self, descriptor: int) -> None:
        del self._heard[descriptor]
        self._epoll.unregister(descriptor)

    def _read(self) -> None:
        try:
            self._read_once()
        finally:
            self._reads = self._loop.call_later(TOGETHER_SECONDS, self._read) if self._heard else None

    def _read_once(self) -> None:
        # Asked at intervals: to have the loop watch this set costs more the more are in it.
        for descriptor, _ in self._epoll.poll(0, AT_ONCE):
            heard = self._heard.get(descriptor)
            if heard is None:
                continue  # what another said has ended it
            try:
                data = os.read(descriptor, READ_BYTES)
            except OSError:
                data = b""
            heard(data)
