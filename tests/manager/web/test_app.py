"""The HTTP API over a real core: what is answered, what is refused and how, what is counted."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeAlias

import pytest
from aiohttp import ClientResponse, ClientSession, web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

from manager.terms import ManagerConfig
from manager.web.app import BODY_BYTES_MAX, create_app
from node.bundle import open_bundle
from node.jws import read_public_key
from node.latency import bucket_of
from node.protocol import Hello, Leave, Limit, Report, Served
from tests.manager.running import IDENTITY, Running

Client: TypeAlias = TestClient[web.Request, web.Application]
Serve: TypeAlias = Callable[[Running], Awaitable[Client]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves the API of a manager on 127.0.0.1, for as long as the test runs."""
    clients: list[Client] = []

    async def start(running: Running) -> Client:
        client = TestClient(TestServer(create_app(running)))
        await client.start_server()
        clients.append(client)
        return client

    yield start
    for client in clients:
        await client.close()


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    """Manager m1, which has been up for a while, with one limit and two seats."""
    async with ClientSession() as http:
        running = Running(ManagerConfig(max_nodes=2, limits={"public": Limit(100.0)}), http=http)
        running.wait(10.0)
        yield running


async def problem(answer: ClientResponse, status: int) -> str:
    """The detail of an answer that must be a problem of `status`."""
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    body = json.loads(await answer.read())
    assert body["type"] == "about:blank"
    assert body["status"] == status
    assert body["title"]
    return str(body["detail"])


# What is answered


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("members", {"members"}),
        ("nodes", {"nodes", "next"}),
        (
            "subscription",
            {"max_nodes", "cap", "used", "free", "over_limit", "refused", "source", "serial", "policy"}
            | {"overage", "expires", "stage", "why", "next", "refusal", "pending", "lapses"},
        ),
        ("limits", {"limits", "share", "nodes", "mode", "source", "serial"}),
        ("stats", {"managers", "window", "step", "nodes", "next"}),
        ("group", {"managers", "views"}),
        ("audit", {"managers", "changes"}),
        ("events", {"events", "next"}),
        ("subscription/history", {"documents", "days"}),
        ("subscription/usage", {"step", "at", "used", "cap", "over_limit", "states"}),
    ],
)
async def test_each_resource_answers_with_the_promised_keys(
    running: Running, serve: Serve, path: str, keys: set[str]
) -> None:
    answer = await (await serve(running)).get(f"/api/v1/{path}")
    assert answer.status == 200
    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert set(await answer.json()) == keys


async def test_one_node_is_found_by_its_id(running: Running, serve: Serve) -> None:
    id_ = running.node(1)
    client = await serve(running)
    node = await (await client.get(f"/api/v1/nodes/{id_}")).json()
    assert (node["id"], node["state"]) == (id_, "active")
    assert node == (await (await client.get("/api/v1/nodes")).json())["nodes"][0]


@pytest.mark.parametrize("id_", ["krakend_0", "%00", "%ff", "a%2Fb", "x" * 2000])
async def test_an_unknown_node_is_not_found(running: Running, serve: Serve, id_: str) -> None:
    answer = await (await serve(running)).get(f"/api/v1/nodes/{id_}")
    assert "no node has the id" in await problem(answer, 404)


async def test_a_name_that_one_node_has_does_for_its_id(running: Running, serve: Serve) -> None:
    id_ = running.node(1, "edge-1")
    client = await serve(running)
    for path in ("/api/v1/nodes/edge-1", "/api/v1/nodes/edge-1?"):
        assert (await (await client.get(path)).json())["id"] == id_
    ordered = await client.post("/api/v1/nodes/edge-1/cordon", json={})
    assert (ordered.status, (await ordered.json())["node"]["id"]) == (202, id_)
    events = await (await client.get("/api/v1/events?subject=edge-1")).json()
    assert {event["subject"] for event in events["events"]} == {id_}
    stats = await client.get("/api/v1/stats?node=edge-1&local=1")
    assert stats.status == 200


async def test_a_name_of_several_nodes_means_the_one_that_runs_and_else_they_are_named(
    running: Running, serve: Serve
) -> None:
    first, second = running.node(1, "edge"), running.node(2, "edge")
    client = await serve(running)
    told = await problem(await client.get("/api/v1/nodes/edge"), 409)
    assert f"{first} (active)" in told
    assert f"{second} (active)" in told
    running.hang_up(1)
    assert (await (await client.get("/api/v1/nodes/edge")).json())["id"] == second
    # Whoever vouches for a node that is gone says which.
    assert first in await problem(await client.delete("/api/v1/nodes/edge", json={}), 409)
    assert (await client.delete(f"/api/v1/nodes/{first}", json={})).status == 200


async def test_a_node_that_is_not_found_comes_with_what_is_like_it(running: Running, serve: Serve) -> None:
    id_ = running.node(1, "edge-oslo-1")
    client = await serve(running)
    assert "did you mean edge-oslo-1?" in await problem(await client.get("/api/v1/nodes/edge-olso-1"), 404)
    for word in ("oslo", id_[:16]):
        assert f"edge-oslo-1 ({id_})" in await problem(await client.get(f"/api/v1/nodes/{word}"), 404)


async def test_info_counts_how_long_the_process_is_up(running: Running, serve: Serve) -> None:
    client = await serve(running)
    running.wait(5.0)
    info = await (await client.get("/api/v1/info")).json()
    assert (info["name"], info["group"], info["up_for"]) == ("m1", "blue", 5.0)


async def test_the_cap_is_changed_at_once_and_the_answer_shows_it(running: Running, serve: Serve) -> None:
    client = await serve(running)
    answer = await client.patch("/api/v1/subscription", json={"max_nodes": 7})
    assert answer.status == 200
    assert (await answer.json())["max_nodes"] == running.core.max_nodes == 7
    assert (await answer.json())["serial"] == 1


async def test_a_limit_is_set_changed_and_removed_and_nodes_are_told(running: Running, serve: Serve) -> None:
    client = await serve(running)
    running.node(1)
    answer = await client.patch("/api/v1/limits/batch", json={"max_rate": 60, "every": 60})
    assert answer.status == 200
    assert (await answer.json())["limits"]["batch"]["every"] == 60.0
    running.wait(0.1)
    assert running.limits_of[1] == {"public": Limit(100.0), "batch": Limit(60.0, 60.0)}
    answer = await client.patch("/api/v1/limits/batch", json={"algorithm": "weighted", "safe": 3})
    batch = (await answer.json())["limits"]["batch"]
    assert (batch["max_rate"], batch["algorithm"], batch["safe"]) == (60.0, "weighted", 3.0)
    answer = await client.delete("/api/v1/limits/batch", json={})
    assert set((await answer.json())["limits"]) == {"public"}
    running.wait(0.1)
    assert running.limits_of[1] == {"public": Limit(100.0)}


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("public", {"max_rate": 0}, "`max_rate` must be a number above 0 and below 1e+12, not `0`"),
        (
            "public",
            {"algorithm": "best"},
            "`algorithm` must be 'equal', 'weighted' or 'fair_share', not `best`",
        ),
        ("public", {"lease": 0.1}, "`lease` must be at least 500ms, not `100ms`"),
        ("public", {"every": -1}, "`every` must be a number of seconds, not `-1`"),
        ("public", {"rate": 5}, "unknown field"),
        ("n" * 101, {"max_rate": 5}, "name must be 1 to 100"),
    ],
)
async def test_a_limit_that_cannot_be_is_refused_and_changes_nothing(
    running: Running, serve: Serve, name: str, body: dict[str, object], said: str
) -> None:
    client = await serve(running)
    assert said in await problem(await client.patch(f"/api/v1/limits/{name}", json=body), 400)
    assert running.core.limits == {"public": Limit(100.0)}


async def test_one_node_alone_may_not_be_given_more_than_the_whole_limit(
    running: Running, serve: Serve
) -> None:
    client = await serve(running)
    answer = await client.patch("/api/v1/limits/public", json={"safe": 101})
    assert "`safe` must be at most the `max_rate` of all nodes together (100)" in await problem(answer, 409)
    assert (await client.patch("/api/v1/limits/public", json={"safe": 60})).status == 200
    answer = await client.patch("/api/v1/limits/public", json={"max_rate": 50})
    assert "(50), not `60`" in await problem(answer, 409)
    assert (await client.patch("/api/v1/limits/public", json={"max_rate": 50, "safe": None})).status == 200


async def test_what_is_no_limit_has_no_shares_and_cannot_be_changed_nor_removed(
    running: Running, serve: Serve
) -> None:
    client = await serve(running)
    mistyped = await problem(await client.patch("/api/v1/limits/publc", json={"every": 5}), 404)
    assert "did you mean public? (a new one needs max_rate)" in mistyped
    assert "no limit" in await problem(await client.get("/api/v1/limits/other/shares"), 404)
    assert "no limit" in await problem(await client.delete("/api/v1/limits/other", json={}), 404)


async def test_shares_say_what_each_node_should_have_and_may_have_in_force(
    running: Running, serve: Serve
) -> None:
    ids = [running.node(1), running.node(2)]
    running.wait(0.2)
    shares = await (await (await serve(running)).get("/api/v1/limits/public/shares")).json()
    assert shares["managers"] == [{"name": "m1", "alive": True, "entitled": 100.0, "budget": 100.0}]
    assert {node["id"]: (node["entitled"], node["in_force"]) for node in shares["nodes"]} == dict.fromkeys(
        ids, (50.0, 50.0)
    )


async def test_leaving_is_for_good_only_where_that_is_said(running: Running, serve: Serve) -> None:
    client = await serve(running)
    answer = await client.post("/api/v1/leave", json={})
    assert answer.status == 202
    assert running.left == [False]
    assert "already leaving" in await problem(
        await client.post("/api/v1/leave", json={"for_good": True}), 409
    )
    assert running.left == [False]


async def test_a_manager_leaves_for_good_where_that_is_asked(running: Running, serve: Serve) -> None:
    answer = await (await serve(running)).post("/api/v1/leave", json={"for_good": True})
    assert (answer.status, await answer.json()) == (202, {"status": "leaving", "for_good": True})
    assert running.left == [True]


async def test_a_manager_is_ready_once_it_knows_the_group_and_until_it_leaves(serve: Serve) -> None:
    running = Running(peers=("m2:7946",))
    client = await serve(running)
    assert "just started" in await problem(await client.get("/ready"), 503)
    assert (await client.get("/health")).status == 200
    running.wait(10.0)
    assert (await client.get("/ready")).status == 200
    running.leave(for_good=False)
    assert "leaving" in await problem(await client.get("/ready"), 503)
    assert (await client.get("/health")).status == 200


# Stats of all managers


async def other_manager(serve_at: web.Application) -> TestServer:
    server = TestServer(serve_at)
    await server.start_server()
    return server


def knows(running: Running, name: str, port: int | None) -> None:
    """Make a manager known whose API is at `port` of 127.0.0.1."""
    running.meets(name, "127.0.0.1", {"kcm": "1", "kcm_group": "blue", "kcm_http": str(port)})


async def test_stats_are_those_of_all_managers(running: Running, serve: Serve) -> None:
    other = Running()
    other.wait(10.0)
    here, there = running.node(1), other.node(2)
    for manager_, number in ((running, 1), (other, 2)):
        manager_.says(number, Report(number=1, counters={"requests": 5.0}))
    client, other_client = await serve(running), await serve(other)
    knows(running, "m2", other_client.port)
    stats = await (await client.get("/api/v1/stats")).json()
    assert stats["managers"] == {"asked": 2, "answered": 2}
    assert (stats["window"], stats["step"]) == (3600.0, 10.0)
    expected = [{"at": 1_800_000_010.0, "nonce": 7, "counters": {"requests": 5.0}}]
    assert stats["nodes"] == {id_: expected for id_ in sorted((here, there))}


async def test_latencies_are_of_all_managers_buckets_together(running: Running, serve: Serve) -> None:
    other = Running()
    other.wait(10.0)
    for manager_, number, took in ((running, 1, 0.01), (other, 2, 1.0)):
        manager_.node(number)
        for count in (0, 50):
            row = Served("endpoint", "e", count, 0, count * took, (bucket_of(took), count))
            manager_.says(number, Report(number=1, served=(row,)))
    client, other_client = await serve(running), await serve(other)
    knows(running, "m2", other_client.port)
    stats = await (await client.get("/api/v1/stats?by=endpoint")).json()
    assert stats["managers"] == {"asked": 2, "answered": 2}
    [row] = stats["traffic"]["e"]
    assert row["requests"] == 100
    assert row["p50"] == pytest.approx(0.01, rel=0.2)
    assert row["p95"] == pytest.approx(1.0, rel=0.2)


async def test_local_stats_ask_nobody(running: Running, serve: Serve) -> None:
    knows(running, "m2", 1)
    stats = await (await (await serve(running)).get("/api/v1/stats?local=1")).json()
    assert stats["managers"] == {"asked": 1, "answered": 1}


async def test_a_manager_that_does_not_answer_or_answers_nonsense_is_counted_as_silent(
    running: Running, serve: Serve
) -> None:
    async def nonsense(request: web.Request) -> web.Response:
        return web.json_response({"nodes": {"n": [{"at": "never"}]}})

    async def elsewhere(request: web.Request) -> web.Response:
        raise web.HTTPFound("http://127.0.0.1:1/")

    async def deep(request: web.Request) -> web.Response:
        return web.Response(text="[" * 100_000, content_type="application/json")

    servers = []
    for handler in (nonsense, elsewhere, deep):
        app = web.Application()
        app.router.add_get("/api/v1/stats", handler)
        servers.append(await other_manager(app))
        knows(running, f"x{len(servers)}", servers[-1].port)
    try:
        stats = await (await (await serve(running)).get("/api/v1/stats")).json()
    finally:
        for server in servers:
            await server.close()
    assert stats["managers"] == {"asked": 4, "answered": 1}
    assert stats["nodes"] == {}


async def test_a_manager_that_is_gone_or_too_slow_is_asked_and_counted_as_silent(
    running: Running, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.json_response({"nodes": {}})

    monkeypatch.setattr("manager.web.ask.ASK_SECONDS_MAX", 0.1)
    app = web.Application()
    app.router.add_get("/api/v1/stats", slow)
    server = await other_manager(app)
    id_ = running.node(1)
    running.says(1, Report(number=1, counters={"requests": 5.0}))
    knows(running, "m2", server.port)
    knows(running, "m3", 1)
    try:
        stats = await (await (await serve(running)).get("/api/v1/stats")).json()
    finally:
        await server.close()
    assert stats["managers"] == {"asked": 3, "answered": 1}
    assert list(stats["nodes"]) == [id_]


# What is refused


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "max_nodes must be a whole number from 0 to 1000000"),
        ({"max_nodes": -1}, "max_nodes must be a whole number"),
        ({"max_nodes": 1.5}, "max_nodes must be a whole number"),
        ({"max_nodes": True}, "max_nodes must be a whole number"),
        ({"max_nodes": None}, "max_nodes must be a whole number"),
        ({"max_nodes": "7"}, "max_nodes must be a whole number"),
        ({"max_nodes": 10**9}, "max_nodes must be a whole number"),
        ({"max_nodes": 7, "serial": 9}, "unknown field 'serial'; known: max_nodes"),
        ([], "the body must be a JSON object"),
        (7, "the body must be a JSON object"),
    ],
)
async def test_a_cap_that_makes_no_sense_is_refused_and_changes_nothing(
    running: Running, serve: Serve, body: object, detail: str
) -> None:
    answer = await (await serve(running)).patch("/api/v1/subscription", json=body)
    assert detail in await problem(answer, 400)
    assert running.core.max_nodes == 2
    assert running.counts["http", "bad_request"] == 1


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff\xfe",
        b"\x00",
        b'{"max_nodes": 1, "max_nodes": 7}',
        b"[" * 60_000,
        b'{"max_nodes": ' + b"9" * 10_000 + b"}",
    ],
)
async def test_a_body_that_is_not_json_is_refused(running: Running, serve: Serve, body: bytes) -> None:
    answer = await (await serve(running)).patch(
        "/api/v1/subscription", data=body, headers={"Content-Type": "application/json"}
    )
    await problem(answer, 400)
    assert running.core.max_nodes == 2


async def test_a_body_of_another_kind_is_refused(running: Running, serve: Serve) -> None:
    answer = await (await serve(running)).post("/api/v1/leave", data=b'{"for_good": true}')
    assert "Content-Type: application/json" in await problem(answer, 415)
    assert running.left == []


async def test_a_body_that_is_too_large_is_refused(running: Running, serve: Serve) -> None:
    client = await serve(running)
    body = b" " * (BODY_BYTES_MAX + 1)
    answer = await client.post("/api/v1/leave", data=body, headers={"Content-Type": "application/json"})
    assert "64 KiB" in await problem(answer, 413)
    assert running.counts["http", "too_large"] == 1
    assert running.left == []


async def test_for_good_is_true_or_false(running: Running, serve: Serve) -> None:
    answer = await (await serve(running)).post("/api/v1/leave", json={"for_good": "yes"})
    assert "for_good must be true or false" in await problem(answer, 400)
    assert running.left == []


@pytest.mark.parametrize(
    "path", ["/api/v1/node", "/api/v2/nodes", "/static/app.py", "/static/../app.py", "/x"]
)
async def test_what_is_not_there_is_not_found(running: Running, serve: Serve, path: str) -> None:
    assert "the API is under /api/v1" in await problem(await (await serve(running)).get(path), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/api/v1/nodes", "GET, HEAD"),
        ("DELETE", "/api/v1/subscription", "GET, HEAD, PATCH"),
        ("GET", "/api/v1/leave", "POST"),
    ],
)
async def test_a_method_that_is_not_for_a_resource_is_refused_with_those_that_are(
    running: Running, serve: Serve, method: str, path: str, allowed: str
) -> None:
    answer = await (await serve(running)).request(method, path)
    assert answer.headers["Allow"] == allowed
    assert f"use {allowed}" in await problem(answer, 405)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://["},
        {"Forwarded": "for=10.0.0.1"},
        {"X-Forwarded-For": "10.0.0.1"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("PATCH", "/api/v1/subscription", {"max_nodes": 7}), ("POST", "/api/v1/leave", {"for_good": True})],
)
async def test_a_change_that_did_not_come_straight_from_this_host_is_refused_and_counted(
    running: Running,
    serve: Serve,
    method: str,
    path: str,
    body: dict[str, Any],
    headers: dict[str, str],
) -> None:
    answer = await (await serve(running)).request(method, path, json=body, headers=headers)
    assert "use `kcm` on the manager's own host" in await problem(answer, 403)
    assert (running.core.max_nodes, running.left) == (2, [])
    assert running.counts == {("http", "change_refused"): 1}


async def test_reading_is_free_to_proxies(running: Running, serve: Serve) -> None:
    headers = {"X-Forwarded-For": "10.0.0.1"}
    assert (await (await serve(running)).get("/api/v1/nodes", headers=headers)).status == 200


@pytest.mark.parametrize("method", ["GET", "PATCH"])
async def test_under_a_name_that_is_not_its_own_a_manager_answers_nothing(
    running: Running, serve: Serve, method: str
) -> None:
    headers = {"Host": "evil.example", "Content-Type": "application/json"}
    answer = await (await serve(running)).request(method, "/api/v1/subscription", headers=headers)
    assert "http.hosts" in await problem(answer, 403)
    assert running.counts == {("http", "foreign_host"): 1}


@pytest.mark.parametrize("path", ["/", "/api/v1/nodes", "/metrics", "/health", "/nothing"])
async def test_far_addresses_are_turned_away_from_everything(
    running: Running, serve: Serve, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    # Nothing else than a loopback address can be had here to come from.
    monkeypatch.setattr(web.Request, "remote", "203.0.113.9")
    assert "only loopback and private" in await problem(await (await serve(running)).get(path), 403)
    assert running.counts == {("http", "not_near"): 1}


async def test_a_failure_of_ours_is_logged_and_answered_without_its_innards(
    running: Running, serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = await serve(running)
    monkeypatch.setattr(running, "set_max_nodes", None)
    answer = await client.patch("/api/v1/subscription", json={"max_nodes": 7})
    assert await problem(answer, 500) == "this manager failed to answer; its log says why"
    [record] = caplog.records
    assert record.getMessage() == "PATCH /api/v1/subscription failed"


@pytest.mark.parametrize(
    "noise",
    [
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 9000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    ],
)
async def test_what_is_not_http_gets_a_400_and_no_line_in_the_log(
    running: Running, serve: Serve, caplog: pytest.LogCaptureFixture, noise: bytes
) -> None:
    client = await serve(running)
    caplog.set_level(logging.WARNING)
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(noise)
    assert b" 400 " in await reader.readline()
    writer.close()
    await writer.wait_closed()
    assert caplog.records == []


# Metrics


async def test_metrics_count_nodes_members_seats_and_what_was_refused(running: Running, serve: Serve) -> None:
    for number in (1, 2, 3):
        running.node(number)
    running.meets("m2", "10.0.0.2")
    running.count("gossip", "malformed")
    answer = await (await serve(running)).get("/metrics")
    assert answer.content_type == "text/plain"
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(await answer.text())
        for sample in family.samples
    }
    assert samples["kcm_nodes", "active"] == 2
    assert samples["kcm_nodes", "refused"] == 1
    assert samples["kcm_nodes", "down"] == 0
    assert samples["kcm_members", "alive"] == 2
    assert samples["kcm_members", "dead"] == 0
    assert samples["kcm_seats_used",] == 2
    assert samples["kcm_seats_max",] == 2
    assert samples["kcm_nodes_connected",] == 2
    assert samples["kcm_rejected_total", "malformed", "gossip"] == 1
    assert all(name.startswith("kcm_") for name, *_ in samples)


async def test_metrics_of_traffic_end_with_the_node_that_is_forgotten(serve: Serve) -> None:
    running = Running(ManagerConfig(forget_ephemeral_after=60.0))
    running.wait(10.0)
    key = b"k" * 32
    id_ = IDENTITY.id_of(key)
    running.says(1, Hello(key=key, incarnation=1, nonce=1, ephemeral=True))
    for count in (0, 3):
        row = Served("endpoint", "GET /a", count, 1, 0.3, (bucket_of(0.1), count))
        running.says(1, Report(number=1, served=(row, replace(row, kind="backend", name="b"))))
    client = await serve(running)

    async def samples() -> dict[tuple[str, ...], float]:
        text = await (await client.get("/metrics")).text()
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    found = await samples()
    assert found["kcm_endpoint_requests_total", "GET /a"] == 3
    assert found["kcm_endpoint_seconds_bucket", "GET /a", "0.064"] == 0
    assert found["kcm_endpoint_seconds_bucket", "GET /a", "0.256"] == 3
    assert found["kcm_backend_errors_total", "b"] == 0
    assert found["kcm_node_requests_total", id_] == 3
    running.says(1, Leave(reason="stopped"))
    running.wait(200.0)
    assert ("kcm_node_requests_total", id_) not in await samples()
    running.wait(2 * 3600.0)
    assert not [key for key in await samples() if key[0].startswith("kcm_endpoint")]


async def test_without_a_cap_there_is_no_metric_of_it(serve: Serve) -> None:
    text = await (await (await serve(Running())).get("/metrics")).text()
    assert "kcm_seats_max" not in text
    assert "kcm_seats_used 0.0" in text


# The page


async def test_no_script_but_the_managers_own_may_run_and_nobody_may_frame_the_page(
    running: Running, serve: Serve
) -> None:
    headers = (await (await serve(running)).get("/")).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {}, 200),
        ("GET", "/static/page.js", {}, 200),
        ("GET", "/static/style.css", {"If-None-Match": "*"}, 304),
        ("GET", "/static/icon.svg", {"Range": "bytes=0-9"}, 206),
        ("GET", "/static/icon.svg", {"Range": "bytes=99999-"}, 416),
        ("GET", "/health", {}, 200),
        ("GET", "/ready", {}, 200),
        ("GET", "/metrics", {}, 200),
        ("GET", "/api/v1/info", {}, 200),
        ("GET", "/api/v1/nodes/nobody", {}, 404),
        ("GET", "/nothing", {}, 404),
        ("GET", "/health", {"Expect": "a miracle"}, 417),
        ("DELETE", "/", {}, 405),
        ("OPTIONS", "/api/v1/nodes", {}, 405),
        ("POST", "/api/v1/leave", {}, 415),
        ("POST", "/api/v1/leave", {"Content-Type": "application/json"}, 400),
        ("POST", "/api/v1/leave", {"Origin": "http://evil.example"}, 403),
    ],
)
async def test_every_answer_tells_the_browser_to_trust_nothing_else(
    running: Running, serve: Serve, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    answer = await (await serve(running)).request(method, path, headers=headers)
    assert answer.status == status
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; ")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/", "/static/page.js", "/health", "/metrics", "/api/v1/nodes", "/api/v1/stats"]
)
async def test_head_is_get_without_a_body(running: Running, serve: Serve, path: str) -> None:
    client = await serve(running)
    got, head = await client.get(path), await client.head(path)
    assert (head.status, head.content_type) == (got.status, got.content_type) == (200, got.content_type)
    assert await head.read() == b""
    assert head.headers["Content-Length"] == got.headers["Content-Length"]


async def test_a_snapshot_is_the_file_that_the_manager_keeps(serve: Serve, running: Running) -> None:
    client = await serve(running)
    running.kept = b"SQLite format 3"
    answer = await client.post("/api/v1/snapshot", json={})
    assert (answer.status, await answer.read()) == (200, b"SQLite format 3")
    assert answer.headers["Content-Type"] == "application/octet-stream"


async def test_of_a_manager_that_keeps_nothing_there_is_no_snapshot(serve: Serve, running: Running) -> None:
    client = await serve(running)
    assert "--state-dir" in await problem(await client.post("/api/v1/snapshot", json={}), 409)


async def test_a_snapshot_is_given_to_this_host_alone(serve: Serve, running: Running) -> None:
    client = await serve(running)
    running.kept = b"SQLite format 3"
    answer = await client.post("/api/v1/snapshot", json={}, headers={"X-Forwarded-For": "10.0.0.1"})
    await problem(answer, 403)


# Bundles


async def test_a_bundle_needs_the_groups_secret_which_signs_it(serve: Serve, running: Running) -> None:
    assert "group.secret" in await problem(await (await serve(running)).get("/api/v1/bundle"), 409)


async def test_a_bundle_has_what_a_new_node_needs(serve: Serve) -> None:
    free = {"public": Limit(1.0)}
    config = ManagerConfig(secret="s" * 32, max_nodes=4, limits={"public": Limit(100.0)}, free_limits=free)
    async with ClientSession() as http:
        running = Running(config, http=http)
        running.wait(10.0)
        client = await serve(running)
        answer = await (await client.get("/api/v1/bundle?days=2")).json()
        wall = running.core.group.wall(running.now())
        made = open_bundle(answer["bundle"], [read_public_key(answer["key"])], wall)
        assert made.group == running.core.group.group_name
        assert made.expires == wall + 2 * 86400.0
        assert made.managers == running.core.seeds()
        assert made.limits == {"public": Limit(25.0)}
        assert (made.free_limits, made.degrade_after) == (free, 7 * 86400.0)
        detail = await problem(await client.get("/api/v1/bundle?kind=nginx"), 409)
        assert "no configuration for nginx" in detail
        assert "days must be" in await problem(await client.get("/api/v1/bundle?days=0"), 400)
