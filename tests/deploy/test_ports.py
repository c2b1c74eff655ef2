"""Ports are held here by a program of a known name and pid."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.ports import port_owner

Hold = Callable[[str, str], tuple[int, int]]

HOLDER = f"""#!{sys.executable}
import socket, sys, time
host, kind = sys.argv[1:]
held = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, getattr(socket, kind))
held.bind((host, 0))
if kind == "SOCK_STREAM":
    held.listen()
print(held.getsockname()[1], flush=True)
time.sleep(60)
"""


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Hold]:
    """Hold a free port on a host, by a process: (port, pid)."""
    program = tmp_path / "port-holder"
    program.write_text(HOLDER)
    program.chmod(0o755)
    started: list[subprocess.Popen[str]] = []

    def start(host: str, kind: str) -> tuple[int, int]:
        process = subprocess.Popen([program, host, kind], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        return int(process.stdout.readline()), process.pid

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "::ffff:127.0.0.1"])
def test_the_owner_is_found_wherever_it_listens_in_our_place(hold: Hold, host: str) -> None:
    port, pid = hold(host, "SOCK_STREAM")
    assert port_owner("tcp", "127.0.0.1", port) == f"port-holder (pid {pid})"
    assert port_owner("udp", "127.0.0.1", port) == "another process"


def test_udp_ports_have_owners_too(hold: Hold) -> None:
    port, pid = hold("127.0.0.1", "SOCK_DGRAM")
    assert port_owner("udp", "127.0.0.1", port) == f"port-holder (pid {pid})"


def test_who_listens_elsewhere_is_not_accused(hold: Hold) -> None:
    port, _ = hold("127.0.0.2", "SOCK_STREAM")
    assert port_owner("tcp", "127.0.0.1", port) == "another process"
