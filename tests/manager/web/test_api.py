"""Pages, marks, streams and the past: what the API promises beyond its single answers."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient

from manager.terms import ManagerConfig
from manager.web.app import all_routes
from manager.web.cluster import STATS_STEPS_MAX
from manager.web.live import STREAMS_MAX
from manager.web.openapi import document
from node.latency import bucket_of
from node.protocol import ConfigState, Leave, Report, Served, ServedKind
from tests.manager.running import Running

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    """Manager m1 with two seats."""
    async with ClientSession() as http:
        running = Running(ManagerConfig(max_nodes=2), http=http)
        running.wait(10.0)
        yield running


async def get(client: Client, path: str) -> Any:
    answer = await client.get(f"/api/v1/{path}")
    assert answer.status == 200, await answer.text()
    return await answer.json()


def test_every_route_is_in_the_document_and_the_reverse() -> None:
    routes = {
        (route.method.lower(), route.path)
        for route in all_routes()
        if isinstance(route, web.RouteDef) and route.path != "/" and not route.path.startswith("/static/")
    }
    told = {(method, path) for path, methods in document()["paths"].items() for method in methods}
    assert told == routes


# Pages


async def test_nodes_come_page_by_page_and_each_once(running: Running, client: Client) -> None:
    ids = sorted(running.node(number) for number in (1, 2, 3))
    found: list[str] = []
    path = "nodes?limit=2"
    while path:
        page = await get(client, path)
        assert len(page["nodes"]) <= 2
        found += [node["id"] for node in page["nodes"]]
        path = f"nodes?limit=2&cursor={page['next']}" if page["next"] else ""
    assert found == ids


async def test_only_the_nodes_of_a_wanted_state_are_listed(running: Running, client: Client) -> None:
    for number in (1, 2, 3):
        running.node(number)
    assert [node["name"] for node in (await get(client, "nodes?state=refused"))["nodes"]] == ["n3"]


@pytest.mark.parametrize(
    "path",
    [
        "nodes?limit=0",
        "nodes?limit=x",
        "nodes?state=well",
        "nodes?stat=down",
        "nodes?limit=1&limit=2",
        "stats?from=nan",
        "stats?step=0",
        "stats?by=colour",
        "events?limit=1001",
        "events?cursor=-1",
        "audit?limit=²",
        "sd/nginx?port=65536",
    ],
)
async def test_a_query_that_makes_no_sense_is_refused_by_its_name(client: Client, path: str) -> None:
    answer = await client.get(f"/api/v1/{path}")
    assert answer.status == 400
    name = path.partition("?")[2].partition("=")[0]
    assert name in json.loads(await answer.read())["detail"]


# Marks


async def test_who_has_the_answer_already_is_told_so_until_it_changes(
    running: Running, client: Client
) -> None:
    running.node(1)
    mark = (await client.get("/api/v1/nodes")).headers["ETag"]
    again = await client.get("/api/v1/nodes", headers={"If-None-Match": mark})
    assert (again.status, again.headers["ETag"], await again.read()) == (304, mark, b"")
    running.hang_up(1)
    assert (await client.get("/api/v1/nodes", headers={"If-None-Match": mark})).status == 200


# Stats


async def report(running: Running, number: int, times: int) -> None:
    for at in range(times):
        running.wait(10.0)
        running.says(number, Report(number=at, counters={"requests": float(at)}))


async def test_stats_are_bounded_and_the_rest_comes_by_the_cursor(running: Running, client: Client) -> None:
    ids = sorted(running.node(number) for number in (1, 2))
    for number in (1, 2):
        await report(running, number, 3)
    first = await get(client, "stats?limit=1")
    assert (list(first["nodes"]), first["next"]) == ([ids[0]], ids[0])
    second = await get(client, f"stats?limit=1&cursor={ids[0]}")
    assert (list(second["nodes"]), second["next"]) == ([ids[1]], None)
    assert list((await get(client, f"stats?node={ids[1]}"))["nodes"]) == [ids[1]]
    assert (await get(client, "stats?node=nobody"))["nodes"] == {}


def served(name: str, requests: int, kind: ServedKind = "endpoint", took: float = 0.1) -> Served:
    return Served(kind, name, requests, requests // 10, requests * took, (bucket_of(took), requests))


def answers(running: Running, number: int, *rows: Served) -> None:
    """Node `number`'s gateway, which had answered nothing before, has answered this."""
    running.says(number, Report(number=1))
    running.says(number, Report(number=2, served=rows))


async def test_what_gateways_answered_is_told_by_what_is_asked(running: Running, client: Client) -> None:
    ids = [running.node(number) for number in (1, 2)]
    for number in (1, 2):
        answers(running, number, served("GET /a", 10 * number), served("b:80", 10 * number, "backend"))
    for by, expected in (
        ("all", {"all": 30}),
        ("endpoint", {"GET /a": 30}),
        ("backend", {"b:80": 30}),
        ("node", {ids[0]: 10, ids[1]: 20}),
        ("node_backend", {f"{ids[0]} b:80": 10, f"{ids[1]} b:80": 20}),
    ):
        answer = await get(client, f"stats?by={by}")
        assert {name: rows[0]["requests"] for name, rows in answer["traffic"].items()} == expected
    assert list((await get(client, f"stats?by=node_backend&node={ids[1]}"))["traffic"]) == [f"{ids[1]} b:80"]
    [row] = (await get(client, "stats?by=endpoint"))["traffic"]["GET /a"]
    assert row["errors"] == 3
    assert row["p50"] == pytest.approx(0.1, rel=0.2)


async def test_names_of_traffic_come_page_by_page(running: Running, client: Client) -> None:
    running.node(1)
    answers(running, 1, *(served(f"e{at}", 1) for at in range(5)))
    found: list[str] = []
    path = "stats?by=endpoint&limit=2"
    while path:
        page = await get(client, path)
        assert len(page["traffic"]) <= 2
        found += page["traffic"]
        path = f"stats?by=endpoint&limit=2&cursor={page['next']}" if page["next"] else ""
    assert found == [f"e{at}" for at in range(5)]


async def test_traffic_of_another_time_is_not_told(running: Running, client: Client) -> None:
    running.node(1)
    answers(running, 1, served("e", 1))
    answer = await get(client, "stats?by=endpoint&to=1000")
    assert (answer["traffic"], answer["to"]) == ({}, 1000.0)
    answer = await get(client, "stats?by=endpoint&step=60")
    assert [row["at"] % 60 for row in answer["traffic"]["e"]] == [0.0]
    assert answer["from"] == running.core.traffic.began, "the manager counts only since then"


async def test_no_answer_about_stats_has_more_steps_than_promised(running: Running, client: Client) -> None:
    window = running.core.stats
    for number in range(100):
        for at in range(200):
            window.add(f"n{number:03}", 1, {"requests": 1.0}, 1_800_000_000.0 + at * 10)
    running.wait(2_000.0)
    seen: list[str] = []
    path = "stats?local=1"
    while path:
        page = await get(client, path)
        assert sum(map(len, page["nodes"].values())) <= STATS_STEPS_MAX
        seen += page["nodes"]
        path = f"stats?local=1&cursor={page['next']}" if page["next"] else ""
    assert len(seen) == len(set(seen)) >= 100


async def test_wider_steps_hold_the_last_report_of_each(running: Running, client: Client) -> None:
    id_ = running.node(1)
    await report(running, 1, 6)
    [*steps] = (await get(client, f"stats?step=30&node={id_}"))["nodes"][id_]
    assert [step["at"] % 30 for step in steps] == [0.0] * len(steps)
    assert steps[-1]["counters"] == {"requests": 5.0}
    assert 2 <= len(steps) <= 3
    one = await get(client, f"stats?node={id_}&from={steps[-1]['at']}&to={steps[-1]['at'] + 9}")
    assert [step["at"] for step in one["nodes"][id_]] == [steps[-1]["at"]]


# What happened


async def test_a_node_is_followed_through_its_states(running: Running, client: Client) -> None:
    id_ = running.node(1)
    running.says(1, Report(number=1, gateway="command: running"))
    running.wait(20.0)
    running.says(1, Report(number=2, gateway="command: running"))
    running.says(1, Leave(reason="stopped"))
    events = (await get(client, f"events?subject={id_}"))["events"]
    assert [(e["kind"], e["before"], e["state"], e["by"]) for e in reversed(events)] == [
        ("node", "", "active", "m1"),
        ("gateway", "", "command: running", "m1"),
        ("node", "active", "unreachable, seat held", "m1"),
        ("node", "unreachable, seat held", "active", "m1"),
        ("node", "active", "removed, seat held", "m1"),
    ]
    assert events[0]["why"] == "left: stopped"
    assert [e["id"] for e in events] == sorted((e["id"] for e in events), reverse=True)


async def test_events_come_page_by_page(running: Running, client: Client) -> None:
    for number in (1, 2, 3):
        running.node(number)
    first = await get(client, "events?limit=2")
    rest = await get(client, f"events?limit=1000&cursor={first['next']}")
    whole = await get(client, "events?limit=1000")
    assert first["events"] + rest["events"] == whole["events"]
    assert rest["next"] is None


async def test_seats_over_time_have_a_value_for_each_step(running: Running, client: Client) -> None:
    running.node(1)
    running.wait(60.0)
    past = await get(client, "subscription/usage")
    assert past["step"] == 10.0
    assert set(past["cap"]) == {2}
    assert past["used"][-1] == 1
    assert len(past["at"]) == len(past["used"]) == len(past["states"]["active"]) >= 6


async def test_changes_are_written_down_with_what_they_changed_and_refusals_are_not(
    running: Running, client: Client
) -> None:
    assert (await client.patch("/api/v1/subscription", json={"max_nodes": 7})).status == 200
    assert (await client.patch("/api/v1/subscription", json={"max_nodes": -7})).status == 400
    [change] = (await get(client, "audit"))["changes"]
    assert change["change"] == "subscription: max_nodes from 2 to 7"
    assert change["manager"] == "m1"
    assert "127.0.0.1" in change["who"]


async def test_the_answer_to_a_lower_cap_counts_the_surplus(running: Running, client: Client) -> None:
    for number in (1, 2):
        running.node(number)
    answer = await (await client.patch("/api/v1/subscription", json={"max_nodes": 1})).json()
    assert (answer["used"], answer["over_limit"]) == (1, 1)


async def test_the_group_is_shown_as_each_manager_sees_it(running: Running, client: Client) -> None:
    running.meets("m2", "127.0.0.1", {"kcm": "1", "kcm_group": "blue", "kcm_http": "1"})
    group = await get(client, "group")
    assert group["managers"] == {"asked": 2, "answered": 1}
    assert group["views"]["m1"]["sees"]["m2"]["state"] in ("alive", "suspect")


# Other programs


async def test_active_nodes_are_servers_and_targets(running: Running, client: Client) -> None:
    for number in (1, 2, 3):
        running.node(number, name="gw one")
    assert sorted((await (await client.get("/api/v1/sd/nginx")).text()).splitlines()) == [
        "server 10.1.0.1:8080;",
        "server 10.1.0.2:8080;",
    ]
    lines = (await (await client.get("/api/v1/sd/haproxy?port=80")).text()).splitlines()
    assert {line.split()[2] for line in lines} == {"10.1.0.1:80", "10.1.0.2:80"}
    assert len({line.split()[1] for line in lines}) == 2
    targets = await get(client, "sd/prometheus")
    assert {target["targets"][0] for target in targets} == {"10.1.0.1:9898", "10.1.0.2:9898"}


@pytest.mark.parametrize(
    "said",
    [
        Report(number=9, config=ConfigState(service="cordoned")),
        Report(number=9, config=ConfigState(ready=False, service="drained")),
        Report(number=9, config=ConfigState(managed=True, ready=False)),
        Report(number=9, gateway="nginx: restarting"),
    ],
)
async def test_nodes_out_of_service_are_no_servers_and_still_targets(
    running: Running, client: Client, said: Report
) -> None:
    for number in (1, 2):
        running.node(number)
    running.says(2, said)
    for door in ("nginx", "haproxy"):
        lines = (await (await client.get(f"/api/v1/sd/{door}")).text()).splitlines()
        assert [line for line in lines if "10.1.0.2" in line] == []
        assert len(lines) == 1
    assert len(await get(client, "sd/prometheus")) == 2


# The stream


class Stream:
    """Reads server-sent events."""

    def __init__(self, content: Any) -> None:
        self._content = content

    async def next(self, kind: str) -> tuple[dict[str, Any], str]:
        """Data and id of the next event of `kind`."""
        found, id_, data = "", "", {}
        async with asyncio.timeout(10):
            while True:
                line = (await self._content.readline()).decode().rstrip("\n")
                name, _, value = line.partition(": ")
                if name == "event":
                    found = value
                elif name == "id":
                    id_ = value
                elif name == "data":
                    data = json.loads(value)
                elif not line and found == kind:
                    return data, id_


STREAM = {"Accept": "text/event-stream"}


async def test_a_stream_tells_what_happens_as_it_happens(running: Running, client: Client) -> None:
    async with client.get("/api/v1/events", headers=STREAM) as answer:
        assert answer.content_type == "text/event-stream"
        stream = Stream(answer.content)
        await stream.next("reset")
        summary, _ = await stream.next("summary")
        assert summary["subscription"]["used"] == 0
        assert summary["rollouts"] == []
        id_ = running.node(1)
        change, number = await stream.next("change")
        assert (change["subject"], change["node"]["state"], str(change["id"])) == (id_, "active", number)
        running.wait(2.0)
        summary, _ = await stream.next("summary")
        assert summary["subscription"]["used"] == 1


async def test_who_comes_back_is_told_what_was_missed(running: Running, client: Client) -> None:
    running.node(1)
    seen = running.core.events.last
    running.node(2)
    async with client.get("/api/v1/events", headers={**STREAM, "Last-Event-ID": str(seen)}) as answer:
        change, _ = await Stream(answer.content).next("change")
        assert change["name"] == "n2"


async def test_who_missed_more_than_is_kept_is_told_to_ask_anew(running: Running, client: Client) -> None:
    async with client.get("/api/v1/events?after=5", headers=STREAM) as answer:
        assert (await Stream(answer.content).next("reset"))[0] == {}


async def test_no_more_streams_than_one_manager_can_serve(
    running: Running, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manager.web.live.STREAMS_MAX", 1)
    assert STREAMS_MAX > 1
    async with client.get("/api/v1/events", headers=STREAM):
        refused = await client.get("/api/v1/events", headers=STREAM)
        assert refused.status == 503
        assert running.counts["http", "too_many_streams"] == 1
