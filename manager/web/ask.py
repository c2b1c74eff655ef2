"""A question that every manager answers for itself, asked of all."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import aiohttp

from manager import views
from manager.web.operations import Operations

ASK_SECONDS_MAX = 2.0
"""Other managers that have not answered by then are counted as not answering."""
ANSWER_BYTES_MAX = 16 * 1024 * 1024

Answer = TypeVar("Answer")


async def ask_others(
    operations: Operations,
    path: str,
    query: Mapping[str, str],
    read: Callable[[object], Answer],
    seconds: float = ASK_SECONDS_MAX,
) -> tuple[dict[str, int], dict[str, Answer]]:
    """How many managers were `{"asked", "answered"}`, with ourselves, and the others' answers by name.

    `read` makes an answer of JSON; where it raises `ValueError` that manager counts as not answering.
    """
    others = views.other_managers(operations.core, "http" if operations.to_peers is None else "https")
    given = {**query, "local": "1"}
    headers = {"Authorization": f"Bearer {operations.peers_token}"} if operations.peers_token else {}
    found = await asyncio.gather(
        *(_ask(operations, url + path, given, headers, read, seconds) for url in others.values())
    )
    answers = {name: answer for name, answer in zip(others, found, strict=True) if answer is not None}
    return {"asked": 1 + len(others), "answered": 1 + len(answers)}, answers


async def _ask(
    operations: Operations,
    url: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    read: Callable[[object], Answer],
    seconds: float,
) -> Answer | None:
    timeout = aiohttp.ClientTimeout(total=seconds)
    try:
        async with operations.http.get(
            url,
            params=query,
            headers=headers,
            timeout=timeout,
            raise_for_status=True,
            allow_redirects=False,
            ssl=operations.to_peers or True,
        ) as answer:
            if (answer.content_length or 0) > ANSWER_BYTES_MAX:
                return None
            body: Any = await answer.json()
            return read(body)
    except aiohttp.ClientConnectorCertificateError:
        operations.count("tls", "peer_not_believed")
        return None
    except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError):
        return None
