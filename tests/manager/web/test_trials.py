"""Whether a gateway would run with a configuration: who may ask whom."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient, TestServer

from manager.web.app import create_app
from tests.manager.running import Running

Client = TestClient[web.Request, web.Application]
TYPE = {"Content-Type": "application/octet-stream"}


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    """A manager that knows of another one at 10.9.8.7."""
    async with ClientSession() as http:
        running = Running(http=http)
        running.wait(10.0)
        running.meets("m2", "10.9.8.7")
        yield running


@pytest.fixture
async def client(running: Running) -> AsyncIterator[Client]:
    async with TestClient(TestServer(create_app(running))) as client:
        yield client


async def test_where_no_gateway_of_the_kind_is_anywhere_the_answer_says_what_is_missing(
    client: Client,
) -> None:
    answer = await client.put("/api/v1/config/nginx", params={"dry_run": "1"}, data=b"conf", headers=TYPE)
    assert answer.status == 409
    assert "no node of kind nginx that takes configurations" in (await answer.json())["detail"]


async def test_a_manager_that_is_asked_by_another_asks_no_further(client: Client) -> None:
    answer = await client.post("/api/v1/trials/nginx", data=b"conf", headers=TYPE)
    assert answer.status == 409
    assert (await answer.json())["detail"].endswith("is connected to it")


@pytest.mark.parametrize(
    ("remote", "headers", "status"),
    [
        ("10.9.8.7", {}, 409),
        ("10.9.8.6", {}, 403),
        ("10.9.8.7", {"X-Forwarded-For": "10.9.8.6"}, 403),
        ("10.9.8.7", {"Origin": "http://elsewhere.example"}, 403),
    ],
)
async def test_without_tokens_managers_ask_each_other_and_nobody_else_on_the_network_does(
    client: Client, monkeypatch: pytest.MonkeyPatch, remote: str, headers: dict[str, str], status: int
) -> None:
    monkeypatch.setattr(web.Request, "remote", remote)
    answer = await client.post("/api/v1/trials/nginx", data=b"conf", headers=TYPE | headers)
    assert answer.status == status
    pushed = await client.put("/api/v1/config/nginx", data=b"conf", headers=TYPE | headers)
    assert pushed.status == 403
