"""Operators take nodes out of service and put them back, by any manager: real nginx gateways."""

import json
import time
import urllib.error

import pytest

from tests.e2e.cluster import Cluster, fetched, wait_for
from tests.e2e.test_config import answers, gateway


def ready(cluster: Cluster, number: int) -> str:
    """Why a node's agent wants no traffic, empty where it wants some."""
    try:
        fetched(f"http://{cluster.net}.{20 + number}:9898/ready")
    except urllib.error.HTTPError:
        node = json.loads(fetched(f"http://{cluster.net}.{20 + number}:9898/v1/node"))
        return str(node["service"] or "not ready")
    return ""


def process(cluster: Cluster, number: int) -> str:
    """The number of its nginx, empty while none runs."""
    file = cluster.folder / f"n{number}" / "nginx.pid"
    return file.read_text() if file.exists() else ""


@pytest.mark.needs("nginx")
def test_a_node_is_cordoned_drained_and_restarted_by_any_manager_and_stays_out_over_restarts(
    cluster: Cluster,
) -> None:
    cluster.start_managers(2)
    for number in (1, 2):
        gateway(cluster, number)
    wait_for(lambda: answers(cluster) == ["v1"] * 2, 60.0, "all serve")
    home = cluster.node("m1", "n1")["manager"]
    other = "m2" if home == "m1" else "m1"

    done = cluster.kcm("node", "cordon", "n1", manager=other)
    assert (done.returncode, done.stdout.split(":")[0]) == (0, "n1 is cordoned"), done.stderr
    assert [ready(cluster, 1), ready(cluster, 2)] == ["cordoned", ""]
    assert answers(cluster) == ["v1"] * 2

    # Over a restart of its agent, and of its manager.
    cluster.nodes["n1"].stop()
    settings = (cluster.folder / "n1" / "service.yml").read_text().split("limits.json\n", 1)[1]
    cluster.start_node("n1", config=settings)
    cluster.managers[home].kill()
    wait_for(lambda: ready(cluster, 1) == "cordoned", 15.0, "it is cordoned still")
    cluster.start_manager(home, peers=["m1", "m2"])
    wait_for(lambda: cluster.node(home, "n1")["service"] == "cordoned", 20.0, "everybody knows")
    shown = cluster.kcm("explain", "n1", manager=home)
    assert "no traffic by an operator's order" in shown.stdout

    # It is one of those that may be out, one at a time: nobody else is restarted before it is back.
    waits = cluster.kcm("node", "restart", "n2", "--timeout", "1.5", manager=other)
    assert (waits.returncode, "max_unavailable is 1" in waits.stderr) == (1, True), waits.stderr
    processes = [process(cluster, number) for number in (1, 2)]
    back = cluster.kcm("node", "uncordon", "n1", manager=home)
    assert back.stdout == "n1 may get traffic again\n", back.stderr
    ordered = cluster.kcm("node", "restart", "n1", "--no-wait", manager=home)
    assert ordered.returncode == 0, ordered.stderr
    ends = time.monotonic() + 40.0
    while any(process(cluster, number) in ("", processes[number - 1]) for number in (1, 2)):
        assert not (ready(cluster, 1) and ready(cluster, 2))
        assert time.monotonic() < ends, [cluster.node("m1", name) for name in ("n1", "n2")]
        time.sleep(0.05)
    wait_for(lambda: not ready(cluster, 1) and not ready(cluster, 2), 20.0, "both are back")

    drained = cluster.kcm("node", "drain", "n2", manager=home)
    assert drained.stdout.startswith("n2 is drained"), drained.stderr
    assert (ready(cluster, 2), cluster.node(other, "n2")["seat"]) == ("drained", True)
    listed = cluster.kcm("nodes", manager=other)
    assert [" drained " in line for line in listed.stdout.splitlines() if " n2 " in line] == [True]
    changes = [change["change"] for change in cluster.get("m1", "audit")["changes"]]
    assert any(": drain (order " in change for change in changes)
