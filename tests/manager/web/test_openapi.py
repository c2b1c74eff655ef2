"""schemathesis plays all operations, writes included, as the document has them and as it forbids them."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from aiohttp import ClientSession, web
from hypothesis import HealthCheck, Phase, settings

from manager.terms import ManagerConfig
from manager.web.app import create_app
from manager.web.openapi import document
from node.protocol import Report
from tests.manager.running import Running

EXAMPLES = 15
schema = schemathesis.openapi.from_dict(document())


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A manager with nodes, served from a thread of its own."""
    loop = asyncio.new_event_loop()
    started: asyncio.Future[str] = loop.create_future()
    ended = asyncio.Event()

    async def serve() -> None:
        async with ClientSession() as http:
            running = Running(ManagerConfig(max_nodes=2), http=http)
            running.wait(10.0)
            for number in (1, 2, 3):
                running.node(number)
                running.says(number, Report(number=1, counters={"requests": 1.0}))
            runner = web.AppRunner(create_app(running))
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            started.set_result(f"http://127.0.0.1:{runner.addresses[0][1]}")
            await ended.wait()
            await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(_value(started), loop).result(10)
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()


async def _value(future: "asyncio.Future[str]") -> str:
    return await future


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_the_handlers_keep_what_the_document_says(case: schemathesis.Case[Any], url: str) -> None:
    case.call_and_validate(base_url=url)
