"""Managers, nodes and `kcm` by TLS, as real processes; a certificate is replaced under them."""

import os
import socket
import subprocess
import time
import urllib.request
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from manager.acceptor import HANDSHAKES_MAX
from manager.web.server import REQUEST_SECONDS_MAX
from node.tls import to_managers
from tests.authority import Authority
from tests.e2e.cluster import HTTP_PORT, PROGRAMS, Cluster, wait_for

FLOODS_FROM = "127.0.0.77"


def test_nodes_managers_and_kcm_meet_by_tls_while_certificates_change(
    cluster: Cluster, tmp_path: Path
) -> None:
    authority, nodes = Authority(tmp_path), Authority(tmp_path, "nodes")
    for name in ("m1", "m2"):
        cert, key = authority.issue(name, cluster.address(name))
        tls = f"tls: {{cert: {cert}, key: {key}, ca: {authority.ca}, client_ca: {nodes.ca}}}\n"
        cluster.start_manager(name, peers=["m1", "m2"], config=f"nodes: {{heartbeat: 1s}}\n{tls}")
    cert, key = nodes.issue("n1")
    shown = f"tls: {{ca: {authority.ca}, cert: {cert}, key: {key}}}\n"
    cluster.start_node("n1", config=shown)
    cluster.start_node("n2", config=f"tls: {{ca: {authority.ca}}}\n")
    cluster.nodes["n1"].says("Joined as", 20.0)

    def kcm(*arguments: str) -> str:
        url = f"https://{cluster.address('m2')}:{HTTP_PORT}"
        env = {**os.environ, "KCM_MANAGER": url, "KCM_CA": str(authority.ca)}
        command = [str(PROGRAMS / "kcm"), *arguments]
        return subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=20, check=False
        ).stdout

    wait_for(lambda: "n1" in kcm("nodes"), 10.0, "m2 lists n1")
    assert "n2" not in kcm("nodes")
    wait_for(lambda: "2 of 2 managers answer each other" in kcm("doctor"), 15.0, "managers ask each other")

    def metrics() -> str:
        url = f"https://{cluster.address('m1')}:{HTTP_PORT}/metrics"
        with urllib.request.urlopen(url, timeout=5, context=to_managers(str(authority.ca))) as answer:
            text: str = answer.read().decode()
            return text

    assert "kcm_certificate_days_left 9." in metrics()
    authority.issue("m1", cluster.address("m1"), days=25)
    wait_for(lambda: "kcm_certificate_days_left 24." in metrics(), 20.0, "m1 has its new certificate in use")
    assert cluster.nodes["n1"].running

    before = time.monotonic()
    with ThreadPoolExecutor() as threads:
        flood = threads.submit(connect_and_say_nothing, cluster.address("m1"), HTTP_PORT, MANY)
        slowest = 0.0
        while not flood.done():
            began = time.monotonic()
            assert "kcm_nodes_connected" in metrics()
            slowest = max(slowest, time.monotonic() - began)
    held = flood.result()
    shaking = HANDSHAKES_MAX * (1 + (time.monotonic() - before) // REQUEST_SECONDS_MAX)
    wait_for(
        lambda: counted(metrics(), "too_many_connections") >= MANY - shaking,
        10.0,
        f"all but {shaking:.0f} are counted as turned away",
    )
    for one in held:
        one.close()
    assert slowest < 5.0
    assert "unreachable" not in "".join(process.text for process in cluster.managers.values())
    assert cluster.nodes["n1"].text.count("Joined as") == 1


MANY = 10_000


def connect_and_say_nothing(host: str, port: int, count: int) -> deque[socket.socket]:
    """`count` connections from one address that begin no handshake; those not yet turned away at the end."""
    open_ones = deque[socket.socket]()
    for _ in range(count):
        one = socket.create_connection((host, port), source_address=(FLOODS_FROM, 0))
        one.setblocking(False)
        open_ones.append(one)
        for _ in range(2):
            eldest = open_ones.popleft()
            if is_ended(eldest):
                eldest.close()
            else:
                open_ones.append(eldest)
    return open_ones


def is_ended(connection: socket.socket) -> bool:
    try:
        return not connection.recv(1)
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def counted(metrics: str, reason: str) -> float:
    [line] = [line for line in metrics.splitlines() if f'{{reason="{reason}"' in line]
    return float(line.split()[-1])
