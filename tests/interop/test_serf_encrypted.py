"""Real `serf` agents and managers in one group under a key, and a stranger that has another one."""

import json
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import GOSSIP_PORT, Cluster, Process, wait_for

pytestmark = pytest.mark.needs("serf")

RPC_PORT = 7373


class Mixed(Cluster):
    """A cluster in which agents a11, a12, ... have the block's addresses .11, .12, ..."""

    def start_agent(self, name: str, *options: str, key: str = "") -> Process:
        bind = f"{self.address(name)}:{GOSSIP_PORT}"
        encrypt = [f"-encrypt={key}"] if key else []
        rpc = f"-rpc-addr={self.address(name)}:{RPC_PORT}"
        command = ("serf", "agent", f"-node={name}", f"-bind={bind}", rpc, "-log-level=debug")
        return self.run(name, *command, *encrypt, *options)

    def serf(self, agent: str, *arguments: str) -> str:
        verb, *rest = arguments
        command = ["serf", verb, f"-rpc-addr={self.address(agent)}:{RPC_PORT}", *rest]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        if done.returncode:
            raise ValueError(done.stdout + done.stderr)
        return done.stdout

    def listed_by(self, agent: str) -> dict[str, str]:
        """Name → status, as the agent lists its members."""
        members = json.loads(self.serf(agent, "members", "-format=json"))["members"]
        return {member["name"]: member["status"] for member in members}

    def all_listed(self, manager: str) -> dict[str, str]:
        """Name → state, gone members as well, as the manager lists them."""
        return {member["name"]: member["state"] for member in self.get(manager, "members")["members"]}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Mixed]:
    """An empty group; whatever the story starts in it is ended with it."""
    cluster = Mixed(tmp_path)
    try:
        yield cluster
    finally:
        cluster.close()


def complaints(process: Process) -> list[str]:
    return [line for line in process.text.splitlines() if "[ERR]" in line or "[WARN]" in line]


@pytest.mark.parametrize("size", [16, 24, 32])
def test_agents_and_managers_of_one_key_are_one_group_and_know_who_left(cluster: Mixed, size: int) -> None:
    key = b64encode(bytes(range(size))).decode()
    config = f"gossip: {{key: {key}}}\n"
    # m1 joins an agent, and another agent joins m1.
    first = cluster.start_agent("a11", key=key)
    wait_for(lambda: cluster.listed_by("a11"), 10.0, "a11 runs")
    cluster.start_manager("m1", peers=["a11"], config=config)
    wait_for(lambda: cluster.listed_by("a11").get("m1") == "alive", 10.0, "a11 lists m1")
    second = cluster.start_agent("a12", f"-join={cluster.address('m1')}", key=key)
    cluster.start_manager("m2", peers=["m1"], config=config)
    everybody = dict.fromkeys(("a11", "a12", "m1", "m2"), "alive")
    wait_for(
        lambda: (
            all(cluster.listed_by(agent) == everybody for agent in ("a11", "a12"))
            and all(cluster.members(manager) == everybody for manager in ("m1", "m2"))
        ),
        20.0,
        "all list all four",
    )
    assert not cluster.differences()

    assert cluster.managers["m2"].stop() == 0
    wait_for(
        lambda: [cluster.listed_by(agent)["m2"] for agent in ("a11", "a12")] == ["left", "left"],
        5.0,
        "both agents saw m2 leave",
    )
    assert [complaints(agent) for agent in (first, second)] == [[], []]
    cluster.serf("a12", "leave")
    wait_for(lambda: cluster.all_listed("m1")["a12"] == "left", 10.0, "m1 saw a12 leave")
    assert cluster.members("m1") == {"m1": "alive", "a11": "alive"}


@pytest.mark.parametrize("size", [0, 16], ids=["no key", "another key"])
def test_an_agent_that_has_not_the_key_is_not_let_in_and_hears_an_error(cluster: Mixed, size: int) -> None:
    key = b64encode(bytes(range(32))).decode()
    manager = cluster.start_manager("m1", peers=[], config=f"gossip: {{key: {key}}}\n")
    manager.says("is listening")
    agent = cluster.start_agent("a11", key=b64encode(bytes(size)).decode())
    wait_for(lambda: cluster.listed_by("a11"), 10.0, "a11 runs")
    with pytest.raises(ValueError, match="rror joining"):
        cluster.serf("a11", "join", cluster.address("m1"))
    manager.says("no installed key opens what" if size else "sends gossip without a key")
    assert cluster.all_listed("m1") == {"m1": "alive"}
    # A stranger can make nothing of the error either: it is under our key.
    assert "No installed keys could decrypt" in agent.text or "encryption is not configured" in agent.text


def test_an_agent_with_a_key_gets_an_error_from_managers_without(cluster: Mixed) -> None:
    manager = cluster.start_manager("m1", peers=[])
    manager.says("is listening")
    cluster.start_agent("a11", key=b64encode(bytes(32)).decode())
    wait_for(lambda: cluster.listed_by("a11"), 10.0, "a11 runs")
    with pytest.raises(ValueError, match="rror joining"):
        cluster.serf("a11", "join", cluster.address("m1"))
    manager.says("sends gossip under a key, and this manager has none")
    assert cluster.all_listed("m1") == {"m1": "alive"}
