"""A service manager, as systemd is one, hears when manager and agent run, live and end (`Type=notify`)."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster, fetched

Listener = tuple[socket.socket, dict[str, str]]


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    """Where it listens, and what it gives to what it starts."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(20.0)
        yield sock, {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}


def test_manager_and_agent_say_when_they_run_that_they_live_and_when_they_end(
    cluster: Cluster, listener: Listener
) -> None:
    sock, env = listener
    manager = cluster.start_manager("m1", peers=[], env=env)
    assert sock.recv(1000) == b"READY=1"
    # Its ports are open by then.
    assert fetched(f"http://{cluster.address('m1')}:9897/health")
    assert [sock.recv(1000) for _ in range(3)] == [b"WATCHDOG=1"] * 3
    node = cluster.start_node("n1", env={"NOTIFY_SOCKET": env["NOTIFY_SOCKET"]})
    assert _next(sock) == b"READY=1"
    node.stop()
    assert _next(sock) == b"STOPPING=1"
    manager.stop()
    assert _next(sock) == b"STOPPING=1"


def _next(sock: socket.socket) -> bytes:
    """What is said next beside that the manager lives."""
    while (said := sock.recv(1000)) == b"WATCHDOG=1":
        pass
    return said
