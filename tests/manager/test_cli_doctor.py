"""`kcm doctor` against a real API, and on a host where no manager runs."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from manager.cli import main as cli
from manager.cli.doctor import GONE_AFTER, _aside, _members, _rollouts
from manager.web.app import create_app
from tests.manager.running import Running


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    async with ClientSession() as http:
        running = Running(http=http)
        running.wait(10.0)
        yield running


async def doctor(url: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[dict[str, str]], str]:
    def ends() -> int:
        with pytest.raises(SystemExit) as ended:
            cli.main(["doctor", "-o", "json", "--manager", url])
        assert isinstance(ended.value.code, int)
        return ended.value.code

    code = await asyncio.to_thread(ends)
    out, error = capsys.readouterr()
    return code, json.loads(out), error


async def examined(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> tuple[int, list[dict[str, str]], str]:
    server = TestServer(create_app(running))
    await server.start_server()
    try:
        return await doctor(str(server.make_url("")).rstrip("/"), capsys)
    finally:
        await server.close()


def found(rows: list[dict[str, str]], check: str) -> set[tuple[str, str]]:
    return {(row["verdict"], row["what"]) for row in rows if row["check"] == check}


async def test_a_manager_alone_is_well(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    code, rows, _ = await examined(running, capsys)
    assert code == 0
    assert {row["verdict"] for row in rows} <= {"good", "odd"}
    assert {row["check"] for row in rows} == {
        *("manager", "ready", "ports", "address", "peers", "key", "members", "HTTP", "UDP", "TCP", "clock"),
        *("pages", "seats"),
    }
    assert found(rows, "clock") == {("good", "that of this manager agrees with this host's to the second")}


async def test_udp_that_is_let_through_and_tcp_that_is_not_are_told_apart(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    running.meets("a2", "10.0.0.2", {})
    running.hear = {"a2"}
    code, rows, error = await examined(running, capsys)
    assert (code, "see the lines that say bad" in error) == (1, True)
    assert found(rows, "UDP") == {("good", "every member that runs answers every manager")}
    [(verdict, what)] = found(rows, "TCP")
    assert (verdict, "let TCP to port 7946 through" in what) == ("bad", True)


async def test_who_is_dead_for_long_may_be_gone_for_good(
    running: Running, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    running.meets("m2", "10.0.0.2")
    running.loses("m2")
    # That manager's clock is ahead of ours, and so are its times.
    since = running.core.group.wall(running.now())
    monkeypatch.setattr("manager.cli.doctor.time.time", lambda: since + GONE_AFTER + 1)
    code, rows, error = await examined(running, capsys)
    assert (code, "gone?" in error) == (1, True)
    [what] = [what for verdict, what in found(rows, "members") if verdict == "gone?"]
    assert what.startswith("m2 is dead since 2027-")
    assert what.endswith("`kcm force-leave m2` if it does not come back")


def member(name: str, state: str) -> dict[str, str]:
    where = {"address": f"10.0.0.{name[1:]}:7946", "kind": "manager"}
    return {"name": name, "state": state, "since": "2027-01-01T00:00:00.000Z", **where}


def test_who_has_just_died_is_bad_and_who_left_is_nothing() -> None:
    members = [member("m1", "alive"), member("m2", "dead"), member("m3", "left"), member("m4", "alive")]
    rows = list(_members(members, 1798761600.0 + 30.0, {"m2": {"no answer within 5 s"}}, 3))
    assert [row["verdict"] for row in rows] == ["good", "bad"]
    assert rows[0]["what"] == "2 of 4 are alive here"
    remedy = "look at its host (no answer within 5 s); if it is gone for good, `kcm force-leave m2`"
    assert rows[1]["what"].endswith(remedy)
    _, ended = _members(members, 1798761600.0 + 30.0, {"m2": {"connection refused"}}, 3)
    assert ": its host answers, and nothing listens there: start it; if it is gone for good" in ended["what"]


def test_of_a_manager_that_stands_aside_it_is_said_why() -> None:
    members = [member("m1", "suspect"), member("m2", "suspect"), member("m3", "alive"), member("m4", "alive")]
    [aside] = _aside(members, "m1")
    assert aside["verdict"] == "bad"
    assert aside["what"].startswith(
        "the others hear too little of m1 and take it for dead: see to its host's "
    )
    assert list(_aside(members, "m3")) == []


def test_a_rollout_whose_conductor_is_gone_is_bad() -> None:
    remedy = "its conductor m1 is gone: `kcm rollout resume` lets another manager go on"
    nginx = {"kind": "nginx", "version": 5, "conductor_gone": True, "waits_for": remedy}
    haproxy = {"kind": "haproxy", "version": 2, "conductor_gone": False, "waits_for": ""}
    [row] = _rollouts([nginx, haproxy])
    assert (row["verdict"], row["what"]) == ("bad", f"nginx version 5: {remedy}")


@pytest.mark.parametrize(
    ("why", "connected", "said"),
    [
        (
            "connection refused",
            0,
            "and is not cut off. m2, m3 do not run, their hosts answer: start them",
        ),
        (
            "no answer within 5 s",
            7,
            "7 nodes are connected here, so this host is not cut off from all: are the",
        ),
        ("no answer within 5 s", 0, "no node is connected here: is this host itself cut off"),
    ],
)
def test_a_manager_that_takes_all_others_for_dead_says_what_can_be_told_of_the_cause(
    why: str, connected: int, said: str
) -> None:
    members = [member("m1", "alive"), member("m2", "dead"), member("m3", "dead")]
    silences = {"m2": {why}, "m3": {why}}
    first, *_ = _members(members, 1798761600.0 + 30.0, silences, connected)
    assert first["verdict"] == "bad"
    assert first["what"].startswith("1 of 3 are alive here: this manager ")
    assert said in first["what"]


async def test_where_no_manager_runs_the_process_on_its_port_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "cluster-manager.yml"
    monkeypatch.setattr("manager.process.CONFIG_FILE", file)
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        port, url = taken.getsockname()[1], f"http://127.0.0.1:{free.getsockname()[1]}"
        free.close()
        file.write_text(f"bind: 127.0.0.1\nnode_port: {port}\npeers: ['m9.invalid']\n")
        code, rows, error = await doctor(url, capsys)
    assert code == 5
    assert "start one with `kcm run`" in error
    ports = {what for verdict, what in found(rows, "ports") if verdict == "bad"}
    assert any(what.startswith(f"TCP {port} is held by ") and "--node-port" in what for what in ports)
    assert [verdict for verdict, what in found(rows, "peers") if "m9.invalid:7946" in what] == ["bad"]


async def test_a_configuration_that_cannot_be_read_is_what_is_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "cluster-manager.yml"
    monkeypatch.setattr("manager.process.CONFIG_FILE", file)
    file.write_text("node_prot: 7\n")
    code, rows, _ = await doctor("http://127.0.0.1:1", capsys)
    assert code == 5
    [(verdict, what)] = found(rows, "configuration")
    assert (verdict, "node_prot" in what) == ("bad", True)
