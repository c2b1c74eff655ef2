"""Nodes whose managers are all gone, for days of virtual time."""

from dataclasses import replace

from node.protocol import Limit
from simulations.cluster import DEFAULT, Cluster

DAY = 86400.0


def test_nodes_outlive_their_managers_for_a_week_then_give_up_and_are_back_within_seconds() -> None:
    """One is restarted meanwhile, the other with its host."""
    free = {"public": Limit(7.0)}
    cluster = Cluster(
        1, 3, replace(DEFAULT, max_nodes=2, free_limits=free, degrade_after=7 * DAY), disks=True
    )
    cluster.world.run_until(cluster.formed, 10.0, "formed")
    nodes = cluster.add_nodes(2)
    cluster.world.run_until(lambda: all(node.joined for node in nodes), 10.0, "joined")
    before = {node.name: node.id for node in nodes}
    for manager in cluster.managers:
        manager.kill()
    cluster.world.run_for(2 * DAY)
    nodes[0].kill()
    nodes[1].power_off()
    for node in nodes:
        node.start()
    cluster.world.run_for(4.9 * DAY)
    assert all(node.session.place.registered and node.applied.source != "free" for node in nodes)
    cluster.world.run_for(0.2 * DAY)
    assert not any(node.session.place.registered for node in nodes)
    assert all((node.applied.source, node.applied.limits) == ("free", free) for node in nodes)
    for manager in cluster.managers:
        manager.restart()
    cluster.world.run_until(lambda: all(node.joined for node in nodes), 40.0, "back")
    cluster.world.run_until(lambda: all(node.applied.source == "lease" for node in nodes), 10.0, "as before")
    assert {node.name: node.id for node in nodes} == before
    cluster.settle(10.0, "equal")
    assert cluster.managers[0].core.registry.used == 2
