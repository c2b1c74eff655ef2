"""Configurations as bodies of requests and of answers."""

import asyncio

import aiohttp
from aiohttp import web

from manager.web.shared import CONTENT
from node.bounds import CONFIG_BYTES_MAX

UPLOAD_SECONDS_MAX = 60.0
_CHUNK_BYTES = 64 * 1024


async def content_of(request: web.Request) -> bytes:
    """The body, whoever asks for it again; raises the answer where it is too large, or of another type."""
    if CONTENT in request:
        return request[CONTENT]
    if request.content_type != "application/octet-stream":
        # A page of somebody else's cannot send this type unasked.
        raise web.HTTPUnsupportedMediaType(
            text="send the configuration as it is, with Content-Type: application/octet-stream"
        )
    try:
        async with asyncio.timeout(UPLOAD_SECONDS_MAX):
            found = await read_bounded(request.content, CONFIG_BYTES_MAX)
    except TimeoutError:
        text = f"the configuration was not here within {UPLOAD_SECONDS_MAX:g} s"
        raise web.HTTPRequestTimeout(text=text) from None
    if found is None:
        # Not aiohttp's own 413, which names sizes for its text.
        raise _too_large()
    request[CONTENT] = found
    return found


def _too_large() -> web.HTTPRequestEntityTooLarge:
    error = web.HTTPRequestEntityTooLarge(CONFIG_BYTES_MAX)
    error.text = f"a configuration has at most {CONFIG_BYTES_MAX} bytes"
    return error


async def read_bounded(stream: aiohttp.StreamReader, most: int) -> bytes | None:
    """All of it, None where it has more than `most` bytes."""
    found = bytearray()
    async for chunk in stream.iter_chunked(_CHUNK_BYTES):
        found += chunk
        if len(found) > most:
            return None
    return bytes(found)
