"""Whether a gateway answers its health URL."""

import asyncio
from collections.abc import Callable

import aiohttp

EVERY_SECONDS = 2.0
"""Between two questions, and the longest wait for an answer; four times as often while it is not well."""


async def is_healthy(client: aiohttp.ClientSession, url: str) -> bool:
    """Whether `url` answers 2xx in time."""
    try:
        async with client.get(url) as response:
            return 200 <= response.status < 300
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


async def watch(url: str, tell: Callable[[bool], None]) -> None:
    """Ask until cancelled, and `tell` each answer."""
    timeout = aiohttp.ClientTimeout(total=EVERY_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as client:
        while True:
            healthy = await is_healthy(client, url)
            tell(healthy)
            await asyncio.sleep(EVERY_SECONDS if healthy else EVERY_SECONDS / 4)
