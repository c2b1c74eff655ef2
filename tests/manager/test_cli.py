"""The command lines: `krakend-cluster-manager` without starting it, and `kcm` against a real API."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from manager.cli import config
from manager.cli import main as cli
from manager.cli.client import base_url, head
from manager.cli.tables import pairs, table
from manager.disk.store import Store
from manager.rollout.configs import Manner
from manager.rollout.plan import Phase
from manager.terms import ManagerConfig
from manager.tokens import digest
from manager.web.app import create_app
from node.protocol import Limit
from tests.manager.running import Running


@pytest.fixture(autouse=True)
def hosts_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """In place of the host's own file; it does not exist. No variables of ours are set."""
    for name in ("KCM_MANAGER", "KCM_NAME", "KCM_PEERS", "KCM_GROUP_SECRET", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("manager.process.CONFIG_FILE", tmp_path / "cluster-manager.yml")
    return tmp_path / "cluster-manager.yml"


def ends(main: Callable[[list[str]], None], *arguments: str) -> int:
    """The exit code of `main`."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


# krakend-cluster-manager


def test_without_argument_and_file_the_defaults_are_in_force(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(cli.main_manager, "--print-config") == 0
    printed = capsys.readouterr().out
    assert "node_port: 7000\ngossip_port: 7946\nhttp_port: 9897\n" in printed
    assert "unreachable_after: 3 heartbeats\n" in printed
    assert "forget_after: 30d\n" in printed


def test_the_hosts_file_is_read_where_it_exists(
    hosts_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts_file.write_text("name: from-etc\n")
    assert ends(cli.main_manager, "--print-config") == 0
    assert "name: from-etc\n" in capsys.readouterr().out
    (tmp_path / "other.yml").write_text("node_port: 7777\n")
    assert ends(cli.main_manager, "--print-config", "--config", str(tmp_path / "other.yml")) == 0
    printed = capsys.readouterr().out
    assert "node_port: 7777\n" in printed
    assert "from-etc" not in printed


def test_the_printed_configuration_fed_back_prints_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KCM_PEERS", "m2, [::1]:7")
    arguments = ("--name=no", "--peer=m3", "--peer", "m4:1", "--subscription-max-nodes=3", "--log-level=warn")
    assert ends(cli.main_manager, "--print-config", *arguments) == 0
    printed = capsys.readouterr().out
    assert "peers:\n- m3:7946\n- m4:1\n" in printed
    monkeypatch.delenv("KCM_PEERS")
    (tmp_path / "again.yml").write_text(printed)
    assert ends(cli.main, "run", "--print-config", "--config", str(tmp_path / "again.yml")) == 0
    assert capsys.readouterr().out == printed


def test_the_secret_is_not_printed_but_that_there_is_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KCM_GROUP_SECRET", "hush")
    assert ends(cli.main_manager, "--print-config") == 0
    printed = capsys.readouterr().out
    assert "hush" not in printed
    assert printed.startswith("# group.secret is set and not shown\n")
    assert ends(cli.main_manager, "--help") == 0
    assert "group.secret" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--config", "/no/such/file.yml"),
            "/no/such/file.yml does not exist: write it, or name another file",
        ),
        (("--node-port", "seven"), "option --node-port: `node_port` must be a whole number, not `seven`"),
        (("--node-port=9897",), "`http_port` is 9897, as is `node_port`"),
        (("--advertise=8.8.8.8",), "advertise: 8.8.8.8 is a public address, and without a key anybody there"),
        (("--bind=8.8.4.4",), "advertise: 8.8.4.4 is a public address"),
        (
            ("--peer", "::1"),
            'option --peers: `peers` must have its IPv6 address in brackets: write `"[::1]:7946"`',
        ),
    ],
)
def test_each_mistake_is_one_line_and_exit_2(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends(cli.main_manager, *arguments) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("krakend-cluster-manager: ")
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("arguments", [("--node-prt", "7000"), ("--x", "7000"), ("extra",)])
def test_what_is_no_option_is_wrong_usage(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends(cli.main_manager, *arguments) == 2
    error = capsys.readouterr().err
    assert "usage: krakend-cluster-manager" in error
    assert ("did you mean --node-port?" in error) == (arguments == ("--node-prt", "7000"))


def test_a_taken_port_is_one_line_that_names_key_and_remedy_and_exit_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "from manager.cli.main import main; main()",
                "run",
                "--bind=127.0.0.1",
                f"--node-port={port}",
            ],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 2
    [line] = done.stdout.splitlines()
    assert f"node_port: 127.0.0.1:{port} is in use" in line
    assert "--node-port" in line


@pytest.mark.parametrize("main", [cli.main, cli.main_manager])
def test_the_version_is_printed(
    main: Callable[[list[str]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends(main, "--version") == 0
    name, version = capsys.readouterr().out.split()
    assert name == ("kcm" if main is cli.main else "krakend-cluster-manager")
    assert version[0].isdigit()


# kcm

Kcm: TypeAlias = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    """Manager m1, two seats, three nodes."""
    async with ClientSession() as http:
        running = Running(ManagerConfig(max_nodes=2, limits={"public": Limit(100.0)}), http=http)
        running.wait(10.0)
        for number in (1, 2, 3):
            running.node(number)
        running.meets("m2", "10.0.0.2")
        yield running


@pytest.fixture
async def kcm(running: Running, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Kcm]:
    """Runs `kcm ARGUMENTS` against `running`; gives exit code, output and errors."""
    server = TestServer(create_app(running))
    await server.start_server()

    async def run(*arguments: str, manager: str = "") -> tuple[int, str, str]:
        url = manager or str(server.make_url(""))
        code = await asyncio.to_thread(ends, cli.main, *arguments, "--manager", url)
        return code, *capsys.readouterr()

    yield run
    await server.close()


async def test_members_are_a_table_with_aligned_columns(kcm: Kcm) -> None:
    code, out, error = await kcm("members")
    assert (code, error) == (0, "")
    assert out.splitlines() == [
        "NAME  STATE  ADDRESS        KIND",
        "m1    alive  10.0.0.1:7946  manager",
        "m2    alive  10.0.0.2:7946  manager",
    ]


async def test_limits_are_set_shown_and_removed(kcm: Kcm, running: Running) -> None:
    code, out, error = await kcm("limits", "set", "batch", "--max-rate", "5", "--every", "1m", "--safe", "1")
    assert (code, error) == (0, "")
    rows = {line.split()[0]: line.split()[1:8] for line in out.splitlines() if line}
    assert rows["batch"] == ["5", "60", "s", "no", "equal", "20", "s"]
    assert rows["serial"] == ["1"]
    code, out, _ = await kcm("limits", "set", "batch", "--safe", "none", "--algorithm", "weighted")
    assert code == 0
    assert running.core.sharing("batch").safe is None
    assert running.core.sharing("batch").algorithm == "weighted"
    assert (await kcm("limits", "remove", "batch"))[0] == 0
    assert set(running.core.limits) == {"public"}
    assert (await kcm("limits", "remove", "batch"))[0] == 3
    code, _, error = await kcm("limits", "set", "public")
    assert (code, "--max-rate" in error) == (2, True)
    code, out, _ = await kcm("limits", "show", "public", "-o", "json")
    assert (code, json.loads(out)["limits"].keys()) == (0, {"public"})
    code, _, error = await kcm("limits", "show", "publik")
    assert (code, "did you mean public?" in error) == (3, True)


async def test_a_configuration_is_pushed_only_upon_the_plan_that_was_looked_at(
    kcm: Kcm, running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "nginx.conf"
    push = ("config", "push", "--kind", "nginx", str(file))
    file.write_text("first")
    code, out, _ = await kcm(*push)
    assert (code, "Not checked: no nginx is connected" in out) == (0, True)
    code, _, error = await kcm("config", "validate", "--kind", "nginx", str(file))
    assert (code, "not checked: no nginx is connected" in error) == (1, True)
    file.write_text("second")
    code, _, error = await kcm(*push, "--serial", "9")
    assert (code, "the plan's serial is 1, not 9: look at it again" in error) == (1, True)

    def look_and_be_overtaken(manager: str, path: str) -> Mapping[str, str]:
        found = head(manager, path)
        plan = running.core.configs.act("nginx", "pause", "somebody else")
        assert plan.phase is Phase.PAUSED
        return found

    with monkeypatch.context() as patched:
        patched.setattr(config, "head", look_and_be_overtaken)
        # By then it has serial 2, which is what this push names: the mark tells that it is another's.
        code, _, error = await kcm(*push, "--serial", "2")
    assert (code, "the configuration has changed meanwhile" in error) == (1, True)
    assert (await kcm(*push, "--serial", "2"))[0] == 0
    found = running.core.configs.get("nginx")
    assert found is not None
    assert found[1].target == 2


async def test_shares_of_a_limit_are_listed_and_explained(kcm: Kcm, running: Running) -> None:
    running.wait(0.3)
    code, out, _ = await kcm("limits", "shares", "public")
    assert code == 0
    assert [line.split()[1:4] for line in out.splitlines()[1:]] == [
        ["n1", "m1", "active"],
        ["n2", "m1", "active"],
    ]
    code, out, _ = await kcm("limits", "explain", "public")
    assert code == 0
    assert out.splitlines()[0] == "public: 100/s in the whole cluster, divided equally over 2 running nodes"
    assert (await kcm("limits", "explain", "other"))[0] == 3


async def test_nodes_are_a_table_and_one_node_is_a_list(kcm: Kcm, running: Running) -> None:
    code, out, _ = await kcm("nodes")
    head, *rows = out.splitlines()
    assert code == 0
    assert head.split() == ["ID", "NAME", "STATE", "SERVICE", "MANAGER", "ADDRESS", "SEAT", "SINCE", "WHY"]
    assert [row.split()[1:3] for row in rows] == [["n1", "active"], ["n2", "active"], ["n3", "refused"]]
    id_ = rows[0].split()[0]
    code, out, _ = await kcm("nodes", id_)
    assert code == 0
    assert dict(line.split(maxsplit=1) for line in out.splitlines() if " " in line)["id"] == id_


READING = (
    "members", "nodes", "info", "health", "events", "rtt", "stats", "stats --by endpoint", "reachability",
    "doctor", "subscription show", "subscription history", "limits show", "limits shares public",
    "limits explain public", "explain n1", "node show n1", "group founders", "config show", "config history",
    "config drift", "rollout status",
)  # fmt: skip


@pytest.mark.parametrize("verb", READING)
async def test_as_json_or_yaml_every_reading_verb_prints_one_and_the_same_answer(
    kcm: Kcm, running: Running, verb: str
) -> None:
    if verb.split()[0] in ("config", "rollout"):
        await running.push_config("nginx", b"events {}", "alice", Manner(), force=False)
    running.loses("m2")
    _, as_json, error = await kcm(*verb.split(), "-o", "json")
    assert as_json, error
    _, as_yaml, _ = await kcm(*verb.split(), "-o", "yaml")
    found = json.loads(as_json)
    assert shape(found) == shape(yaml.safe_load(as_yaml))
    assert not as_json.isprintable()  # on more than one line, for people as well


def shape(value: object) -> object:
    """Without the figures, which time changes."""
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items()}
    return [shape(one) for one in value] if isinstance(value, list) else type(value)


async def test_info_and_subscription_are_lists(kcm: Kcm) -> None:
    _, out, _ = await kcm("info")
    info = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert (info["name"], info["group"], info["nodes.running"], info["state"]) == ("m1", "blue", "2", "ready")
    _, out, _ = await kcm("subscription", "show")
    shown = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert (shown["max_nodes"], shown["used"], shown["free"], shown["source"]) == ("2", "2", "0", "yaml")


async def test_kcm_sets_the_cap_and_shows_its_serial(kcm: Kcm, running: Running) -> None:
    code, out, _ = await kcm("subscription", "set", "--max-nodes", "4")
    assert code == 0
    assert running.core.max_nodes == 4
    assert dict(line.split(maxsplit=1) for line in out.splitlines())["serial"] == "1"


async def test_a_snapshot_is_saved_for_its_owner_alone_and_over_no_other_file(
    kcm: Kcm, running: Running, tmp_path: Path
) -> None:
    file = tmp_path / "snapshot"
    code, _, error = await kcm("snapshot", "save", str(file))
    assert (code, file.exists()) == (1, False)
    assert "keeps nothing on disk: start it with --state-dir" in error
    running.kept = b"SQLite format 3"
    code, out, _ = await kcm("snapshot", "save", str(file))
    assert (code, file.read_bytes(), file.stat().st_mode & 0o777) == (0, b"SQLite format 3", 0o600)
    assert "15 bytes" in out
    code, _, error = await kcm("snapshot", "save", str(file))
    assert (code, "file exists" in error) == (1, True)


def test_a_snapshot_is_restored_for_the_manager_that_the_options_describe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "here" / "m1", "m1", "krakend")
    (tmp_path / "snapshot").write_bytes(store.snapshot())
    store.close()
    given = ("snapshot", "restore", str(tmp_path / "snapshot"), f"--state-dir={tmp_path}/there")
    assert ends(cli.main, *given, "--name=m2") == 2
    assert "is the state of manager m1, this is m2" in capsys.readouterr().err
    assert ends(cli.main, *given, "--name=m1") == 0
    assert "Start manager m1 now" in capsys.readouterr().out
    assert (tmp_path / "there" / "m1" / "state.db").exists()


async def test_leave_says_that_it_is_for_good(kcm: Kcm, running: Running) -> None:
    code, out, _ = await kcm("leave")
    assert (code, running.left) == (0, [True])
    assert "for good" in out
    code, _, error = await kcm("leave")
    assert (code, running.left) == (1, [True])
    assert error == "kcm: this manager is already leaving the group\n"


async def test_the_manager_is_named_by_the_option_before_or_after_the_verb_or_by_the_variable(
    running: Running, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = TestServer(create_app(running))
    await server.start_server()
    address = f"127.0.0.1:{server.port}"
    nowhere = "http://127.0.0.1:1"
    try:
        assert await asyncio.to_thread(ends, cli.main, "members", f"--manager={address}") == 0
        assert await asyncio.to_thread(ends, cli.main, "--manager", address, "-o", "json", "members") == 0
        assert json.loads(capsys.readouterr().out.partition("\n{")[2].join(["{", ""]))
        monkeypatch.setenv("KCM_MANAGER", f"http://{address}/")
        assert await asyncio.to_thread(ends, cli.main, "members") == 0
        assert await asyncio.to_thread(ends, cli.main, "members", "--manager", nowhere) == 5
    finally:
        await server.close()


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        (("stats", "--by", "endpoint"), "no gateway has told of requests"),
        (("rollout", "status"), "no configuration was pushed yet"),
    ],
)
async def test_where_there_is_nothing_to_list_that_is_said(
    kcm: Kcm, verb: tuple[str, ...], said: str
) -> None:
    code, out, _ = await kcm(*verb)
    assert (code, out.startswith(said)) == (0, True), out


async def test_a_token_that_no_header_can_hold_is_wrong_usage_and_is_not_shown(
    kcm: Kcm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KCM_TOKEN", "se\ncret")
    code, out, error = await kcm("members")
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert "cret" not in error
    monkeypatch.setenv("KCM_TOKEN", " \n")
    assert (await kcm("members"))[0] == 0


async def test_an_unknown_node_is_exit_3(kcm: Kcm) -> None:
    for id_ in ("krakend_0", "a b/../ü", "?", "\n", "\udcff"):
        code, out, error = await kcm("nodes", id_)
        assert (code, out) == (3, "")
        assert error.startswith("kcm: no node has the id")


async def test_a_change_that_is_refused_is_exit_1_with_the_managers_reason(
    kcm: Kcm, running: Running, tmp_path: Path
) -> None:
    (tmp_path / "LICENSE").write_text("none of ours")
    code, out, error = await kcm("subscription", "install", str(tmp_path / "LICENSE"))
    assert (code, out) == (1, "")
    assert error == (
        "kcm: this manager trusts no issuer: set subscription.issuers to the issuer's public key\n"
    )


def test_nobody_there_is_exit_5_and_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(cli.main, "members", "--manager", "http://127.0.0.1:1") == 5
    error = capsys.readouterr().err
    assert error.startswith("kcm: no manager answers at http://127.0.0.1:1 (")
    assert "`kcm run`" in error
    assert "--manager URL or KCM_MANAGER" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "answer",
    [
        {"text": "hello"},
        {"text": "[]", "content_type": "application/json"},
        {"text": "{}", "content_type": "application/json"},
        {"text": '{"members": 7}', "content_type": "application/json"},
        {"text": '{"members": [7]}', "content_type": "application/json"},
        {"text": "[" * 100_000, "content_type": "application/json"},
        {"text": "not here", "status": 404},
        {"text": "{}", "status": 500},
        {"body": b"\xff\xfe"},
    ],
)
async def test_something_else_that_answers_is_exit_5(
    answer: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    async def something(request: web.Request) -> web.Response:
        return web.Response(**answer)

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", something)
    server = TestServer(app)
    await server.start_server()
    address = f"127.0.0.1:{server.port}"
    try:
        code = await asyncio.to_thread(ends, cli.main, "members", f"--manager={address}")
    finally:
        await server.close()
    assert code == 5
    assert f"what answers at http://{address} is no manager" in capsys.readouterr().err


async def test_what_does_not_speak_http_is_exit_5(capsys: pytest.CaptureFixture[str]) -> None:
    async def rubbish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\x01rubbish\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(rubbish, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        assert await asyncio.to_thread(ends, cli.main, "members", f"--manager=127.0.0.1:{port}") == 5
    assert capsys.readouterr().err.count("\n") == 1


def test_without_a_verb_the_help_is_printed_and_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(cli.main) == 2
    out = capsys.readouterr().out
    assert all(verb in out for verb in ("members", "nodes", "info", "leave", "subscription", "run"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("subscription",),
        ("subscription", "set"),
        ("subscription", "set", "--max-nodes", "-1"),
        ("subscription", "set", "--max-nodes", "many"),
        ("members", "-o", "xml"),
        ("members", "extra"),
        ("members", "--manager", "file:///etc/passwd"),
        ("members", "--manager", "http://"),
        ("members", "--manager", "a b"),
    ],
)
def test_wrong_usage_is_exit_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(cli.main, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("kcm")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("member",), "kcm: no such verb: member: did you mean members"),
        (("node", "drian", "n1"), "kcm node: no such verb: drian: did you mean drain?"),
        (("config", "push", "--kind", "ngnix", "f"), "kcm config push: --kind must be one of"),
        (("config", "push", "--kind", "ngnix", "f"), "did you mean nginx?"),
        (("members", "-o", "jso"), "not 'jso': did you mean json?"),
        (("events", "--limt", "3"), "kcm events: no such option: --limt: did you mean --limit?"),
        (("--manger", "m1", "members"), "kcm: no such option: --manger: did you mean --manager?"),
        (("nodes", "n1", "n2"), "kcm nodes: one too many: n2; see `kcm nodes --help`"),
    ],
)
def test_who_mistypes_is_told_what_may_be_meant(
    arguments: tuple[str, ...], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends(cli.main, *arguments) == 2
    assert meant in capsys.readouterr().err


def test_help_lists_each_verb_once_under_a_title() -> None:
    listed = [verb for verbs in cli._GROUPS.values() for verb in verbs]
    [verbs] = [action for action in cli._parser()._actions if action.dest == "verb"]
    assert verbs.choices is not None
    assert sorted(listed) == sorted(map(str, verbs.choices))


def test_a_wrong_variable_is_wrong_usage_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KCM_MANAGER", "ftp://m1")
    assert ends(cli.main, "members") == 2
    assert "variable KCM_MANAGER must be a URL such as http://127.0.0.1:9897" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://m1:9897", "http://m1:9897"),
        ("http://m1:9897/", "http://m1:9897"),
        ("https://managers.example", "https://managers.example"),
        ("m1", "http://m1:9897"),
        ("m1:80", "http://m1:80"),
        ("[::1]", "http://[::1]:9897"),
        ("[::1]:80", "http://[::1]:80"),
        ("m1/", "http://m1:9897"),
        ("m1:", "http://m1:9897"),
        ("m1/managers/", "http://m1:9897/managers"),
        ("https://proxy.example/managers", "https://proxy.example/managers"),
    ],
)
def test_a_manager_may_be_named_in_short(text: str, url: str) -> None:
    assert base_url(text) == url


@pytest.mark.parametrize(
    "text", ["m1:port", "m1:99999", "[::1", "http://[", "", "http://a\x7fb", "::1", "m1?x", "m1#x"]
)
def test_what_is_no_url_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be a URL such as http://127\.0\.0\.1:9897, not "):
        base_url(text)


# Tables


def test_states_are_in_colour_only_where_wanted_and_stay_aligned() -> None:
    rows = [{"name": "n1", "state": "active"}, {"name": "node2", "state": "down"}]
    assert table(rows, ("name", "state"), colour=False) == "NAME   STATE\nn1     active\nnode2  down"
    assert table(rows, ("name", "state"), colour=True) == (
        "NAME   STATE\nn1     \x1b[32mactive\x1b[0m\nnode2  \x1b[31mdown  \x1b[0m"
    )


def test_what_others_call_themselves_does_not_move_the_cursor() -> None:
    text = table([{"name": "\x1b[2J\r\nroot\u2028\udc80"}], ("name",), colour=True)
    assert text == "NAME\n?[2J??root??"
    assert pairs({"name": "\x1b[31m"}) == "name  ?[31m"


def test_a_table_without_rows_is_its_head() -> None:
    assert table([], ("name", "over_limit"), colour=True) == "NAME  OVER LIMIT"


def test_nested_values_are_named_by_their_path() -> None:
    values = {"name": "m1", "limits": {"public": {"max_rate": 5.0}}, "seat": True, "max": None, "none": {}}
    assert pairs(values).splitlines() == [
        "name                    m1",
        "limits.public.max_rate  5",
        "seat                    yes",
        "max                     -",
        "none                    -",
    ]


def test_kcm_loads_nothing_that_only_a_manager_needs() -> None:
    code = "import sys, manager.cli.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"aiohttp", "asyncio", "pydantic", "yaml", "msgpack", "prometheus_client", "importlib.metadata"}
    assert not heavy & set(done.stdout.split())


def test_a_new_token_is_shown_once_beside_the_hash_that_files_hold(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ends(cli.main, "token", "alice", "--scope", "operator", "-o", "json") == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["name"], made["scope"], made["sha256"]) == ("alice", "operator", digest(made["token"]))
    assert ends(cli.main, "token", "alice") == 0
    printed = capsys.readouterr().out
    assert made["token"] not in printed
    assert "    alice: {scope: viewer, sha256: " in printed


# What makes no sense is told from what a manager refuses


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("token|a b", "NAME must be"),
        ("token|n|--join|--scope|admin", "--scope is for the API"),
        ("init|{file}|--peers|m1,", "--peers must be"),
        ("init|{file}|--peers|a b,:::", "--peers must be names or addresses"),
        ("init|{file}|--group|a: b", "--group must be"),
        ("limits|set|x", "say what to change"),
        ("limits|set|x|--max-rate|-1", "above 0"),
        ("limits|set|x|--max-rate|nan", "above 0"),
        ("stats|--top|-1", "above 0"),
        ("events|--limit|0", "above 0"),
    ],
)
def test_wrong_usage_is_told_as_such_before_anybody_is_asked(
    arguments: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = arguments.replace("{file}", str(tmp_path / "new.yml")).split("|")
    assert ends(cli.main, *given) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "new.yml").exists()


def test_an_authority_that_cannot_be_read_is_wrong_usage_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KCM_CA", "/nowhere/ca.pem")
    for verb in ("members", "doctor"):
        assert ends(cli.main, verb, "--manager=https://127.0.0.1:1") == 2
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("peers", ["", "m1", "10.0.0.1, 10.0.0.2:7947", "[::1],[fd00::7]:7946"])
def test_what_init_writes_a_manager_takes(
    peers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new.yml"
    assert ends(cli.main, "init", str(file), "--peers", peers) == 0
    assert ends(cli.main_manager, "--print-config", "--config", str(file)) == 0
    assert "group" in capsys.readouterr().out


def test_a_wrong_option_of_a_manager_is_told_in_a_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(cli.main_manager, "--node-prt", "7") == 2
    assert capsys.readouterr().err.count("\n") < 4


@pytest.mark.parametrize(
    ("plan", "line"),
    [
        (("running", 2, 1), "nginx, version 2: running, 1 of 3 nodes"),
        (("rolling back", 1, 2), "nginx, rolling back from version 2 to 1, 1 of 3 nodes"),
    ],
)
def test_the_way_of_a_rollout_names_the_versions(plan: tuple[str, int, int], line: str) -> None:
    phase, version, base = plan
    answer = {"kind": "nginx", "version": version, "base": base, "phase": phase, "done": 1, "total": 3}
    assert config._tell({**answer, "waits_for": ""}, line) == line


def test_a_rollout_that_is_over_names_the_version_that_did_not_come() -> None:
    plan = {"version": 2, "base": 1, "why": "n1 is not well"}
    said = {phase: config._not_at_all({**plan, "phase": phase}) for phase in ("failed", "rolled back")}
    assert said["failed"] == "version 2 did not come to all nodes: failed, n1 is not well"
    assert said["rolled back"].startswith("version 1 ")


def test_why_a_rollout_stands_is_told_once() -> None:
    stands = {"waits_for": "paused by an operator", "why": "paused by an operator"}
    runs = {"waits_for": "a turn", "why": ""}
    assert config._rows([stands, runs]) == [{**stands, "waits_for": ""}, runs]
