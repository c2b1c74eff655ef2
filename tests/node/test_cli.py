"""The command line: what a mistake looks like, and what is printed."""

import re
from pathlib import Path

import pytest

from node import cli
from node.config import NodeSettings
from node.settings import HostPort, SettingsError, load


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for `service.yml`, and an environment without variables of ours."""
    for name in ("KRAKEND_SEED", "KRAKEND_NODE_NAME", "KRAKEND_NODE_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cli, "SERVICE_FILE", tmp_path / "etc" / "service.yml")
    return tmp_path / "service.yml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: edge\n", "service.yml: no `seed`: put `seed: host:7000`, or start the gateway itself"),
        ("seed:\n", "service.yml: no `seed`: put `seed: host:7000`, or start the gateway itself"),
        ("seed: a\n---\nseed: b\n", "service.yml, line 2: a second document (`---`) begins here: keep one"),
        ("\tseed: a\n", "service.yml, line 1: a tab: YAML wants spaces, replace it"),
        ("seed: {host: a}\n", "service.yml, line 1: `seed` must be a list, or text with commas"),
        ("seed: a:port\n", "service.yml, line 1: `seed` must be `host:7000`, not `a:port`"),
        ("seed: a\nseed: b\n", "service.yml, line 2: `seed` stands twice, first in line 1: delete one"),
        ("sead: a\n", "service.yml, line 1: `sead` is not a key: did you mean `seed`?"),
        ("seed: a\ncolour: x\n", "service.yml, line 2: `colour` is not a key: known here are seed, name,"),
        ("seed: [::1]:7000\n", 'line 1: IPv6 needs quotes: write `seed: "[::1]:7000"`'),
        (
            "seed: a\nname: a/b\n",
            "line 2: `name` must be 1 to 64 letters, digits, `.`, `_` or `-`, not `a/b`",
        ),
        ("seed: a\napi: nine\n", "line 2: `api` must name its port: `nine:PORT`"),
        ("seed: [http://a:7000]\n", "`seed` must be an address without `http://`: write `a:7000`"),
        ("seed: a\ngateway: nginx\n", "line 2: `gateway` must be a map (`key: value`), not `nginx`"),
        ("seed: a\ngateway: {kind: nginx}\n", "`gateway` needs `config` with `kind: nginx`"),
        (
            "seed: a\ngateway: {kind: krakend, config: k.json, supervise: none}\n",
            "`gateway` needs `supervise: child` or `systemd`: KrakenD takes limits only by a restart",
        ),
        (
            "seed: a\ngateway: {kind: nginx, config: a, limits: b, supervise: systemd}\n",
            "`gateway` needs `supervise: systemd` and `unit: NAME.service` together",
        ),
        ("seed: a\ngateway: {kind: command}\n", "line 2: `gateway` needs `run: [program, argument]` with"),
        ("seed: a\ngateway: {run: [x]}\n", "line 2: `gateway` needs `kind: command` with `run` and `health`"),
        (
            "seed: a\ngateway: {kind: command, run: x, health: up}\n",
            "`gateway.health` must be `http://host:port/path`, not `up`",
        ),
        (
            "seed: a\ngateway: {kind: command, run: [no-such-program]}\n",
            "`gateway.run`: no-such-program is not a program here: install it, or put its path",
        ),
        ("seed: a\nlimits_file: /no/such/file\n", "`limits_file`: the directory of /no/such/file does not"),
    ],
)
def test_each_wrong_service_file_is_one_line_and_exit_2(
    service: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    service.write_text(text)
    assert cli.run(["--service", str(service)]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("krakend-cluster-node: ")
    assert message in error
    assert error.count("\n") == 1


def test_without_a_file_the_seed_is_asked_for(service: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([]) == 2
    assert re.search(r"etc/service.yml \(which does not exist\): no `seed`: put", capsys.readouterr().err)
    assert cli.run(["--service", str(service)]) == 2
    assert "service.yml does not exist: write it, or name another file" in capsys.readouterr().err


def test_the_printed_configuration_fed_back_is_the_same(
    service: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KRAKEND_SEED", "a, [::1]:7001")
    assert (
        cli.run(["--print-config", "--name", "no", "--gateway-kind=command", "--gateway-run=nginx -g 'x y'"])
        == 0
    )
    printed = capsys.readouterr().out
    assert "KRAKEND" not in printed
    monkeypatch.delenv("KRAKEND_SEED")
    service.write_text(printed)
    assert cli.run(["--print-config", "--service", str(service)]) == 0
    assert capsys.readouterr().out == printed
    settings = load(NodeSettings, prefix="KRAKEND_NODE_", file=service, environ={}).settings
    assert settings.seed == (HostPort("a", 7000), HostPort("::1", 7001))
    assert settings.gateway.run == ("nginx", "-g", "x y")


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_version_and_help_are_printed(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([argument])
    assert ended.value.code == 0
    assert "krakend-cluster-node" in capsys.readouterr().out


def test_an_unknown_option_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--sede", "a"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --sede a: did you mean --seed?" in capsys.readouterr().err


def test_an_agent_that_only_speaks_to_haproxys_socket_needs_no_haproxy(
    service: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.cli.shutil.which", lambda program: None)
    files = "config: /c, limits: /l, socket: /s"
    service.write_text(f"seed: a\ngateway: {{kind: haproxy, supervise: none, {files}}}\n")
    cli._check(load(NodeSettings, prefix="KRAKEND_NODE_", file=service, environ={}).settings, service)
    service.write_text(f"seed: a\ngateway: {{kind: haproxy, {files}}}\n")
    with pytest.raises(SettingsError, match="haproxy is not a program here"):
        cli._check(load(NodeSettings, prefix="KRAKEND_NODE_", file=service, environ={}).settings, service)
