"""`kcm events`, `monitor`, `rtt`, `explain`, `stats` and `completion` against a real API."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest
import yaml
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from manager.cli import completion
from manager.cli import main as cli
from manager.cli.client import follow
from manager.cli.look import NEXT, _rates, _top_cells
from manager.records import NodeState
from manager.terms import ManagerConfig
from manager.web.app import create_app
from node.latency import bucket_of
from node.protocol import ConfigState, Leave, Report, Served
from tests.manager.running import Running

Kcm: TypeAlias = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    """A manager with two seats and three nodes, one of which has ended."""
    async with ClientSession() as http:
        running = Running(ManagerConfig(max_nodes=2), http=http)
        running.wait(10.0)
        for number in (1, 2, 3):
            running.node(number)
        running.says(1, Leave(reason="stopped"))
        yield running


@pytest.fixture
async def url(running: Running) -> AsyncIterator[str]:
    server = TestServer(create_app(running))
    await server.start_server()
    yield str(server.make_url("")).rstrip("/")
    await server.close()


@pytest.fixture
async def kcm(url: str, capsys: pytest.CaptureFixture[str]) -> Kcm:
    """Runs `kcm ARGUMENTS`; gives exit code, output and errors."""

    async def run(*arguments: str) -> tuple[int, str, str]:
        def ends() -> int:
            with pytest.raises(SystemExit) as ended:
                cli.main([*arguments, "--manager", url])
            assert isinstance(ended.value.code, int)
            return ended.value.code

        code = await asyncio.to_thread(ends)
        return code, *capsys.readouterr()

    return run


async def test_events_are_told_the_last_one_last(kcm: Kcm) -> None:
    code, out, _ = await kcm("events", "--limit", "3", "-o", "json")
    events = json.loads(out)
    assert (code, len(events)) == (0, 3)
    assert (events[-1]["name"], events[-1]["state"]) == ("n1", "removed, seat held")


async def test_stats_by_endpoint_tell_rates_and_latencies_the_busiest_first(
    running: Running, kcm: Kcm
) -> None:
    for count in (0, 60):
        rows = [Served("endpoint", name, count * part, count // 20, 1.0, (bucket_of(0.1), count * part))
                for name, part in (("GET /a", 1), ("GET /b", 2))]  # fmt: skip
        running.says(2, Report(number=1, served=tuple(rows)))
    code, out, _ = await kcm("stats", "--by", "endpoint")
    head, *lines = out.splitlines()
    assert code == 0
    assert head.split() == ["NAME", "REQUESTS/S", "ERRORS/S", "ERRORS", "P50", "P95", "P99"]
    assert [line.split("  ")[0] for line in lines] == ["GET /b", "GET /a"]
    assert "5.0%" in lines[1]
    assert lines[1].endswith(" ms")
    _, out, _ = await kcm("stats", "--by", "node", "-o", "json")
    [row] = json.loads(out)
    assert (row["name"], row["id"].startswith("krakend_"), row["p95"] < 1.0) == ("n2", True, True)


async def test_an_answer_as_yaml_is_the_same_answer(kcm: Kcm) -> None:
    _, as_json, _ = await kcm("nodes", "-o", "json")
    _, as_yaml, _ = await kcm("nodes", "-o", "yaml")
    assert yaml.safe_load(as_yaml) == json.loads(as_json)


async def test_what_happens_is_followed_while_it_happens(running: Running, url: str) -> None:
    events = follow(url)
    asked = asyncio.create_task(asyncio.to_thread(next, events))
    number = 0
    while not asked.done():
        # What was before the stream is not told by it.
        running.says(2, Report(number=number, gateway=f"nginx: {number}"))
        number += 1
        await asyncio.sleep(0.05)
    assert (await asked)["kind"] == "gateway"
    await asyncio.to_thread(events.close)


@pytest.mark.parametrize(("node", "state"), [("n1", "removed"), ("n2", "active"), ("n3", "refused")])
async def test_a_node_is_explained_by_its_name(kcm: Kcm, node: str, state: str) -> None:
    code, out, _ = await kcm("explain", node)
    assert code == 0
    assert f"state    {state}" in out
    assert NEXT[state] in out
    assert ("Raise the cap by" in out) == (state == "refused")


async def test_a_gateway_in_trouble_is_seen_in_the_list_the_explanation_and_by_doctor(
    kcm: Kcm, running: Running
) -> None:
    running.says(2, Report(number=9, gateway="nginx: restarting"))
    code, out, _ = await kcm("nodes")
    assert (code, "gateway nginx: restarting" in out) == (0, True)
    code, out, _ = await kcm("explain", "n2")
    assert (code, "its gateway is not well" in out) == (0, True)
    code, out, _ = await kcm("doctor")
    assert (code, "n2 says nginx: restarting" in out) == (1, True)


async def test_a_configuration_that_no_gateway_can_check_is_not_called_valid(
    kcm: Kcm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config"
    file.write_text("anything")
    answer = {"valid": True, "node": "n2", "error": "", "manager": "m1"}
    monkeypatch.setattr("manager.cli.config.send", lambda *_: answer)
    for kind, said in (("command", "not checked: "), ("nginx", "valid: n2 at manager m1")):
        code, out, _ = await kcm("config", "validate", "--kind", kind, str(file))
        assert (code, out.startswith(said)) == (0, True)


async def test_drift_names_nodes_that_refuse_the_version(kcm: Kcm, monkeypatch: pytest.MonkeyPatch) -> None:
    node = {
        "id": "1",
        "name": "n7",
        "running": 0,
        "on_disk": 0,
        "drifted": False,
        "failed": True,
        "note": "unknown directive x",
    }
    plan = {"kind": "nginx", "version": 1, "nodes": [node]}
    monkeypatch.setattr("manager.cli.config.request", lambda *_: plan)
    code, out, _ = await kcm("config", "drift", "--kind", "nginx")
    assert (code, "unknown directive x" in out, "no node" in out) == (0, True, False)
    node["failed"] = False
    assert "no node of kind nginx has drifted" in (await kcm("config", "drift", "--kind", "nginx"))[1]


async def test_only_a_node_that_is_there_is_in_service(kcm: Kcm) -> None:
    _, out, _ = await kcm("nodes")
    assert all(("in service" in line) == (" active " in line) for line in out.splitlines()[1:])


def test_every_state_has_its_explanation() -> None:
    assert NEXT.keys() == {state.value for state in NodeState} - {"claimed", "moved"}


async def test_who_is_not_there_cannot_be_explained(kcm: Kcm) -> None:
    code, _, error = await kcm("explain", "nobody")
    assert (code, "`kcm nodes` lists them" in error) == (3, True)


async def test_an_order_waits_until_its_node_has_taken_it_and_says_for_what(
    kcm: Kcm, running: Running
) -> None:
    id_ = running.node(2)
    code, out, _ = await kcm("node", "cordon", "n2", "--no-wait")
    assert (code, out) == (0, "n2 is asked to cordon: it waits for its agent, which manager m1 tells\n")
    code, _, error = await kcm("node", "drain", "n2", "--timeout", "0")
    assert (code, "has not come to drain within 0 s" in error) == (1, True)
    given = running.core.rollouts.orders.newest(id_)
    assert given is not None
    serial = given[0][0]
    taken = ConfigState(ready=False, service="drained", order_serial=serial, order_writer="m1")
    running.says(2, Report(number=9, config=taken))
    code, out, _ = await kcm("explain", "n2")
    assert (code, "may be stopped" in out) == (0, True)
    code, out, _ = await kcm("node", "show", "n2")
    assert ("service", "drained") in [tuple(line.split()) for line in out.splitlines()]
    code, _, error = await kcm("node", "restart", "n1")
    assert (code, "restart its agent on its host" in error) == (1, True)
    code, _, error = await kcm("node", "drain", "n1")
    assert (code, "it does so when it is connected" in error) == (1, True)


async def test_round_trips_name_both_ends(kcm: Kcm, running: Running) -> None:
    running.meets("m2", "127.0.0.1")
    code, out, _ = await kcm("rtt")
    assert code == 0
    assert out.splitlines()[1].split() == ["m1", "m2", "alive", "-", "-"]


def test_rates_are_those_of_the_present_run() -> None:
    def step(at: float, nonce: int, requests: float) -> dict[str, object]:
        return {"at": at, "nonce": nonce, "counters": {"gateway_requests": requests}}

    rates = _rates("id", "n", [step(0.0, 1, 900.0), step(10.0, 2, 5.0), step(20.0, 2, 105.0)])
    assert rates["requests"] == 10.0
    assert _rates("id", "n", [])["requests"] is None


async def test_what_a_shell_completes_are_the_verbs_and_their_options(kcm: Kcm) -> None:
    code, script, _ = await kcm("completion", "bash")
    assert code == 0

    def completed(*words: str) -> list[str]:
        line = " ".join(f'"{word}"' for word in words)
        asked = f'{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _kcm; echo "${{COMPREPLY[@]}}"'
        return subprocess.run(
            ["bash", "-c", asked], capture_output=True, text=True, check=True
        ).stdout.split()

    assert completed("kcm", "mem") == ["members"]
    assert "set" in completed("kcm", "subscription", "")
    assert completed("kcm", "subscription", "set", "--max") == ["--max-nodes"]
    assert completed("kcm", "-o", "js") == ["json"]
    assert completed("kcm", "-o", "json", "node", "dr") == ["drain"]
    assert completed("kcm", "config", "push", "--kind", "ng") == ["nginx"]


def test_names_of_nodes_are_completed_and_what_stands_in_them_is_never_run(tmp_path: Path) -> None:
    script = completion.script(cli._parser(), "bash")
    nodes = "kcm() { printf 'ID NAME\\nk1 edge-1\\nk2 edge-$(>run)\\n'; }"
    asked = f'{script}\n{nodes}\nCOMP_WORDS=(kcm node drain e); COMP_CWORD=3; _kcm; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", asked], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, list(tmp_path.iterdir())) == ("edge-1\n", [])


async def test_nodes_and_forget_take_a_name_as_the_other_verbs_do(kcm: Kcm) -> None:
    assert (await kcm("nodes", "n2"))[0] == 0
    code, out, _ = await kcm("node", "forget", "n1")
    assert (code, out) == (0, "n1 is forgotten, and its seat is free\n")
    code, _, err = await kcm("nodes", "nobody")
    assert (code, "`kcm nodes` lists them" in err) == (3, True)


async def test_what_a_manager_finds_senseless_is_wrong_usage_too(kcm: Kcm) -> None:
    assert (await kcm("limits", "set", "x", "--max-rate", "5", "--algorithm", "foo"))[0] == 2
    code, _, error = await kcm("config", "show")
    assert (code, "no configuration was pushed yet" in error) == (3, True)


async def test_a_new_key_is_printed_as_json_where_that_is_wanted(kcm: Kcm) -> None:
    assert json.loads((await kcm("keys", "generate", "-o", "json"))[1]).keys() == {"key"}


async def test_programs_get_numbers_where_people_see_units(kcm: Kcm, running: Running) -> None:
    running.meets("m2", "10.9.8.7")
    trips = json.loads((await kcm("rtt", "-o", "json"))[1])
    assert all(row["round_trip"] is None or isinstance(row["round_trip"], float) for row in trips)
    assert all(isinstance(row["accused_by"], list) for row in trips)
    assert _rates("id", "n", [])["memory"] == 0.0
    assert _top_cells(_rates("id", "n", []))["memory"] == "0 MiB"


async def test_a_dead_manager_is_not_everybody_answering(kcm: Kcm, running: Running) -> None:
    running.meets("m2", "10.9.8.7")
    running.wait(120.0)
    _, members, _ = await kcm("members")
    assert "dead" in members
    code, out, _ = await kcm("reachability")
    assert (code, "m2 is dead and silent" in out) == (1, True)


async def test_info_says_in_a_word_whether_the_manager_is_ready(kcm: Kcm) -> None:
    _, out, _ = await kcm("info")
    assert [line.split() for line in out.splitlines() if line.startswith("state")] == [["state", "ready"]]
