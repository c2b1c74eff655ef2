"""Configurations that arrive: three managers, real nginx gateways, a balancer that asks for `/ready`."""

import http.client
import re
import signal
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from node.gateways.accesslog import FORMAT
from tests.e2e.cluster import Cluster, wait_for

KIND = ("--kind", "nginx")
CONFIG = """include main.conf;
error_log stderr;
events {}
http { include paths.conf; include limits.conf;
 server { include listen.conf; location / { return 200 "%s"; } } }
"""


def gateway(cluster: Cluster, number: int, running: str = "v1", more: str = "") -> None:
    """Node `n<number>` with an nginx on an address of its own; what differs from node to node it includes."""
    folder, host = cluster.folder / f"n{number}", f"{cluster.net}.{20 + number}"
    folder.mkdir()
    places = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = " ".join(f"{place}_temp_path {folder}/{place};" for place in places)
    log = f"log_format kcm '{FORMAT}'; access_log {folder}/access.log kcm;"
    (folder / "paths.conf").write_text(f"{paths} {log}")
    (folder / "main.conf").write_text(f"pid {folder}/nginx.pid;")
    (folder / "listen.conf").write_text(f"listen {host}:8080;")
    (folder / "nginx.conf").write_text(CONFIG % running)
    settings = (
        f"api: {host}:9898\n"
        f"gateway: {{kind: nginx, config: {folder}/nginx.conf, limits: {folder}/limits.conf, drain: 500ms,"
        f" health: 'http://{host}:8080/', access_log: {folder}/access.log}}\n"
    )
    cluster.start_node(f"n{number}", config=settings + more)


def file(cluster: Cluster, text: str) -> str:
    path: Path = cluster.folder / "pushed.conf"
    path.write_text(text)
    return str(path)


def answers(cluster: Cluster) -> list[str]:
    """What each gateway serves."""
    found = []
    for name in cluster.nodes:
        connection = http.client.HTTPConnection(f"{cluster.net}.{20 + int(name[1:])}", 8080, timeout=5)
        try:
            connection.request("GET", "/")
            found.append(connection.getresponse().read().decode())
        finally:
            connection.close()
    return found


def push(cluster: Cluster, text: str, *options: str, manager: str = "m1") -> None:
    done = cluster.kcm("config", "push", *KIND, *options, file(cluster, text), manager=manager)
    assert done.returncode == 0, done.stderr


def served(cluster: Cluster) -> int:
    """Requests that all gateways answered, as one manager knows it by asking all."""
    traffic = cluster.get("m2", "stats?by=endpoint")["traffic"]
    return int(traffic["GET /"][0]["requests"]) if "GET /" in traffic else 0


def phase(cluster: Cluster, manager: str = "m1") -> str:
    return str(cluster.get(manager, "config/nginx")["phase"])


class Load:
    """Clients that ask the balancer all the time; each answer, and whatever else came, is counted."""

    def __init__(self, host: str, clients: int = 4) -> None:
        self.seen: Counter[str] = Counter()
        self._host, self._ends = host, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def end(self) -> Counter[str]:
        self._ends.set()
        for thread in self._threads:
            thread.join(10)
        return self.seen

    def _ask(self) -> None:
        while not self._ends.is_set():
            connection = http.client.HTTPConnection(self._host, 8000, timeout=10)
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                self.seen[f"{answer.status} {answer.read().decode()[:20]}"] += 1
            except OSError as error:
                self.seen[repr(error)] += 1
            finally:
                connection.close()
            time.sleep(0.005)


class Wrk:
    """The load generator of that name on the balancer, until its end; it counts what went wrong."""

    def __init__(self, folder: Path, host: str) -> None:
        script = folder / "pause.lua"
        script.write_text("function delay() return 20 end\n")
        command = (
            "wrk",
            "-t1",
            "-c4",
            "-d10m",
            "--timeout",
            "10s",
            "-s",
            str(script),
            f"http://{host}:8000/",
        )
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def end(self) -> str:
        """What it says."""
        self._process.send_signal(signal.SIGINT)
        return self._process.communicate(timeout=30)[0]


def balancer(cluster: Cluster) -> str:
    """An HAProxy over the gateways that sends traffic where the agent says `ready`; gives its address."""
    host = f"{cluster.net}.20"
    servers = "\n".join(
        f"  server {name} {cluster.net}.{20 + int(name[1:])}:8080 check port 9898"
        f" addr {cluster.net}.{20 + int(name[1:])} inter 100ms fall 1 rise 1"
        for name in cluster.nodes
    )
    config = cluster.folder / "haproxy.cfg"
    config.write_text(
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 10s\n  timeout server 10s\n"
        f"  retries 0\nlisten balancer\n  bind {host}:8000\n  option httpchk GET /ready\n{servers}\n"
    )
    cluster.run("balancer", "haproxy", "-db", "-f", str(config))
    return host


@pytest.mark.needs("nginx", "haproxy", "wrk")
def test_a_rollout_over_three_gateways_behind_a_balancer_loses_no_request(cluster: Cluster) -> None:
    secret = "group: {secret: of this group}\n"
    cluster.start_managers(3, config=secret)
    for number in (1, 2, 3):
        gateway(cluster, number)
    wait_for(lambda: answers(cluster) == ["v1"] * 3, 60.0, "all serve")
    host = balancer(cluster)
    load = Load(host)
    wait_for(lambda: load.seen["200 v1"] > 50, 60.0, "the balancer serves")
    load.seen.clear()
    wrk = Wrk(cluster.folder, host)
    try:
        valid = cluster.kcm("config", "validate", *KIND, file(cluster, CONFIG % "v2"))
        assert valid.stdout.startswith("valid: krakend_"), valid.stderr
        push(cluster, CONFIG % "v2", "--pause", "1s")
        out = 0
        ends = time.monotonic() + 60
        while phase(cluster, "m2") != "done":
            nodes = cluster.get("m3", "config/nginx")["nodes"]
            out = max(out, sum(node["turn"] for node in nodes))
            assert time.monotonic() < ends, cluster.get("m2", "config/nginx")
            time.sleep(0.05)
        wait_for(lambda: load.seen["200 v2"] > 50, 30.0, "the new one serves")
    finally:
        seen, said = load.end(), wrk.end()
    assert set(seen) == {"200 v1", "200 v2"}, seen
    assert "Non-2xx" not in said, said
    assert "Socket errors" not in said, said
    assert int(re.findall(r"(\d+) requests in", said)[0]) > 100, said
    assert out == 1
    assert answers(cluster) == ["v2"] * 3
    wait_for(lambda: served(cluster) > 100, 30.0, "the managers know what the gateways answered")
    rows = cluster.kcm("stats", "--by", "node", manager="m3").stdout.splitlines()
    assert sorted(row.split()[1] for row in rows[1:]) == ["n1", "n2", "n3"]
    assert all(" ms" in row for row in rows[1:]), rows
    waited = cluster.kcm("config", "wait", *KIND)
    assert waited.returncode == 0, waited.stderr
    nodes = cluster.get("m3", "config/nginx")["nodes"]
    assert [(n["running"], n["on_disk"], n["wanted"], n["drifted"]) for n in nodes] == [(1, 1, 1, False)] * 3

    bundle = str(cluster.folder / "bundle.jws")
    made = cluster.kcm("bundle", "create", bundle, *KIND)
    assert made.returncode == 0, made.stderr
    for manager in cluster.managers.values():
        manager.send(signal.SIGKILL)
        manager.popen.wait(10)
    # A new node starts while no manager is there, with what the others run and not with its own file.
    gateway(
        cluster, 4, more=next(line for line in made.stdout.splitlines() if "bundle: " in line).strip() + "\n"
    )
    wait_for(lambda: answers(cluster) == ["v2"] * 4, 30.0, "the new one serves what the others do")
    cluster.start_managers(3, config=secret)
    wait_for(
        lambda: cluster.get("m3", "config/nginx")["done"] == 4, 30.0, "all are back, and the new one is in"
    )
    assert phase(cluster, "m3") == "done"
    shown = cluster.kcm("config", "cat", *KIND, "1", manager="m2")
    assert shown.stdout == CONFIG % "v2"


@pytest.mark.needs("nginx")
def test_what_one_gateway_cannot_take_reaches_none_and_is_rolled_back(cluster: Cluster) -> None:
    cluster.start_managers(3)
    for number in (1, 2, 3):
        gateway(cluster, number)
    wait_for(lambda: answers(cluster) == ["v1"] * 3, 60.0, "all serve")
    push(cluster, CONFIG % "v1" + "# first\n", "--pause", "0s", "--max-unavailable", "3", "--waves", "100%")
    wait_for(lambda: phase(cluster) == "done", 30.0, "the first is there")

    # Valid for all but one, which lacks the file: nobody goes out of service.
    for number in (1, 3):
        (cluster.folder / f"n{number}" / "only_here.conf").touch()
    push(cluster, CONFIG % "v2" + "include only_here.conf;\n")
    waited = cluster.kcm("config", "wait", *KIND)
    assert waited.returncode == 1
    assert "only_here.conf" in waited.stderr
    wait_for(lambda: phase(cluster, "m3") == "rolled back", 10.0, "rolled back")
    assert answers(cluster) == ["v1"] * 3
    assert all(node["running"] == 1 for node in cluster.get("m2", "config/nginx")["nodes"])

    # Valid, but not healthy where it runs: the one that tried goes back, and no other tries.
    broken = (CONFIG % "v2").replace('return 200 "v2"', "return 500 v3")
    push(cluster, broken, manager="m2")
    wait_for(lambda: phase(cluster) == "rolled back", 60.0, "rolled back")
    assert "not healthy" in cluster.get("m1", "config/nginx")["why"]
    assert sum("out of service to take configuration 3" in node.text for node in cluster.nodes.values()) == 1
    assert answers(cluster) == ["v1"] * 3

    # An edit by hand is shown, and a push brings all back to one.
    (cluster.folder / "n2" / "nginx.conf").write_text(CONFIG % "by hand")
    wait_for(lambda: cluster.get("m1", "config/nginx")["drifted"], 10.0, "it is seen")
    drift = cluster.kcm("config", "drift", *KIND)
    assert " n2 " in drift.stdout
    push(cluster, CONFIG % "v2", "--waves", "100%", "--max-unavailable", "3")
    wait_for(lambda: answers(cluster) == ["v2"] * 3, 30.0, "all serve the new one")
    wait_for(lambda: not cluster.get("m1", "config/nginx")["drifted"], 10.0, "none differs")


@pytest.mark.needs("nginx")
def test_a_rollout_whose_conductor_is_gone_stands_until_another_manager_takes_it_over(
    cluster: Cluster,
) -> None:
    survivor = "m3"
    cluster.start_managers(3)
    for number in (1, 2, 3):
        gateway(cluster, number)
    wait_for(lambda: answers(cluster) == ["v1"] * 3, 60.0, "all serve")
    push(cluster, CONFIG % "v2", "--pause", "3s")
    wait_for(lambda: answers(cluster).count("v2") == 1, 30.0, "the first wave is there")
    cluster.managers["m1"].kill()
    wait_for(lambda: "m1" not in cluster.members(survivor), 15.0, "m1 is gone")
    wait_for(
        lambda: "conductor m1 is gone" in cluster.get(survivor, "config/nginx")["waits_for"],
        5.0,
        "it is said",
    )
    time.sleep(4.0)  # longer than the pause: nobody goes on by itself
    assert answers(cluster).count("v2") == 1
    resumed = cluster.kcm("rollout", "resume", *KIND, manager=survivor)
    assert resumed.returncode == 0, resumed.stderr
    wait_for(lambda: answers(cluster) == ["v2"] * 3, 40.0, "all serve the new one")
    wait_for(lambda: phase(cluster, "m2") == "done", 30.0, "it is done")
