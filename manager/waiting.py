"""Who waits for what the core will say: requests over HTTP, mostly."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from gossip.effects import JoinTried, KeysDone, Reached
from manager.disk.store import StoreError
from manager.effects import TrialDone


@dataclass(frozen=True, slots=True)
class Answer:
    """Somebody waits for `value`, and may have it once all that came before is carried out."""

    future: asyncio.Future[Any]
    value: object


class Waiting:
    """Futures of the running loop, each for one thing that the core will say or the disk will keep."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._keys: asyncio.Future[KeysDone] | None = None
        self._reached: asyncio.Future[Reached] | None = None
        self._joins: dict[int, asyncio.Future[JoinTried]] = {}
        self._trials: dict[int, asyncio.Future[TrialDone]] = {}
        self._kept: set[asyncio.Future[None]] = set()

    def for_keys(self) -> asyncio.Future[KeysDone]:
        self._keys = self._loop.create_future()
        return self._keys

    def for_join(self, token: int) -> asyncio.Future[JoinTried]:
        self._joins[token] = self._loop.create_future()
        return self._joins[token]

    def for_reach(self) -> tuple[asyncio.Future[Reached], bool]:
        """And whether nobody has waited for it before: then it is to be begun."""
        if new := self._reached is None or self._reached.done():
            self._reached = self._loop.create_future()
        assert self._reached is not None
        return self._reached, new

    @asynccontextmanager
    async def for_trial(self, number: int) -> AsyncIterator[asyncio.Future[TrialDone]]:
        """While somebody waits for the trial of this number."""
        self._trials[number] = self._loop.create_future()
        try:
            yield self._trials[number]
        finally:
            del self._trials[number]

    @asynccontextmanager
    async def for_disk(self) -> AsyncIterator[asyncio.Future[None]]:
        """While somebody waits for a change to be kept."""
        kept: asyncio.Future[None] = self._loop.create_future()
        self._kept.add(kept)
        try:
            yield kept
        finally:
            self._kept.discard(kept)

    def disk_is_full(self, error: StoreError) -> None:
        """Let nobody wait in vain who asked for a change."""
        text = f"{error}. The change holds if there is room within seconds; else this manager ends without it"
        for kept in self._kept:
            if not kept.done():
                kept.set_exception(StoreError(text, 1, full=True))

    def said(self, what: KeysDone | Reached | JoinTried | TrialDone | Answer) -> None:
        """Tell who waits for it; nobody may."""
        match what:
            case KeysDone():
                _settle(self._keys, what)
            case Reached():
                _settle(self._reached, what)
            case JoinTried(token=token):
                _settle(self._joins.pop(token, None), what)
            case TrialDone(number):
                _settle(self._trials.get(number), what)
            case Answer(future, value):
                _settle(future, value)


def _settle(future: asyncio.Future[Any] | None, value: object) -> None:
    if future is not None and not future.done():
        future.set_result(value)
