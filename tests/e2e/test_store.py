"""What managers keep, with real processes: killed at any moment, restarted from a whole or a damaged disk."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster, wait_for


def ids(cluster: Cluster, manager: str) -> dict[str, str]:
    """Node name → id, as `manager` shows them."""
    return {node["name"]: node["id"] for node in cluster.get(manager, "nodes")["nodes"]}


def welcomed(cluster: Cluster) -> dict[str, str]:
    """Node name → id, as the nodes were told."""
    found = {}
    for name, process in cluster.nodes.items():
        lines = [line for line in process.text.splitlines() if "Joined as " in line]
        if lines:
            found[name] = lines[-1].partition("Joined as ")[2].partition(",")[0]
    return found


def test_a_manager_that_is_killed_again_and_again_while_nodes_join_knows_all_whom_it_welcomed(
    cluster: Cluster,
) -> None:
    cluster.start_manager("m1", peers=["m1"])
    cluster.managers["m1"].says("is listening")
    for turn in range(5):
        for at in range(2):
            cluster.start_node(f"n{turn}{at}", "m1")
        # At a different moment of their joining each time.
        time.sleep(0.35 + 0.15 * turn)
        cluster.managers["m1"].kill()
        told = welcomed(cluster).items()
        cluster.start_manager("m1", peers=["m1"])
        known = wait_for(lambda: ids(cluster, "m1").items(), 10.0, "m1 knows nodes") if told else told
        assert told <= known
    cluster.everywhere(dict.fromkeys(cluster.nodes, "active"), 40.0, "all nodes are in")
    wait_for(lambda: welcomed(cluster) == ids(cluster, "m1"), 10.0, "whom it lists was told so")


def test_all_managers_killed_at_once_come_back_with_all_nodes_and_what_was_set_live(cluster: Cluster) -> None:
    cluster.start_managers(3, config="subscription: {max_nodes: 9}\n")
    for at in range(1, 5):
        cluster.start_node(f"n{at}", f"m{1 + at % 3}")
    cluster.everywhere({f"n{at}": "active" for at in range(1, 5)}, 15.0, "four nodes are in")
    assert cluster.kcm("subscription", "set", "--max-nodes", "4").returncode == 0
    before = ids(cluster, "m1")
    time.sleep(1.5)  # m2's copies of the others' pages are at most a second old
    for node in cluster.nodes.values():
        node.send(signal.SIGSTOP)
    for manager in cluster.managers.values():
        manager.kill()
    # One alone, without a word from the others or from a node, knows it all.
    cluster.start_manager("m2", config="subscription: {max_nodes: 9}\n")
    wait_for(lambda: ids(cluster, "m2") == before, 10.0, "m2 knows all nodes")
    assert cluster.get("m2", "subscription")["max_nodes"] == 4
    assert set(cluster.states("m2").values()) == {"unreachable"}
    for name in ("m1", "m3"):
        cluster.start_manager(name, config="subscription: {max_nodes: 9}\n")
    cluster.formed(3)
    for node in cluster.nodes.values():
        node.send(signal.SIGCONT)
    cluster.everywhere({f"n{at}": "active" for at in range(1, 5)}, 40.0, "four nodes are back")
    wait_for(lambda: not cluster.differences(), 10.0, "they agree")
    assert ids(cluster, "m3") == before
    assert cluster.get("m3", "subscription")["max_nodes"] == 4


def test_a_manager_finds_the_others_again_though_its_configured_peers_are_gone(cluster: Cluster) -> None:
    cluster.start_manager("m1", peers=["m1"])
    cluster.start_manager("m2", peers=["m1"])
    cluster.start_manager("m3", peers=["m1"])
    cluster.formed(3)
    m3 = cluster.managers["m3"]
    time.sleep(1.5)  # what is known of the others is written every second
    m3.kill()
    assert cluster.kcm("leave").returncode == 0
    assert cluster.managers["m1"].popen.wait(15) == 0
    cluster.start_manager("m3", peers=["m1"])
    wait_for(lambda: "m2" in cluster.members("m3"), 15.0, "m3 meets m2 again")
    assert cluster.members("m2") == cluster.members("m3") == {"m2": "alive", "m3": "alive"}


def test_a_second_process_with_the_same_state_is_refused_and_told_who_has_it(cluster: Cluster) -> None:
    first = cluster.start_manager("m1", peers=["m1"])
    first.says("is listening")
    second = cluster.start_manager("m1", "--bind=127.0.0.1", "--http-port=19897", peers=["m1"])
    assert second.popen.wait(15) == 2
    assert f"in use by another manager, pid {first.popen.pid}: stop it" in second.text


def test_a_damaged_state_is_said_and_a_snapshot_is_the_way_back(cluster: Cluster, tmp_path: Path) -> None:
    cluster.start_managers(2)
    cluster.start_node("n1", "m1")
    cluster.everywhere({"n1": "active"}, 15.0, "n1 is in")
    assert cluster.kcm("snapshot", "save", f"{tmp_path}/saved").returncode == 0
    cluster.start_node("n2", "m1")
    cluster.everywhere({"n1": "active", "n2": "active"}, 15.0, "n2 is in")
    before = ids(cluster, "m2")
    for node in cluster.nodes.values():
        node.send(signal.SIGSTOP)
    cluster.managers["m1"].kill()
    for file in ("state.db", "state.db-wal"):  # either alone would do to read it, right after the start
        (tmp_path / "state" / "m1" / file).write_bytes(b"whatever" * 4096)
    refused = cluster.start_manager("m1", peers=["m1", "m2"])
    assert refused.popen.wait(15) == 2
    line = next(line for line in refused.text.splitlines() if "is damaged" in line)
    assert "kcm snapshot restore FILE" in line
    restored = cluster.kcm(
        "snapshot", "restore", f"{tmp_path}/saved", f"--state-dir={tmp_path}/state", "--name=m1"
    )
    assert restored.returncode == 0, restored.stderr
    again = cluster.start_manager("m1", peers=["m1", "m2"])
    again.says("the others know more of this manager than its state directory does")
    cluster.formed(2)
    assert ids(cluster, "m1") == before
    for node in cluster.nodes.values():
        node.send(signal.SIGCONT)
    cluster.everywhere({"n1": "active", "n2": "active"}, 40.0, "both nodes are back")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.needs("root")
def test_a_manager_whose_disk_is_full_admits_nobody_and_ends_and_its_nodes_move(
    cluster: Cluster, small: Path
) -> None:
    kept = f"--state-dir={small}"
    first = cluster.start_manager("m1", kept, peers=["m1", "m2"])
    cluster.start_manager("m2", peers=["m1", "m2"])
    cluster.formed(2)
    cluster.start_node("n1", "m1")
    cluster.everywhere({"n1": "active"}, 15.0, "n1 is in")
    # The log of the file may still have room in it: leave it none that counts.
    with (small / "filler").open("wb", buffering=0) as filler:
        for size in (65536, 4096):
            try:
                while True:
                    filler.write(bytes(size))
            except OSError:
                continue
    newcomers = [f"n{at}" for at in range(2, 40)]
    kept_until = {"n1"}
    for name in newcomers:
        cluster.start_node(name, "m1")
        time.sleep(0.1)
        if "disk is full" in first.text:
            break
        kept_until |= welcomed(cluster).keys()
    first.says("the disk is full: free some space; trying on", 20.0)
    assert first.popen.wait(30) == 1
    first.says("this manager ends, its nodes go to another")
    told = {name for name, manager in welcomed_at(cluster).items() if manager == "m1"}
    again = cluster.start_manager("m1", kept, peers=["m1", "m2"])
    assert again.popen.wait(15) == 1
    assert "the disk is full: free some space" in again.text
    (small / "filler").unlink()
    last = cluster.start_manager("m1", kept, peers=["m1"])
    last.says("is listening")
    wait_for(lambda: told <= ids(cluster, "m1").keys(), 10.0, "whoever was welcomed is known")


def welcomed_at(cluster: Cluster) -> dict[str, str]:
    """Node name → the manager that welcomed it last."""
    found = {}
    for name, process in cluster.nodes.items():
        lines = [line for line in process.text.splitlines() if "Joined as " in line]
        if lines:
            found[name] = lines[-1].partition("manager ")[2].split()[0]
    return found


@pytest.mark.needs("root")
def test_a_disk_that_may_only_be_read_is_said_before_anything_is_sent(cluster: Cluster, small: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    refused = cluster.start_manager("m1", f"--state-dir={small}", peers=["m1"])
    assert refused.popen.wait(15) == 2
    assert "read-only file system" in refused.text
    assert "is listening" not in refused.text
