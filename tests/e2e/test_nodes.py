"""Nodes as real processes: joining, the cap, going and coming, failover, limits, stats."""

import json
import re
import signal
import time

import pytest

from tests.e2e.cluster import Cluster, wait_for

QUICK = "nodes: {heartbeat: 1s, grace: 4s, rejoin_window: 4s, retry_after: 2s}\n"
FULL = "Your current subscription does not allow more nodes running. Please upgrade to add more nodes."


def test_the_log_line_of_2017_stands_as_it_was_on_a_pipe_whatever_the_locale(cluster: Cluster) -> None:
    manager = cluster.start_manager("m1", peers=[], env={"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"})
    cluster.start_node("n1")
    line = manager.says("Sending the limits")
    uuid4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    assert re.fullmatch(
        r"CM  \d{4}/\d\d/\d\d - \d\d:\d\d:\d\d\.\d{3} ▶ INFO Sending the limits to the krakend: krakend_"
        + uuid4,
        line,
    )


def test_a_node_that_starts_before_any_manager_waits_and_then_joins(cluster: Cluster) -> None:
    node = cluster.start_node("n1", "m1")
    node.says("No manager at")
    cluster.start_manager("m1", peers=[])
    node.says("Joined as", within=20.0)


def test_two_seats_three_managers_six_nodes_at_once_two_are_seated_on_every_view(cluster: Cluster) -> None:
    """The cap is exact while connected (rule A1), and raised live at another manager."""
    free = "free_limits: {public: {max_rate: 5, every: 1s}}"
    cluster.start_managers(3, config=f"subscription: {{max_nodes: 2, {free}}}\n{QUICK}")
    for at in range(1, 7):
        cluster.start_node(f"n{at}")

    def states() -> list[list[str]]:
        return [sorted(cluster.states(name).values()) for name in cluster.managers]

    expected = ["active"] * 2 + ["refused"] * 4
    wait_for(lambda: states() == [expected] * 3, 20.0, "two seated, four refused")
    ends = time.monotonic() + 30.0
    while time.monotonic() < ends:
        for name in cluster.managers:
            nodes = cluster.get(name, "nodes")["nodes"]
            assert sum(node["seat"] for node in nodes) <= 2
            assert sum(node["state"] == "active" for node in nodes) <= 2
        time.sleep(0.25)
    assert any(FULL in cluster.managers[name].text for name in cluster.managers)

    def listed_as_refused() -> list[str]:
        names = [name for name, state in cluster.states("m1").items() if state == "refused"]
        return names if len(names) == 4 else []

    # One that asks another manager meanwhile is on its way from one page to the other.
    refused = wait_for(listed_as_refused, 5.0, "four are listed as refused")
    assert all(FULL in cluster.nodes[name].text for name in refused)
    assert all(cluster.limits(name)["source"] == "free" for name in refused)
    seated = {n["id"] for n in cluster.get("m1", "nodes")["nodes"] if n["seat"]}

    done = cluster.kcm("subscription", "set", "--max-nodes", "4", manager="m3")
    assert done.returncode == 0, done.stderr
    wait_for(lambda: states() == [["active"] * 4 + ["refused"] * 2] * 3, 15.0, "four seated")
    assert seated < {n["id"] for n in cluster.get("m2", "nodes")["nodes"] if n["seat"]}
    assert cluster.get("m1", "subscription")["serial"] == 1

    # A lowered cap is answered when all managers have marked who is beyond it.
    lowered = json.loads(
        cluster.kcm("subscription", "set", "--max-nodes", "1", "-o", "json", manager="m3").stdout
    )
    assert (lowered["used"], lowered["over_limit"], lowered["pending"]) == (1, 3, "")


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=["TERM", "INT", "KILL"]
)
def test_a_node_that_ends_is_removed_on_every_manager_at_once(
    cluster: Cluster, number: signal.Signals
) -> None:
    cluster.start_managers(3)
    node = cluster.start_node("n1")
    cluster.everywhere({"n1": "active"}, 10.0, "the node is active")
    node.send(number)
    node.popen.wait(10)
    cluster.everywhere({"n1": "removed"}, 1.0, "the node is removed")


def test_a_silent_node_is_unreachable_then_down_and_active_again_under_its_id_when_it_speaks(
    cluster: Cluster,
) -> None:
    cluster.start_managers(3, config=QUICK)
    node = cluster.start_node("n1")
    cluster.everywhere({"n1": "active"}, 10.0, "the node is active")
    before = cluster.node("m1", "n1")
    node.send(signal.SIGSTOP)
    time.sleep(1.5)
    assert cluster.states("m2") == {"n1": "active"}
    cluster.everywhere({"n1": "unreachable"}, 3.5, "the node is unreachable after three heartbeats")
    assert cluster.node("m2", "n1")["seat"]
    cluster.everywhere({"n1": "down"}, 6.0, "the node is down after the grace")
    assert not cluster.node("m3", "n1")["seat"]
    node.send(signal.SIGCONT)
    cluster.everywhere({"n1": "active"}, 5.0, "the node is active again")
    assert cluster.node("m3", "n1")["id"] == before["id"]


def test_a_restart_keeps_id_and_seat_though_the_subscription_is_full(cluster: Cluster) -> None:
    patient = QUICK.replace("rejoin_window: 4s", "rejoin_window: 30s")
    cluster.start_managers(3, config="subscription: {max_nodes: 1}\n" + patient)
    cluster.start_node("n1")
    cluster.everywhere({"n1": "active"}, 10.0, "the node is active")
    before = cluster.node("m1", "n1")
    cluster.start_node("n2").says(FULL)
    cluster.nodes["n1"].stop()
    cluster.start_node("n1")

    def is_back() -> bool:
        after = cluster.node("m2", "n1")
        return bool(after["state"] == "active" and after["incarnation"] > before["incarnation"])

    wait_for(is_back, 15.0, "the node is back")
    after = cluster.node("m2", "n1")
    assert (after["id"], after["seat"]) == (before["id"], True)


def test_the_seat_of_a_removed_node_is_held_for_the_rejoin_window_and_then_free(cluster: Cluster) -> None:
    cluster.start_managers(2, config="subscription: {max_nodes: 1}\n" + QUICK)
    cluster.start_node("n1").says("Joined as")
    second = cluster.start_node("n2")
    second.says(FULL)
    cluster.nodes["n1"].stop()
    removed = time.monotonic()
    second.says("Joined as", within=12.0)
    assert time.monotonic() - removed > 3.5
    cluster.everywhere({"n1": "removed", "n2": "active"}, 2.0, "the newcomer has the seat")


def test_a_killed_managers_nodes_are_on_another_within_two_seconds_same_id_same_seat_one_line(
    cluster: Cluster,
) -> None:
    cluster.start_managers(3)
    for at in range(1, 5):
        cluster.start_node(f"n{at}")
    names = [f"n{at}" for at in range(1, 5)]
    cluster.everywhere(dict.fromkeys(names, "active"), 10.0, "all are active")
    before = {node["name"]: node for node in cluster.get("m1", "nodes")["nodes"]}
    victim = before["n1"]["manager"]
    cluster.managers[victim].kill()
    survivor = next(name for name in cluster.managers if name != victim)

    def moved() -> bool:
        nodes = cluster.get(survivor, "nodes")["nodes"]
        return len(nodes) == 4 and all(n["manager"] != victim and n["state"] == "active" for n in nodes)

    wait_for(moved, 2.0, "every node is on another manager")
    after = {node["name"]: node for node in cluster.get(survivor, "nodes")["nodes"]}
    assert {name: node["id"] for name, node in after.items()} == {name: n["id"] for name, n in before.items()}
    assert all(node["seat"] for node in after.values())
    assert cluster.get(survivor, "subscription")["used"] == 4


def test_nodes_outlive_all_managers_and_come_back_to_the_first_that_returns(cluster: Cluster) -> None:
    cluster.start_managers(2)
    node = cluster.start_node("n1")
    cluster.everywhere({"n1": "active"}, 10.0, "the node is active")
    before = cluster.node("m1", "n1")["id"]
    for manager in cluster.managers.values():
        manager.kill()
    time.sleep(3.0)
    assert node.running
    cluster.start_manager("m2")
    wait_for(lambda: cluster.states("m2") == {"n1": "active"}, 20.0, "the node is back")
    assert cluster.node("m2", "n1")["id"] == before


def test_a_stopped_manager_hands_its_nodes_over_and_none_is_removed(cluster: Cluster) -> None:
    cluster.start_managers(3)
    for at in range(1, 5):
        cluster.start_node(f"n{at}")
    names = [f"n{at}" for at in range(1, 5)]
    cluster.everywhere(dict.fromkeys(names, "active"), 10.0, "all are active")
    victim = cluster.node("m1", "n1")["manager"]
    survivors = [name for name in cluster.managers if name != victim]
    cluster.managers[victim].send(signal.SIGTERM)
    while cluster.managers[victim].running:
        assert set(cluster.states(survivors[0]).values()) == {"active"}
    wait_for(
        lambda: all(n["manager"] in survivors for n in cluster.get(survivors[0], "nodes")["nodes"]),
        3.0,
        "all moved",
    )


def test_limits_are_divided_over_the_nodes_and_written_whenever_their_number_changes(
    cluster: Cluster,
) -> None:
    cluster.start_managers(2, config="limits: {public: {max_rate: 100, every: 1s}}\n")
    cluster.start_node("n1", "m1")
    expected = {"public": {"max_rate": 100.0, "every": "1s"}}
    wait_for(lambda: cluster.limits("n1")["limits"] == expected, 10.0, "one node has it all")
    first = cluster.limits("n1")
    cluster.start_node("n2", "m2")
    halves = {"public": {"max_rate": 50.0, "every": "1s"}}
    wait_for(
        lambda: cluster.limits("n1")["limits"] == halves == cluster.limits("n2")["limits"], 10.0, "halves"
    )
    assert cluster.limits("n1")["version"] > first["version"]
    assert cluster.limits("n1")["source"] == "lease"
    cluster.nodes["n2"].stop()
    wait_for(lambda: cluster.limits("n1")["limits"] == expected, 3.0, "one node has it all again")


def test_stats_asked_of_any_manager_are_answered_for_all_and_outlive_the_node(cluster: Cluster) -> None:
    cluster.start_managers(3, config=QUICK)
    for at, manager in enumerate(("m1", "m2", "m3"), start=1):
        cluster.start_node(f"n{at}", manager)
    wait_for(lambda: len(cluster.get("m2", "stats")["nodes"]) == 3, 10.0, "three nodes reported")
    for name in cluster.managers:
        assert cluster.get(name, "stats")["managers"] == {"asked": 3, "answered": 3}
    gone = cluster.node("m1", "n1")["id"]
    cluster.nodes["n1"].stop()
    cluster.everywhere({"n1": "removed", "n2": "active", "n3": "active"}, 3.0, "n1 is removed")
    steps = cluster.get("m3", "stats")["nodes"][gone]
    assert steps[-1]["counters"]["agent_cpu_seconds"] > 0
