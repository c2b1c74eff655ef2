"""The shell around `Commits` and `Store`: one commit after the other, in a thread of its own."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from manager.disk.commits import Commits
from manager.disk.saved import Changes
from manager.disk.store import Store, StoreError
from manager.effects import Persist

log = logging.getLogger("manager")

FULL_SECONDS_MAX = 10.0
"""How long a full disk is tried again; what waits for it is not told meanwhile."""
FULL_RETRY_AFTER = 0.5

Item = TypeVar("Item")


class Journal(Generic[Item]):
    """`carry_out` gets what was held back; `failed` is called once, when nothing can be kept any longer.

    `full` is called when the disk has become full, and what waits for it may wait in vain.
    """

    def __init__(
        self,
        store: Store,
        *,
        independent: Callable[[Item], bool],
        carry_out: Callable[[list[Item]], None],
        failed: Callable[[StoreError], None],
        full: Callable[[StoreError], None],
    ) -> None:
        self.full: StoreError | None = None
        """Why nothing is kept at present, None where it is."""
        self._became_full = full
        self._store = store
        self._commits: Commits[Item] = Commits(independent)
        self._carry_out = carry_out
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "disk")
        self._begins: asyncio.Handle | None = None
        self._writing: asyncio.Task[None] | None = None
        self._broken = False

    def put(self, items: Iterable[Item | Persist]) -> None:
        """Carry out `items`, each as soon as what was to be kept before it is on disk."""
        self._carry_out(self._commits.put(items))
        if self._commits.due and self._begins is None and not self._broken:
            # Not at once: whatever else this turn of the loop brings goes into the same commit.
            self._begins = self._loop.call_soon(self._begin)

    async def snapshot(self) -> bytes:
        """The whole file, between two commits. Raises `StoreError`."""
        return await self._loop.run_in_executor(self._thread, self._store.snapshot)

    async def close(self, rest: Iterable[Persist]) -> None:
        """Write what is left, and `rest`; what it held back is not told any more."""
        if self._writing is not None:
            await self._writing
        if self._begins is not None:
            self._begins.cancel()
        self._commits.put(rest)
        if self._commits.due and not self._broken:
            await self._write(self._commits.begin())
        self._thread.shutdown()

    def _begin(self) -> None:
        self._begins = None
        if self._commits.due:
            self._writing = asyncio.ensure_future(self._commit())

    async def _commit(self) -> None:
        if await self._write(self._commits.begin()):
            self._writing = None
            self._carry_out(self._commits.done())
            self._begin()

    async def _write(self, batch: Sequence[Changes]) -> bool:
        gives_up_at = self._loop.time() + FULL_SECONDS_MAX
        while True:
            try:
                await self._loop.run_in_executor(self._thread, self._store.write, batch)
            except StoreError as error:
                left = gives_up_at - self._loop.time()
                if error.full and left > 0:
                    if self.full is None:
                        log.error("%s; trying on for %.0f s", error, left)
                        self.full = error
                        self._became_full(error)
                    await asyncio.sleep(FULL_RETRY_AFTER)
                    continue
                self._broken = True
                self._failed(error)
                return False
            if self.full is not None:
                log.info("the disk has room again: what was held back is kept")
                self.full = None
            return True
