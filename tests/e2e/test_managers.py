"""Managers as real processes: they find each other, however they are told, and part in good order."""

import signal
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.cluster import GOSSIP_PORT, HTTP_PORT, NODE_PORT, Cluster, fetched, wait_for


@pytest.mark.parametrize(
    "peers",
    [
        {"m1": ["m1", "m2", "m3"], "m2": ["m1", "m2", "m3"], "m3": ["m1", "m2", "m3"]},
        {"m1": [], "m2": ["m1"], "m3": ["m1"]},
        {"m3": ["m2"], "m2": ["m1"], "m1": []},
    ],
    ids=["all list all", "all list one", "a chain, backwards"],
)
def test_three_managers_become_one_group(cluster: Cluster, peers: dict[str, list[str]]) -> None:
    for name, listed in peers.items():
        cluster.start_manager(name, peers=listed)
    cluster.formed(3)


def test_a_manager_that_starts_before_its_peers_meets_them_when_they_come(cluster: Cluster) -> None:
    first = cluster.start_manager("m1")
    first.says("cannot join")
    cluster.start_manager("m2", peers=[])
    cluster.formed(2, within=15.0)


def test_of_two_managers_of_one_name_the_later_stops_and_says_what_to_do(cluster: Cluster) -> None:
    cluster.start_managers(2)
    file = cluster.folder / "twin.yml"
    file.write_text("")
    twin = cluster.run(
        "twin",
        str(cluster.program("krakend-cluster-manager")),
        f"--config={file}",
        "--name=m2",
        f"--bind={cluster.address('m9')}",
        f"--peer={cluster.address('m1')}",
    )
    assert twin.popen.wait(15) == 2
    line = twin.says("--name")
    assert "another manager named m2" in line
    assert cluster.members("m1") == {"m1": "alive", "m2": "alive"}


def test_a_stopped_manager_ends_in_time_and_is_listed_as_left(cluster: Cluster) -> None:
    cluster.start_managers(3)
    assert cluster.managers["m3"].stop(within=10.0) == 0
    wait_for(lambda: cluster.members("m1") == {"m1": "alive", "m2": "alive"}, 3.0, "m3 has left")
    listed = {member["name"]: member["state"] for member in cluster.get("m1", "members")["members"]}
    assert listed["m3"] == "left"
    cluster.start_manager("m3")
    cluster.formed(3)


def test_a_killed_manager_is_found_dead_and_is_back_when_it_starts_again(cluster: Cluster) -> None:
    cluster.start_managers(3)
    cluster.managers["m3"].kill()
    wait_for(lambda: "m3" not in cluster.members("m1"), 15.0, "m3 is dead")
    cluster.start_manager("m3")
    cluster.formed(3)
    reached = cluster.kcm("reachability")
    assert (reached.returncode, "everybody who should answer does" in reached.stdout) == (0, True)


def test_a_manager_is_declared_gone_and_one_without_peers_is_told_whom_to_join(cluster: Cluster) -> None:
    cluster.start_managers(2)
    cluster.managers["m2"].kill()
    wait_for(lambda: "m2" not in cluster.members("m1"), 15.0, "m2 is dead")
    silent = cluster.kcm("reachability")
    assert "m2 is dead and silent: `kcm force-leave m2` if it does not come back" in silent.stdout
    assert cluster.kcm("force-leave", "m2", "--prune").returncode == 0
    assert [member["name"] for member in cluster.get("m1", "members")["members"]] == ["m1"]
    cluster.start_manager("m4", peers=[]).says("is listening")
    nobody = cluster.kcm("join", cluster.address("m9"), f"{cluster.address('m1')}:9897", manager="m4")
    assert nobody.returncode == 1
    assert f"{cluster.address('m9')}:7946: connection refused" in nobody.stderr
    assert "is it the gossip port?" in nobody.stderr
    joined = cluster.kcm("join", cluster.address("m1"), manager="m4")
    assert joined.stdout.startswith("reached 1 member: m1")
    wait_for(lambda: cluster.members("m1").keys() == {"m1", "m4"}, 5.0, "m4 is in the group of m1")


@pytest.mark.parametrize("seconds", [3.0, 12.0])
def test_a_manager_that_stood_still_listens_before_it_judges(cluster: Cluster, seconds: float) -> None:
    """Row B23: blocked for 3 s, or suspended for so long that the others give it up."""
    cluster.start_managers(3)
    sleeper = cluster.managers["m1"]
    sleeper.send(signal.SIGSTOP)
    time.sleep(seconds)
    sleeper.send(signal.SIGCONT)
    sleeper.says("manager m1 is late: it was held up for")
    cluster.formed(3)
    # Whoever it had been probing would be given up by now.
    time.sleep(5.0)
    assert " is dead" not in sleeper.text
    assert cluster.members("m1") == {"m1": "alive", "m2": "alive", "m3": "alive"}


def test_kcm_leave_ends_the_manager_for_good(cluster: Cluster) -> None:
    cluster.start_managers(2)
    done = cluster.kcm("leave", manager="m2")
    assert done.returncode == 0, done.stderr
    assert cluster.managers["m2"].popen.wait(10) == 0
    cluster.managers["m2"].says("for good")


def test_a_taken_port_is_named_with_the_way_out(cluster: Cluster) -> None:
    with socket.create_server((cluster.address("m1"), NODE_PORT)):
        process = cluster.start_manager("m1")
        assert process.popen.wait(10) == 2
    [line] = process.text.strip().splitlines()
    assert "node_port" in line
    assert str(NODE_PORT) in line
    assert "--node-port" in line


def test_who_comes_to_the_wrong_port_is_told_which_one_is_meant(cluster: Cluster) -> None:
    manager = cluster.start_manager("m1", peers=[])
    manager.says("is listening")
    with socket.create_connection((cluster.address("m1"), GOSSIP_PORT)) as http:
        http.sendall(b"GET /api/v1/nodes HTTP/1.1\r\nHost: x\r\n\r\n")
    assert str(HTTP_PORT) in manager.says("HTTP request")
    with socket.create_connection((cluster.address("m1"), NODE_PORT)) as gossip:
        gossip.sendall(b"\x06\x83\xa4Join\xc3\xa5Nodes\x00\xacUserStateLen\x00")
    assert str(GOSSIP_PORT) in manager.says("gossip packet")


def test_rubbish_on_every_port_disturbs_nobody_and_is_counted(cluster: Cluster) -> None:
    cluster.start_managers(2)
    target = cluster.address("m1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for length in range(1, 300):
            udp.sendto(bytes((length * 7 + at) % 256 for at in range(length)), (target, GOSSIP_PORT))
    for port in (GOSSIP_PORT, NODE_PORT, HTTP_PORT):
        for noise in (
            b"\xff" * 4096,
            b"\x06" + b"\xdf\xff\xff\xff\xff" * 9,
            b"\x00",
            b"GET / HTTP/9.9\r\n\r\n",
        ):
            with socket.create_connection((target, port), timeout=5) as tcp:
                tcp.sendall(noise)
    assert b"kcm_rejected_total{" in fetched(f"http://{target}:{HTTP_PORT}/metrics")
    assert cluster.members("m2") == {"m1": "alive", "m2": "alive"}
    assert not cluster.differences()


def test_the_event_loop_of_the_standard_library_serves_as_well(cluster: Cluster, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "uvloop.py").write_text("raise ImportError('hidden')\n")
    for name in ("m1", "m2"):
        cluster.start_manager(name, "--log-level=debug", peers=["m1"], env={"PYTHONPATH": str(hidden)})
    cluster.formed(2)
    assert "asyncio" in cluster.managers["m1"].says("event loop")
    node = cluster.start_node("n1", env={"PYTHONPATH": str(hidden)})
    node.says("Joined as")


def test_changes_over_http_are_taken_from_this_host_only_and_never_through_a_proxy(cluster: Cluster) -> None:
    cluster.start_manager("m1", peers=[]).says("is listening")
    url = f"http://{cluster.address('m1')}:{HTTP_PORT}/api/v1/subscription"
    for header in (
        {"X-Forwarded-For": "10.0.0.1"},
        {"Origin": "http://evil.example"},
        {"Host": "evil.example"},
    ):
        request = urllib.request.Request(
            url, b'{"max_nodes": 1}', {"Content-Type": "application/json", **header}
        )
        request.method = "PATCH"
        with pytest.raises(urllib.error.HTTPError, match="403") as refused:
            fetched(request)
        assert refused.value.headers["Content-Type"] == "application/problem+json"
    assert cluster.get("m1", "subscription")["max_nodes"] is None


def test_a_second_signal_ends_a_manager_at_once(cluster: Cluster) -> None:
    cluster.start_managers(2)
    cluster.managers["m1"].send(signal.SIGTERM)
    cluster.managers["m1"].says("leaving the group")
    cluster.managers["m1"].send(signal.SIGTERM)
    assert cluster.managers["m1"].popen.wait(2) == 0
