"""Configurations over HTTP: what is pushed, upon which plan, and what is refused with its reason."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient, TestServer

from manager.web.app import create_app
from tests.manager.running import Running

Client = TestClient[web.Request, web.Application]
URL = "/api/v1/config/nginx"
TYPE = {"Content-Type": "application/octet-stream"}


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with ClientSession() as http:
        running = Running(http=http)
        running.wait(10.0)
        async with TestClient(TestServer(create_app(running))) as client:
            yield client


async def push(client: Client, content: bytes, **more: Any) -> tuple[int, dict[str, Any]]:
    headers = TYPE | more.pop("headers", {})
    answer = await client.put(URL, data=content, headers=headers, params=more)
    return answer.status, await answer.json(content_type=None)


async def shown(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = await (await client.get(URL)).json()
    return found


async def test_a_push_upon_what_was_looked_at_is_taken_and_upon_anything_else_is_not(client: Client) -> None:
    nothing_there = await push(client, b"first", headers={"If-Match": "*"})
    assert nothing_there[0] == 412
    assert (await push(client, b"first"))[0] == 200
    mark = (await client.get(URL)).headers["ETag"]
    assert (await push(client, b"second", headers={"If-Match": mark}))[0] == 200
    status, problem = await push(client, b"third", headers={"If-Match": mark})
    assert (status, problem["detail"]) == (
        412,
        "the configuration has changed meanwhile: look at it again, then push",
    )
    assert (await client.get(URL)).headers["ETag"] != mark
    assert (await shown(client))["version"] == 2


async def test_what_is_empty_or_much_smaller_is_refused_with_the_reason_and_force_takes_the_latter(
    client: Client,
) -> None:
    assert (await push(client, b"0123456789"))[0] == 200
    for content, why in ((b"", "no gateway would serve anything"), (b"012", "push it with --force")):
        status, problem = await push(client, content)
        assert (status, why in problem["detail"]) == (409, True)
    assert (await push(client, b"012", force="1"))[0] == 200


async def test_a_dry_run_changes_nothing(client: Client) -> None:
    status, problem = await push(client, b"first", dry_run="1")
    assert (status, "no nginx is connected" in problem["detail"]) == (409, True)
    assert (await client.get(URL)).status == 404


async def test_versions_are_kept_and_one_of_them_can_be_gone_back_to(client: Client) -> None:
    for content in (b"first", b"second"):
        assert (await push(client, content, waves="1,50%,100%", max_unavailable="2"))[0] == 200
    assert await (await client.get(f"{URL}/versions/1")).read() == b"first"
    assert (await client.get(f"{URL}/versions/3")).status == 404
    back = await client.post(f"{URL}/rollback", json={"version": 1})
    assert back.status == 200
    plan = await shown(client)
    assert (plan["version"], plan["base"], plan["max_unavailable"]) == (1, 2, 1)
    again = await client.post(f"{URL}/rollback", json={"version": 7})
    assert (again.status, "no version 7" in (await again.json(content_type=None))["detail"]) == (409, True)


async def test_a_rollout_is_steered_by_what_it_can_do(client: Client) -> None:
    await push(client, b"first")
    for action, status in (("pause", 200), ("promote", 409), ("resume", 200), ("abort", 200), ("fly", 400)):
        answer = await client.post("/api/v1/rollouts/nginx", json={"action": action})
        assert (action, answer.status) == (action, status)
    assert (await shown(client))["phase"] == "aborted"
