"""Who belongs to the group, by an operator's word over HTTP and by `kcm`."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient

from manager.cli import main as cli
from tests.manager.running import Running

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    """m1, with m2, which is dead, and m3, which is alive."""
    async with ClientSession() as http:
        running = Running(http=http)
        for number in (2, 3):
            running.meets(f"m{number}", f"10.0.0.{number}")
        running.loses("m2")
        yield running


async def ask(client: Client, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    answer = await client.post(f"/api/v1/{path}", json=body)
    return answer.status, await answer.json(content_type=None)


def states(running: Running) -> dict[str, str]:
    return {member.name: member.state.name.lower() for member in running.core.group.swim.members}


async def test_a_dead_manager_is_declared_gone_and_the_audit_says_by_whom(
    running: Running, client: Client
) -> None:
    status, answer = await ask(client, "force-leave", {"name": "m2"})
    assert status == 200
    assert [member["state"] for member in answer["members"]] == ["alive", "left", "alive"]
    audit = await (await client.get("/api/v1/audit?local=1")).json()
    assert audit["changes"][0]["change"] == "member m2 is declared gone"


async def test_a_pruned_manager_is_not_listed_any_more(running: Running, client: Client) -> None:
    assert (await ask(client, "force-leave", {"name": "m2", "prune": True}))[0] == 200
    assert states(running) == {"m1": "alive", "m3": "alive"}


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"name": "m3"}, 409, "m3 at 10.0.0.3:7946 is alive"),
        ({"name": "m1"}, 409, "`kcm leave` ends it"),
        ({"name": "m9"}, 404, "no member is called 'm9'"),
        ({"name": 3}, 400, "name must be"),
        ({"name": "m2", "prune": "yes"}, 400, "prune must be"),
        ({}, 400, "name must be"),
    ],
)
async def test_what_is_not_done_is_refused_with_the_reason(
    running: Running, client: Client, body: dict[str, Any], status: int, detail: str
) -> None:
    answer = await ask(client, "force-leave", body)
    assert answer[0] == status
    assert detail in answer[1]["detail"]
    assert states(running)["m2"] == "dead"


async def kcm(client: Client, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    url = str(client.make_url("")).rstrip("/")

    def ends() -> int:
        with pytest.raises(SystemExit) as ended:
            cli.main([*arguments, "--manager", url])
        assert isinstance(ended.value.code, int)
        return ended.value.code

    code = await asyncio.to_thread(ends)
    return code, *capsys.readouterr()


async def test_kcm_force_leave_says_what_became_of_the_member(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = await kcm(client, capsys, "force-leave", "m2")
    assert (code, out) == (0, "m2 has left, and is not expected back\n")
    code, out, _ = await kcm(client, capsys, "force-leave", "--prune", "m2")
    assert (code, out) == (0, "m2 is no longer listed\n")
    code, _, error = await kcm(client, capsys, "force-leave", "m3")
    assert (code, "is alive" in error) == (1, True)
    assert (await kcm(client, capsys, "force-leave", "m2"))[0] == 3


# Joining


@pytest.mark.parametrize(
    ("peers", "status", "detail"),
    [
        (["10.0.0.9"], 409, "nobody was reached: 10.0.0.9:7946: connection refused"),
        (["nowhere", "10.0.0.1"], 409, "nowhere:7946: the name is not known here; 10.0.0.1:7946: that is"),
        (["dns+srv://x"], 409, "dns+srv://x: must be `dns+srv://_service._tcp.name`"),
        (["a" * 300 + ":70000"], 409, "must be"),
        ([], 400, "1 to 20"),
        (["10.0.0.9", 7], 400, "must be text"),
        (7, 400, "1 to 20"),
    ],
)
async def test_who_cannot_be_joined_is_named_with_the_cause(
    client: Client, peers: object, status: int, detail: str
) -> None:
    answer = await ask(client, "join", {"peers": peers})
    assert answer[0] == status
    assert detail in answer[1]["detail"]


async def test_kcm_join_says_why_nobody_was_reached(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, error = await kcm(client, capsys, "join", "10.0.0.9:7947")
    assert code == 1
    assert "10.0.0.9:7947: connection refused" in error


# Reachability


async def test_whom_this_manager_reaches_is_told_with_what_to_do(running: Running, client: Client) -> None:
    running.hear = {"m3"}
    answer = await (await client.get("/api/v1/reachability?local=1")).json()
    assert answer["silent"] == ["m3"]
    members = answer["views"]["m1"]["members"]
    assert [(one["name"], one["udp"] is None, one["tcp"] is None) for one in members] == [
        ("m2", True, True),
        ("m3", False, True),
    ]
    assert [(one["check"], one["what"]) for one in answer["findings"]] == [
        ("gone", "m2 is dead and silent: `kcm force-leave m2` if it does not come back"),
        ("TCP", "m3 answers m1 by UDP and not by TCP (connection refused): let TCP to port 7946 through"),
    ]


async def test_kcm_reachability_fails_where_somebody_is_silent(
    running: Running, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, error = await kcm(client, capsys, "reachability")
    assert (code, "not everybody answers" in error) == (1, True)
    assert out.splitlines()[0].split() == ["FROM", "TO", "STATE", "UDP", "TCP", "WHY"]
    assert "1 of 2 managers did not say whom they reach" in out
