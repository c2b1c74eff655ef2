"""When do all members of a group agree? Asked often, at little cost to those who are asked."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from benchmarks.processes import BenchmarkError

AGREE_SECONDS_MAX = 65.0
"""Serf's agents that missed something have it after their full exchange, every 30 to 60 s."""
PAUSE = 0.001


class NoAgreement(BenchmarkError):
    """The group did not agree in the time that it was given."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """`at`: when all had answered and agreed; `poll`: seconds from that question to the last answer."""

    at: float
    poll: float


async def until_agreed(
    lists_all: Iterable[Callable[[], Awaitable[bool]]],
    differences: Callable[[], Awaitable[list[str]]],
    within: float,
) -> Agreed:
    """Ask one after the other until it lists all, then all at once until none differs.

    So a group that forms answers one question at a time. Raises `NoAgreement` after `within` seconds.
    """
    different = ["a member does not list all"]
    try:
        async with asyncio.timeout(within):
            for complete in lists_all:
                await _until(complete)
            while True:
                asked = time.monotonic()
                different = await differences()
                answered = time.monotonic()
                if not different:
                    return Agreed(answered, answered - asked)
                await asyncio.sleep(PAUSE)
    except TimeoutError:
        reason = "; ".join(different)
        raise NoAgreement(f"no agreement in {within:g} s: {reason}") from None


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    while True:
        if await condition():
            return
        await asyncio.sleep(PAUSE)
