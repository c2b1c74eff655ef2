"""`agree` over views made here, and over what a server answers."""

from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from manager.agreement import NoView, View, agree, fetch_views

NODE = {"id": "krakend_1", "name": "n1", "state": "active", "incarnation": 1, "manager": "m1", "seat": True}
MEMBER = {"name": "m1", "state": "alive", "address": "127.0.0.1:7946"}
SUBSCRIPTION = {"max_nodes": 10, "used": 1, "serial": 0, "free": 9}


def view(
    nodes: list[dict[str, Any]] | None = None,
    members: list[dict[str, Any]] | None = None,
    subscription: dict[str, Any] | None = None,
) -> View:
    return View([NODE] if nodes is None else nodes, members or [MEMBER], subscription or SUBSCRIPTION)


def test_equal_views_agree() -> None:
    assert agree({"m1": view(), "m2": view(), "m3": view()}) == []


def test_order_and_what_is_not_compared_do_not_matter() -> None:
    other = {**NODE, "id": "krakend_2"}
    reordered = view(
        [other, {**NODE, "why": "said hello", "since": "now"}], subscription={**SUBSCRIPTION, "free": 0}
    )
    assert agree({"m1": view([NODE, other]), "m2": reordered}) == []


def test_every_field_that_is_compared_is_told() -> None:
    changes: list[tuple[dict[str, Any], str]] = [
        ({"state": "down"}, "down at m1, incarnation 1, with a seat"),
        ({"incarnation": 2}, "active at m1, incarnation 2, with a seat"),
        ({"manager": "m2"}, "active at m2, incarnation 1, with a seat"),
        ({"seat": False}, "active at m1, incarnation 1, without a seat"),
    ]
    for change, told in changes:
        differences = agree({"m1": view(), "m2": view([{**NODE, **change}]), "m3": view()})
        assert differences == [
            f"node krakend_1: m1, m3: active at m1, incarnation 1, with a seat; m2: {told}"
        ]
    assert agree({"m1": view(), "m2": view(members=[{**MEMBER, "state": "dead"}])}) == [
        "member m1: m1: alive at 127.0.0.1:7946; m2: dead at 127.0.0.1:7946"
    ]
    assert agree({"m1": view(), "m2": view(subscription={**SUBSCRIPTION, "max_nodes": None})}) == [
        "subscription: m1: max_nodes 10, used 1, serial 0; m2: max_nodes None, used 1, serial 0"
    ]


def test_what_only_some_list_is_a_difference() -> None:
    assert agree({"m1": view(), "m2": view([])}) == [
        "node krakend_1: m1: active at m1, incarnation 1, with a seat; m2: not listed"
    ]


def test_who_does_not_answer_agrees_with_nobody() -> None:
    assert agree({"m1": view(), "m2": NoView("too slow")}) == ["m2 gave no answer: too slow"]


async def test_views_are_fetched_over_the_public_api() -> None:
    documents = {"nodes": {"nodes": [NODE]}, "members": {"members": [MEMBER]}, "subscription": SUBSCRIPTION}

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(documents[request.match_info["what"]])

    app = web.Application()
    app.router.add_get("/api/v1/{what}", answer)
    async with TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        views = await fetch_views({"m1": url, "m2": "http://127.0.0.1:1", "m3": f"{url}/elsewhere"})
        assert views["m1"] == view()
        assert isinstance(views["m2"], NoView)
        assert "127.0.0.1:1" in views["m2"].why
        assert isinstance(views["m3"], NoView)
        assert "404" in views["m3"].why
        documents["nodes"] = {"nodes": [{"id": "krakend_1"}]}
        (incomplete,) = (await fetch_views({"m1": url})).values()
    assert incomplete == NoView(f"{url} does not answer as a manager does: KeyError('seat')")
