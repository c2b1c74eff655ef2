"""Whether a gateway would run with a configuration: who may ask whom."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient, TestServer

from manager.terms import ManagerConfig
from manager.web.app import create_app
from manager.web.peers import HEADER, SECONDS, headers_for, is_proof
from tests.manager.running import WALL, Running

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


async def test_where_no_gateway_of_the_kind_is_anywhere_the_answer_says_what_is_missing(
    client: Client,
) -> None:
    answer = await client.put("/api/v1/config/nginx", params={"dry_run": "1"}, data=b"conf", headers=TYPE)
    assert answer.status == 409
    assert "no nginx is connected whose agent takes configurations" in (await answer.json())["detail"]


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


async def test_a_manager_behind_another_address_shows_that_it_knows_the_groups_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with ClientSession() as http:
        running = Running(ManagerConfig(secret="of this group"), http=http)
        running.wait(10.0)
        async with TestClient(TestServer(create_app(running))) as client:
            monkeypatch.setattr(web.Request, "remote", "10.9.8.6")
            path = "/api/v1/trials/nginx"
            proof = headers_for(running, "POST", path, b"conf")

            async def status(headers: dict[str, str], body: bytes = b"conf", to: str = path) -> int:
                return (await client.post(to, data=body, headers=TYPE | headers)).status

            assert await status(proof) == 409, "it is let in, and no such gateway is here"
            assert await status({}) == 403
            assert await status({HEADER: "1.2"}) == 403
            assert await status(proof, b"another") == 403, "for this body alone"
            assert await status(proof, to="/api/v1/trials/haproxy") == 403, "for this question alone"
            pushed = headers_for(running, "PUT", "/api/v1/config/nginx", b"conf")
            answer = await client.put("/api/v1/config/nginx", data=b"conf", headers=TYPE | pushed)
            assert answer.status == 403, "it is for what managers ask each other alone"
            content = f"/api/v1/contents/{'0' * 64}"
            assert (await client.get(content)).status == 403
            assert (await client.get(content, headers=headers_for(running, "GET", content))).status == 404
            running.wait(SECONDS + 1)
            assert await status(proof) == 403, "for two minutes"


def test_a_proof_by_another_secret_or_none_is_none() -> None:
    ours, theirs = Running(ManagerConfig(secret="ours")), Running(ManagerConfig(secret="theirs"))
    shown = headers_for(theirs, "GET", "/x")[HEADER]
    assert is_proof(shown, "theirs", "GET", "/x", b"", WALL)
    assert not is_proof(shown, "ours", "GET", "/x", b"", WALL)
    assert headers_for(Running(), "GET", "/x") == {}
    assert not is_proof(f"{int(WALL)}.", "", "GET", "/x", b"", WALL)
    ours.peers_token = "a token"
    assert headers_for(ours, "GET", "/x") == {"Authorization": "Bearer a token"}
