"""What systemd is told."""

import os
import socket
from pathlib import Path

import pytest

from node.gateways.child import gateway_environment
from node.notify import ALIVE, READY, notify, watchdog_seconds


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears_each_line_of_one_message(tmp_path: Path, abstract: bool) -> None:
    name = f"@kcm-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name[1:] if abstract else name)
        assert notify(READY, "STATUS=it runs", environ={"NOTIFY_SOCKET": name})
        assert sock.recv(1000) == b"READY=1\nSTATUS=it runs"


@pytest.mark.parametrize("name", ["", "vsock:1", "/no/such/socket"])
def test_nobody_who_listens_is_no_failure(name: str) -> None:
    assert notify(READY, environ={"NOTIFY_SOCKET": name}) is False
    assert notify(READY, environ={}) is False


def test_the_watchdog_is_told_twice_as_often_as_it_must() -> None:
    assert watchdog_seconds({"WATCHDOG_USEC": "30000000"}) == 15.0
    assert watchdog_seconds({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}) == 15.0
    assert watchdog_seconds({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}) is None
    assert watchdog_seconds({}) is watchdog_seconds({"WATCHDOG_USEC": "0"}) is None
    assert ALIVE == "WATCHDOG=1"


def test_a_gateway_does_not_speak_to_systemd_in_its_agents_name() -> None:
    ours = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "PATH": "/bin"}
    assert gateway_environment(ours) == {"PATH": "/bin"}
