"""A whole rollout over KrakenD gateways on hosts of their own: by a stand-in that does as KrakenD does."""

import json
import sys
import threading
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.networks import Namespaces
from tests.e2e.cluster import Cluster, fetched, wait_for
from tests.e2e.test_config_apart import ApartCluster
from tests.interop.apart import alone, on_the_bridge

KIND = ("--kind", "krakend")
STAND_IN = Path(__file__).parents[1] / "node" / "krakend.py"


class KrakendCluster(ApartCluster):
    """Node n1 runs beside m1, n2 beside m2; all that differs between them is the host."""

    def inside(self, name: str) -> tuple[str, ...]:
        return self.networks.inside(self.address(f"m{name[1:]}"))

    def ask(self, number: int, path: str, port: int = 8080) -> str:
        """What node `n<number>` answers; empty where it does not, or refuses."""
        try:
            return fetched(f"http://{self.address(f'm{number}')}:{port}{path}").decode()
        except (OSError, urllib.error.HTTPError):
            return ""


@pytest.fixture
def krakends(tmp_path: Path) -> Iterator[KrakendCluster]:
    with alone():
        cluster = KrakendCluster(tmp_path, net="10.77.0")
        cluster.networks = Namespaces(2)
        try:
            on_the_bridge()
            program = tmp_path / "krakend"
            program.write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} "$@"\n')
            program.chmod(0o755)
            yield cluster
        finally:
            cluster.close()
            cluster.networks.close()


def configuration(*paths: str, **keys: object) -> str:
    limited = {"cluster/limit": "public"}
    endpoints = [{"endpoint": path, "extra_config": limited} for path in paths]
    return json.dumps({"version": 3, "port": 8080, "listen_ip": "0.0.0.0", "endpoints": endpoints, **keys})


def start(cluster: KrakendCluster, number: int) -> None:
    folder, host = cluster.folder / f"n{number}", cluster.address(f"m{number}")
    folder.mkdir()
    (folder / "krakend.json").write_text(configuration("/a"))
    cluster.start_node(
        f"n{number}",
        "m1",
        "m2",
        config=f"api: {host}:9898\ngateway: {{kind: krakend, program: {cluster.folder}/krakend,"
        f" config: {folder}/krakend.json, health: 'http://{host}:8080/__health', drain: 300ms,"
        " min_interval: 0s}\n",
    )


def rate(cluster: Cluster, number: int, endpoint: int = 0) -> float:
    """The limit that a node's KrakenD was started with at an endpoint."""
    rendered = cluster.folder / f"n{number}" / f"n{number}" / "gateway" / "krakend.json"
    extra = json.loads(rendered.read_text())["endpoints"][endpoint]["extra_config"]
    return float(extra["qos/ratelimit/router"]["max_rate"])


def push(cluster: Cluster, content: str) -> tuple[int, str]:
    """The exit code of `kcm config wait`, and what it said."""
    file = cluster.folder / "pushed.json"
    file.write_text(content)
    done = cluster.kcm("config", "push", *KIND, "--pause", "0s", str(file))
    assert done.returncode == 0, done.stderr
    waited = cluster.kcm("config", "wait", *KIND, "--timeout", "18", manager="m2")
    return waited.returncode, waited.stderr


@pytest.mark.needs("root", "ip", "nft")
def test_a_rollout_over_krakends_takes_one_at_a_time_out_and_what_one_cannot_run_reaches_no_other(
    krakends: KrakendCluster,
) -> None:
    krakends.start_managers(2, config="limits: {public: {max_rate: 1000}}\n")
    for number in (1, 2):
        start(krakends, number)
    wait_for(lambda: krakends.ask(1, "/a") and krakends.ask(2, "/a"), 30.0, "both serve")
    wait_for(lambda: krakends.states("m1") == {"n1": "active", "n2": "active"}, 10.0, "both are nodes")
    wait_for(lambda: [rate(krakends, n) for n in (1, 2)] == [500.0] * 2, 30.0, "each has its share")
    wait_for(lambda: all(krakends.ask(n, "/ready", 9898) for n in (1, 2)), 15.0, "both are in service")

    both_out, over = [], threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            if not krakends.ask(1, "/ready", 9898) and not krakends.ask(2, "/ready", 9898):
                both_out.append(True)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        # Each new share is a restart, which takes a turn as well.
        assert krakends.kcm("limits", "set", "public", "--max-rate", "800").returncode == 0
        wait_for(lambda: [rate(krakends, n) for n in (1, 2)] == [400.0] * 2, 30.0, "each has its new share")
        wait_for(lambda: all(krakends.ask(n, "/ready", 9898) for n in (1, 2)), 15.0, "both are back")
        before = [krakends.ask(number, "/a") for number in (1, 2)]
        assert push(krakends, configuration("/a", "/b"))[0] == 0
        after = [krakends.ask(number, "/b") for number in (1, 2)]
        assert all(after)
        assert not set(before) & set(after), "each was started anew"
        assert [rate(krakends, number, endpoint=1) for number in (1, 2)] == [400.0] * 2

        # Its own check refuses it: nobody is touched.
        code, said = push(krakends, configuration("/c", version=2))
        assert (code, "unsupported version" in said) == (1, True), said
        assert [krakends.ask(number, "/b") for number in (1, 2)] == after

        # It passes the check, as with the original, and does not run: one has tried, and is back.
        code, said = push(krakends, configuration("/d", crashes="nil map"))
        assert (code, "panic: nil map" in said) == (1, True), said
        wait_for(lambda: krakends.ask(1, "/b") and krakends.ask(2, "/b"), 15.0, "both serve what they did")
        assert sum(krakends.ask(number, "/b") == after[number - 1] for number in (1, 2)) == 1
    finally:
        over.set()
        looking.join(15)
    assert not both_out
