"""Managers and nodes that are told a name and no address, before a name server whose answers change."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster, wait_for
from tests.interop.apart import alone

NAME = "managers.test"


class NamedCluster(Cluster):
    """In a network of its own, where names are those of the file `zone`."""

    def tell(self, *names: str) -> None:
        """From now on the name stands for these managers."""
        addresses = [f"{NAME}. A {self.address(name)}\n" for name in names]
        hosts = [f"{name}.test. A {self.address(name)}\n" for name in names]
        gossip = [f"_gossip._tcp.{NAME}. SRV 1 1 7946 {name}.test.\n" for name in names]
        nodes = [f"_node._tcp.{NAME}. SRV 1 1 7000 {name}.test.\n" for name in names]
        fresh = self.folder / "fresh"
        fresh.write_text("".join([*addresses, *hosts, *gossip, *nodes]))
        fresh.rename(self.folder / "zone")


@pytest.fixture
def named(tmp_path: Path) -> Iterator[NamedCluster]:
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\noptions timeout:1\n")
    with alone():
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        subprocess.run(["mount", "--bind", resolv, "/etc/resolv.conf"], check=True)
        cluster = NamedCluster(tmp_path)
        try:
            cluster.tell()
            zone = str(tmp_path / "zone")
            cluster.run("names", sys.executable, "-m", "tests.nameserver", zone, "127.0.0.1", "53").says(
                "serving"
            )
            yield cluster
        finally:
            cluster.close()


@pytest.mark.needs("root", "ip")
@pytest.mark.parametrize(
    ("peers", "seed"),
    [(f"dns://{NAME}", f"dns://{NAME}"), (f"dns+srv://_gossip._tcp.{NAME}", f"dns+srv://_node._tcp.{NAME}")],
    ids=["dns", "dns+srv"],
)
def test_managers_and_nodes_meet_by_a_name_and_follow_it_where_it_leads_next(
    named: NamedCluster, peers: str, seed: str
) -> None:
    node = named.run(
        "n1",
        str(named.program("krakend-cluster-node")),
        f"--seed={seed}",
        f"--state-dir={named.folder}",
        "--api=",
        "--name=n1",
    )
    node.says(f"No manager at {seed}", within=15.0)
    named.tell("m1", "m2")
    for name in ("m1", "m2"):
        named.start_manager(name, f"--peer={peers}", peers=[])
    named.formed(2)
    named.everywhere({"n1": "active"}, 30.0, "the node has found a manager")
    assert "cannot join" not in named.managers["m1"].text + named.managers["m2"].text

    named.start_manager("m3", peers=[])
    named.tell("m1", "m2", "m3")
    named.formed(3)

    for name in ("m1", "m2"):
        named.managers[name].kill()
    named.tell("m3")
    wait_for(lambda: named.states("m3") == {"n1": "active"}, 30.0, "the node is at the last manager")
