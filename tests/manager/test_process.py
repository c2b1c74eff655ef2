"""Starting a manager: which address it gives others, and what the operator is told."""

import logging
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from gossip.ledger import Ledger
from gossip.wire import PLAIN, Keyring, Layers
from manager import process
from manager.addresses import own_addresses
from manager.cli.client import ClientError
from manager.cli.init import write_configuration
from manager.config.schema import ManagerFile
from manager.disk.saved import Changes
from manager.disk.store import Store
from manager.process import FROM_HERE_ONLY, KEY_IN_SIGHT, NOTHING_KEPT, open_doors
from manager.seats.records import FOUNDER, pack
from manager.seats.rights import Account

KEY = "MDEyMzQ1Njc4OTo7PD0+Pw=="
[OPEN] = open_doors(ManagerFile())
[OPEN_BUT_GOSSIP] = open_doors(ManagerFile.model_validate({"gossip": {"key": KEY}}))


@dataclass
class Started:
    """What a manager would have been started with."""

    advertise: str = ""
    notices: list[str] = field(default_factory=list)
    file: ManagerFile = field(default_factory=ManagerFile)
    layers: Layers = PLAIN


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Started]:
    """Nothing starts: `process.run` comes as far as that. This host has no address but loopback."""
    started = Started()

    async def note(
        file: ManagerFile, advertise: str, notices: Sequence[str], layers: Layers, store: Store | None
    ) -> int:
        started.file, started.advertise, started.notices = file, advertise, list(notices)
        started.layers = layers
        return 7

    monkeypatch.setattr(process, "run_manager", note)
    monkeypatch.setattr(process, "own_addresses", lambda: ["127.0.0.1"])
    monkeypatch.setattr(process, "CONFIG_FILE", tmp_path / "cluster-manager.yml")
    monkeypatch.setenv("KCM_STATE_DIR", str(tmp_path / "state"))
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield started
    root.handlers, root.level = handlers, level


def test_the_exit_code_is_the_managers(started: Started) -> None:
    assert process.run(["--name=m1", "--bind=10.0.0.1"], "kcm run") == 7
    assert (started.file.name, started.advertise) == ("m1", "10.0.0.1")


def test_that_nothing_is_locked_yet_is_said_at_each_start(started: Started) -> None:
    process.run(["--bind=127.0.0.1"], "kcm run")
    assert started.notices == [OPEN]


def test_a_manager_without_a_place_for_its_state_runs_and_says_what_to_do(
    started: Started, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("manager.disk.store.SYSTEM_DIRECTORY", tmp_path / "not there")
    monkeypatch.delenv("KCM_STATE_DIR")
    assert process.run(["--bind=127.0.0.1"], "kcm run") == 7
    assert started.notices == [NOTHING_KEPT, OPEN]


def test_the_systems_folder_is_used_where_it_exists(
    started: Started, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("manager.disk.store.SYSTEM_DIRECTORY", tmp_path)
    monkeypatch.delenv("KCM_STATE_DIR")
    assert process.run(["--bind=127.0.0.1", "--name=m1"], "kcm run") == 7
    assert (started.notices, (tmp_path / "m1" / "state.db").exists()) == ([OPEN], True)


def test_a_state_that_cannot_be_had_is_one_line_and_an_exit_code(
    started: Started, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert process.run([f"--state-dir={tmp_path}/file"], "kcm run") == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "cannot hold this manager's state (not a directory)" in line
    assert "--state-dir" in line


def test_a_guess_that_only_this_host_can_reach_is_warned_about(started: Started) -> None:
    process.run([], "kcm run")
    assert started.advertise == "127.0.0.1"
    assert started.notices == [OPEN, FROM_HERE_ONLY]


def test_loopback_that_was_asked_for_is_not_warned_about(started: Started) -> None:
    process.run(["--advertise=127.0.0.1"], "kcm run")
    assert started.notices == [OPEN]


def test_the_first_private_address_of_this_host_is_advertised(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        process, "own_addresses", lambda: ["203.0.113.7", "127.0.0.1", "10.1.2.3", "10.1.2.4"]
    )
    process.run([], "kcm run")
    assert (started.advertise, started.notices) == ("10.1.2.3", [OPEN])


@pytest.mark.parametrize(
    "arguments",
    [["--advertise=203.0.113.7"], ["--bind=203.0.113.7"], ["--bind=::", "--advertise=2001:db8::1"]],
)
def test_a_public_address_without_a_key_is_refused(
    started: Started, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert process.run(arguments, "kcm run") == 2
    assert started.advertise == ""
    error = capsys.readouterr().err
    assert error.startswith("kcm run: advertise: ")
    assert "advertise a private address (--advertise)" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [["--advertise=203.0.113.7"], ["--bind=203.0.113.7"], ["--bind=::", "--advertise=2001:db8::1"]],
)
def test_with_a_key_a_public_address_is_none_of_our_business(
    started: Started, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setenv("KCM_GOSSIP_KEY", KEY)
    assert process.run(arguments, "kcm run") == 7
    assert started.layers.keyring == Keyring([bytes(range(0x30, 0x40))])
    assert started.notices == [OPEN_BUT_GOSSIP]


def test_a_label_alone_keeps_nobody_out(started: Started) -> None:
    process.run(["--bind=127.0.0.1", "--gossip-label=blue"], "kcm run")
    assert (started.layers, started.notices) == (Layers(label=b"blue"), [OPEN])
    assert process.run(["--advertise=203.0.113.7", "--gossip-label=blue"], "kcm run") == 2


def test_a_key_on_the_command_line_is_warned_about(started: Started) -> None:
    process.run(["--bind=127.0.0.1", "--gossip-key", KEY], "kcm run")
    assert started.layers.keyring is not None
    assert started.notices == [OPEN_BUT_GOSSIP, KEY_IN_SIGHT]
    assert KEY not in "".join(started.notices)


def test_a_keyring_that_was_changed_since_it_was_checked_is_one_line_too(
    started: Started, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def changed(file: ManagerFile) -> Layers:
        raise ValueError("is /etc/keyring, which has 0 keys, not 1 to 8")

    monkeypatch.setattr(process, "gossip_layers", changed)
    assert process.run(["--bind=127.0.0.1"], "kcm run") == 2
    assert capsys.readouterr().err == (
        "kcm run: `gossip.keyring_file` is /etc/keyring, which has 0 keys, not 1 to 8\n"
    )


def test_a_variable_that_is_nearly_one_of_ours_is_warned_about(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KCM_NODE_PORTS", "7000")
    monkeypatch.setenv("KCM_MANAGER", "http://m1:9897")  # that of `kcm`, and none of ours
    process.run(["--bind=127.0.0.1"], "kcm run")
    assert started.notices == ["variable KCM_NODE_PORTS is none of ours: did you mean KCM_NODE_PORT?", OPEN]


def test_own_addresses_are_ipv4_addresses_that_this_host_can_listen_on() -> None:
    found = own_addresses()
    assert len(found) == len(set(found))
    for ip in found:
        assert IPv4Address(ip)
        socket.create_server((ip, 0)).close()


def test_a_host_without_any_network_has_no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise OSError("no network")

    monkeypatch.setattr(socket, "socket", refuse)
    assert own_addresses() == []


def test_what_kcm_init_writes_closes_every_door_and_holds_no_token(
    started: Started, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cluster-manager.yml"
    made = write_configuration(path, "blue", "m2, m3")
    assert path.stat().st_mode & 0o777 == 0o600
    assert made["admin_token"] not in path.read_text()
    assert made["join_token"] not in path.read_text()
    assert process.run(["--bind=127.0.0.1", f"--config={path}"], "kcm run") == 7
    assert (started.notices, started.file.group.name) == ([], "blue")
    assert [str(peer) for peer in started.file.peers] == ["m2:7946", "m3:7946"]
    with pytest.raises(ClientError, match="file exists"):
        write_configuration(path, "blue", "")


def test_no_secret_of_a_configuration_is_ever_printed(
    started: Started, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cluster-manager.yml"
    write_configuration(path, "blue", "")
    secrets = re.findall(r"(?:secret|  key): (\S+)", path.read_text())
    assert len(secrets) == 2
    assert process.run(["--print-config", f"--config={path}"], "kcm run") == 0
    path.write_text(path.read_text() + "nodes: 7\n")
    assert process.run([f"--config={path}"], "kcm run") == 2
    printed = capsys.readouterr()
    assert "group.secret is set and not shown" in printed.out
    for secret in secrets:
        assert secret not in printed.out + printed.err


def test_a_founder_whose_list_of_founders_was_edited_does_not_start(
    started: Started, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--name=m1", "--bind=10.0.0.1", "--subscription-policy=strict"]
    assert process.run([*options, "--group-founders=m1,m2,m3"], "kcm run") == 7
    account = Account(origin=1, founders=("m1", "m2", "m3"), terms="tickets live 9 s", founded=True)
    ledger = Ledger("m1", 1)
    ledger.put(FOUNDER, pack(account))
    store = Store(tmp_path / "state" / "m1", "m1", "krakend")
    store.write([Changes(pages=(ledger.own.whole(),))])
    store.close()
    assert process.run([*options, "--group-founders=m1,m2"], "kcm run") == 2
    assert "group.founders were m1, m2, m3 when this founder was founded" in capsys.readouterr().err
    assert process.run([*options, "--group-founders=m1,m2,m3"], "kcm run") == 7
    assert any("by this founder's last start it was: tickets live 9 s" in line for line in started.notices)
