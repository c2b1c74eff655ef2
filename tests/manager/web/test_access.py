"""Tokens: who may do what with which, in a header or in a cookie."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient, TestServer

from manager.doors import HttpDoor
from manager.subscription.documents import sign
from manager.terms import ManagerConfig
from manager.tokens import ApiToken, Scope, digest
from manager.web.app import create_app
from tests.manager.running import WALL, Running
from tests.manager.test_documents import GRANT, ISSUERS, KEY

Client = TestClient[web.Request, web.Application]
LIMIT = ("PATCH", "/api/v1/limits/batch", {"max_rate": 5})
TOKENS = {scope: f"kcm_{scope}" for scope in Scope}


@pytest.fixture
async def running(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    """A manager with a token of each scope, asked from another host."""
    async with ClientSession() as http:
        running = Running(ManagerConfig(max_nodes=2), http=http)
        running.door = HttpDoor(
            tuple(ApiToken(f"a {scope}", scope, digest(token)) for scope, token in TOKENS.items())
        )
        running.wait(10.0)
        monkeypatch.setattr(web.Request, "remote", "203.0.113.9")
        yield running


def bearer(scope: Scope) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[scope]}"}


READ = ("GET", "/api/v1/nodes", None)
SET = ("PATCH", "/api/v1/subscription", {"max_nodes": 5})
LEAVE: tuple[str, str, dict[str, Any] | None] = ("POST", "/api/v1/leave", {})


@pytest.mark.parametrize(
    ("scope", "request_", "status"),
    [
        (Scope.VIEWER, READ, 200),
        (Scope.VIEWER, SET, 403),
        (Scope.VIEWER, LEAVE, 403),
        (Scope.OPERATOR, READ, 200),
        (Scope.OPERATOR, SET, 200),
        (Scope.VIEWER, LIMIT, 403),
        (Scope.OPERATOR, LIMIT, 200),
        (Scope.OPERATOR, LEAVE, 403),
        (Scope.OPERATOR, ("GET", "/api/v1/keys", None), 403),
        (Scope.ADMIN, SET, 200),
        (Scope.ADMIN, LEAVE, 202),
    ],
)
async def test_a_token_permits_what_its_scope_says_from_anywhere(
    client: Client, scope: Scope, request_: tuple[str, str, dict[str, Any] | None], status: int
) -> None:
    method, path, body = request_
    assert (await client.request(method, path, json=body, headers=bearer(scope))).status == status


@pytest.mark.parametrize("path", ["/api/v1/nodes", "/metrics", "/api/v1/openapi.json"])
@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer kcm_guessed"}, {"Authorization": "Basic x"}]
)
async def test_without_a_known_token_nothing_of_the_group_is_told(
    running: Running, client: Client, path: str, headers: dict[str, str]
) -> None:
    answer = await client.get(path, headers=headers)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert "guessed" not in await answer.text()
    assert sum(running.counts.values()) == 1


@pytest.mark.parametrize("path", ["/", "/static/page.js", "/health", "/ready"])
async def test_the_page_itself_and_probes_need_none(client: Client, path: str) -> None:
    assert (await client.get(path)).status == 200


async def test_once_there_are_tokens_a_private_address_alone_is_not_enough(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web.Request, "remote", "192.168.1.7")
    assert (await client.get("/api/v1/nodes")).status == 401


async def test_this_host_itself_reads_without_one_and_changes_nothing(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web.Request, "remote", "127.0.0.1")
    assert (await client.get("/api/v1/nodes")).status == 200
    for method, path, body in (SET, LEAVE, ("GET", "/api/v1/keys", None)):
        answer = await client.request(method, path, json=body)
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert "KCM_TOKEN" in (await answer.json())["detail"]
    method, path, body = SET
    assert (await client.request(method, path, json=body, headers=bearer(Scope.OPERATOR))).status == 200


async def test_where_nobody_has_a_token_this_host_itself_may_change_things(
    running: Running, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.door = HttpDoor()
    monkeypatch.setattr(web.Request, "remote", "127.0.0.1")
    method, path, body = SET
    assert (await client.request(method, path, json=body)).status == 200


async def test_the_audit_says_whose_token_it_was_and_from_where(client: Client) -> None:
    method, path, body = SET
    await client.request(method, path, json=body, headers=bearer(Scope.OPERATOR))
    answer = await (await client.get("/api/v1/audit", headers=bearer(Scope.VIEWER))).json()
    assert [change["who"] for change in answer["changes"]] == ["a operator from 203.0.113.9"]


# A browser


async def log_in(client: Client, scope: Scope) -> None:
    answer = await client.post("/api/v1/session", json={"token": TOKENS[scope]})
    assert answer.status == 200
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


async def test_a_browser_that_logged_in_shows_its_token_until_it_logs_out(client: Client) -> None:
    assert (await client.get("/api/v1/nodes")).status == 401
    await log_in(client, Scope.OPERATOR)
    assert (await client.get("/api/v1/nodes")).status == 200
    method, path, body = SET
    assert (await client.request(method, path, json=body)).status == 200
    assert (await client.delete("/api/v1/session", json={})).status == 200
    assert (await client.get("/api/v1/nodes")).status == 401


async def test_a_wrong_token_logs_nobody_in(client: Client) -> None:
    answer = await client.post("/api/v1/session", json={"token": "kcm_guessed"})
    assert answer.status == 401
    assert "Set-Cookie" not in answer.headers


async def test_a_page_of_another_site_cannot_use_what_a_browser_holds(client: Client) -> None:
    await log_in(client, Scope.ADMIN)
    method, path, body = SET
    answer = await client.request(method, path, json=body, headers={"Origin": "http://evil.example"})
    assert answer.status == 403
    # A form, which needs no leave of the browser's, is not JSON.
    assert (await client.patch(path, data={"max_nodes": "5"})).status == 415


async def test_while_nothing_can_be_kept_changes_are_refused_with_the_reason_and_reading_goes_on(
    running: Running, client: Client
) -> None:
    running.not_kept = "state.db cannot be written, the disk is full: free some space"
    answer = await client.patch("/api/v1/subscription", json={"max_nodes": 5}, headers=bearer(Scope.OPERATOR))
    assert (answer.status, answer.content_type) == (503, "application/problem+json")
    assert "the disk is full" in (await answer.json())["detail"]
    assert (await client.get("/api/v1/subscription", headers=bearer(Scope.VIEWER))).status == 200


async def test_the_document_that_is_in_force_may_be_installed_again_and_changes_nothing() -> None:
    text = sign(replace(GRANT, not_before=WALL, issued=WALL), KEY)
    running = Running(ManagerConfig(issuers=tuple(ISSUERS)))
    running.wait(10.0)
    async with TestClient(TestServer(create_app(running))) as client:
        for _ in range(2):
            answer = await client.put("/api/v1/subscription/document", json={"document": text})
            assert answer.status == 200
        changes = (await (await client.get("/api/v1/audit?local=1")).json())["changes"]
    assert [change["change"] for change in changes] == [f"subscription: installed serial {GRANT.serial}"]
