"""A full disk: who waits for it hears so at once, and the log says it once."""

import asyncio
from typing import Any, cast

import pytest

from manager.disk.journal import Journal
from manager.disk.saved import Changes
from manager.disk.store import Store, StoreError
from manager.effects import Persist


class FullFor:
    """A store that is full for so many tries."""

    def __init__(self, tries: int) -> None:
        self.tries = tries

    def write(self, _: Any) -> None:
        self.tries -= 1
        if self.tries >= 0:
            raise StoreError("the disk is full", 1, full=True)


async def test_a_full_disk_is_said_once_at_once_and_so_is_that_it_has_room_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("manager.disk.journal.FULL_RETRY_AFTER", 0.001)
    caplog.set_level("INFO")
    told, full = asyncio.Event(), list[str]()
    journal = Journal[str](
        cast("Store", FullFor(3)),
        independent=lambda _: False,
        carry_out=lambda items: told.set() if items else None,
        failed=lambda error: pytest.fail(str(error)),
        full=lambda error: full.append(str(error)),
    )
    journal.put([Persist(Changes()), "news"])
    async with asyncio.timeout(20.0):
        await told.wait()
    await journal.close([])
    assert full == ["the disk is full"]
    assert journal.full is None
    assert caplog.text.count("trying on") == caplog.text.count("has room again") == 1
