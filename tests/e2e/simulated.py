"""Nodes that are only a connection each: many of them, for pages that must show many."""

import asyncio
import contextlib
import secrets
import threading
from collections.abc import Iterator
from itertools import count
from math import cos

from aiohttp import ClientError, ClientSession, ClientWebSocketResponse

from node.codec import encode
from node.latency import bucket_of
from node.protocol import FRAME_BYTES_MAX, PATH, SUBPROTOCOL, ConfigState, Hello, Report, Served, ServedKind

_REPORT_EVERY = 1.0
_AGAIN_AFTER = 3.0
_CONFIG = ConfigState(managed=True, running="ab" * 32, on_disk="ab" * 32)


@contextlib.contextmanager
def simulated_nodes(seeds: list[str], names: list[str]) -> Iterator[None]:
    """One node a name, each at one of `seeds` (`HOST:PORT`) in turn, with the counters of a busy gateway."""
    loop = asyncio.new_event_loop()

    async def all_of_them() -> None:
        async with ClientSession() as http:
            await asyncio.gather(
                *(_node(http, seeds[at % len(seeds)], name, at) for at, name in enumerate(names))
            )

    task = loop.create_task(all_of_them())

    def run() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()


async def _node(http: ClientSession, seed: str, name: str, at: int) -> None:
    key = secrets.token_bytes(32)
    for incarnation in count(1):
        hello = Hello(
            key=key, incarnation=incarnation, nonce=1, name=name, gateway="nginx: running", config=_CONFIG
        )
        await _session(http, seed, hello, at)
        # A manager that has just started lets newcomers in a little later.
        await asyncio.sleep(_AGAIN_AFTER)


async def _session(http: ClientSession, seed: str, hello: Hello, at: int) -> None:
    with contextlib.suppress(ClientError):
        async with http.ws_connect(
            f"http://{seed}{PATH}", protocols=(SUBPROTOCOL,), max_msg_size=FRAME_BYTES_MAX
        ) as socket:
            await socket.send_bytes(encode(hello))
            reader = asyncio.ensure_future(_read(socket))
            try:
                for number in range(1, 1_000_000):
                    await socket.send_bytes(encode(_report(number, at)))
                    await asyncio.sleep(_REPORT_EVERY)
            finally:
                reader.cancel()


async def _read(socket: ClientWebSocketResponse) -> None:
    async for _ in socket:
        pass


def _report(number: int, at: int) -> Report:
    requests = number * (40.0 + 3 * (at % 7)) + 300 * (1 - cos(number / 15))
    return Report(
        number=number,
        gateway="nginx: running",
        counters={
            "gateway_requests": requests,
            "gateway_errors": float(number // 9),
            "gateway_cpu_seconds": requests / 400,
            "gateway_rss_bytes": 48e6 + 2e6 * (at % 5) + 1e5 * (number % 9),
            "agent_cpu_seconds": number * 0.004,
            "agent_rss_bytes": 36e6,
        },
        served=_served(number, at),
        config=_CONFIG,
    )


def _served(number: int, at: int) -> tuple[Served, ...]:
    """Three endpoints and three backends: one fails for everybody, another for every eighth node."""
    rows = []
    for share, (name, took) in enumerate(
        (("GET /items/*", 0.02), ("GET /search", 0.2), ("POST /orders", 0.6))
    ):
        rows.append(_row("endpoint", name, number * (20 - 6 * share), number // 2 * share, took))
    for share, name in enumerate(("10.0.8.11:8080", "10.0.8.12:8080", "10.0.8.13:8080")):
        failed = number * 3 if share == 1 else number * 5 if share == 2 and at % 8 == 3 else 0
        rows.append(_row("backend", name, number * 14, failed, 0.03 * (1 + share)))
    return tuple(rows)


def _row(kind: ServedKind, name: str, requests: int, errors: int, took: float) -> Served:
    slow, slower = requests // 10, requests // 50
    buckets = {
        bucket_of(took): requests - slow - slower,
        bucket_of(2 * took): slow,
        bucket_of(4 * took): slower,
    }
    pairs = tuple(number for pair in sorted(buckets.items()) for number in pair)
    return Served(kind, name, requests, errors, took * requests, pairs)
