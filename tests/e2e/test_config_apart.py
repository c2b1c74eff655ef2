"""Configurations between managers on hosts of their own, where nobody else is on the same host."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.networks import Namespaces
from tests.e2e.cluster import Cluster, wait_for
from tests.interop.apart import alone, on_the_bridge

KIND = ("--kind", "command")


class ApartCluster(Cluster):
    """Managers m1 and m2 have a host each; nodes run on that of m2."""

    networks: Namespaces

    def inside(self, name: str) -> tuple[str, ...]:
        return self.networks.inside(self.address(name if name[0] == "m" else "m2"))

    def listens(self, name: str) -> tuple[str, ...]:
        return ("--bind=0.0.0.0", f"--advertise={self.address(name)}")

    def itself(self, name: str) -> str:
        return "127.0.0.1"


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[ApartCluster]:
    with alone():
        cluster = ApartCluster(tmp_path, net="10.77.0")
        cluster.networks = Namespaces(2)
        try:
            on_the_bridge()
            yield cluster
        finally:
            cluster.close()
            cluster.networks.close()


@pytest.mark.needs("root", "ip", "nft")
def test_without_tokens_a_configuration_is_checked_and_reaches_nodes_by_managers_of_other_hosts(
    apart: ApartCluster,
) -> None:
    apart.start_managers(2)
    config, pushed = apart.folder / "gateway.conf", apart.folder / "pushed.conf"
    config.write_text("one")
    pushed.write_text("two")
    gateway = f"gateway: {{kind: command, run: [sleep, '1000'], config: {config}}}\n"
    apart.start_node("n1", "m2", config=gateway)
    wait_for(lambda: apart.states("m1") == {"n1": "active"}, 15.0, "n1 has joined")

    checked = apart.kcm("config", "validate", *KIND, str(pushed), manager="m1")
    assert "not checked: " in checked.stdout, checked.stderr
    assert "at manager m2 has a gateway of kind command" in checked.stdout
    push = ("config", "push", *KIND, "--pause", "1s", str(pushed))
    assert apart.kcm(*push, manager="m1").returncode == 0
    waited = apart.kcm("config", "wait", *KIND, "--timeout", "15", manager="m1")
    assert waited.returncode == 0, waited.stderr
    assert config.read_text() == "two"

    # What managers ask each other is for nobody else on the network.
    hash_ = apart.get("m2", "config/command")["sha256"]
    with pytest.raises(OSError, match="403"):
        apart.get("m2", f"contents/{hash_}")
