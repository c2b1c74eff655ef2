"""Uses of a join token are exact among managers that see each other, wherever newcomers come to (A5)."""

from dataclasses import replace

import pytest

from manager.records import NodeState
from manager.tokens import JoinToken, digest
from simulations.cluster import DEFAULT, Cluster

USES = 5
TOKEN = "open sesame"
FOUNDERS = ("m1", "m2", "m3")


def formed(seed: int, policy: str, max_nodes: int | None = None) -> Cluster:
    tokens = (JoinToken("fleet", digest(TOKEN), uses=USES), JoinToken("other", digest("other")))
    config = replace(DEFAULT, join_tokens=tokens, max_nodes=max_nodes)
    if policy == "strict":
        config = replace(config, policy="strict", founders=FOUNDERS, ticket_life=3600.0)
    cluster = Cluster(seed, 3, config, disks=policy == "strict")
    cluster.world.run_until(cluster.formed, 10.0, "the managers form one group")
    cluster.world.run_for(5.0)
    return cluster


def came_in(cluster: Cluster) -> int:
    """How many nodes hold what the token gave them, whoever knows of it."""
    return sum(node.joined for node in cluster.nodes if node._token == TOKEN)


@pytest.mark.parametrize(
    ("policy", "max_nodes"), [("available", None), ("available", 1000), ("available", 20), ("strict", 60)]
)
@pytest.mark.parametrize("seed", range(3))
def test_of_newcomers_at_once_at_three_managers_as_many_come_in_as_the_token_says(
    seed: int, policy: str, max_nodes: int | None
) -> None:
    cluster = formed(seed, policy, max_nodes)
    for at in range(4):
        for seeds in (cluster.seeds[:1], cluster.seeds[1:2], cluster.seeds[2:]):
            cluster.add_nodes(1, seeds, TOKEN if at else "other")
    for _ in range(400):
        cluster.world.run_for(0.01)
        assert came_in(cluster) <= USES
    assert came_in(cluster) == USES
    cluster.world.run_for(20.0)
    for manager in cluster.managers:
        views = list(manager.core.registry.views())
        assert sorted(view.record.token for view in views) == ["fleet"] * USES + ["other"] * 3
        assert {view.state for view in views} == {NodeState.ACTIVE}
        assert not list(manager.core.registry.claims())


@pytest.mark.parametrize("policy", ["available", "strict"])
def test_in_a_split_each_side_counts_what_it_knows_and_nobody_is_sent_away_afterwards(policy: str) -> None:
    cluster = formed(7, policy, 60)
    cluster.add_nodes(2, cluster.seeds[:1], TOKEN)
    cluster.world.run_for(5.0)
    nodes = [f"10.1.0.{at}" for at in range(3, 7)]
    cluster.network.partition(["10.0.0.1", *nodes], ["10.0.0.2", "10.0.0.3"])
    cluster.world.run_for(30.0)
    cluster.add_nodes(4, cluster.seeds[:1], TOKEN)
    cluster.add_nodes(4, cluster.seeds[1:2], TOKEN)
    cluster.world.run_for(30.0)
    assert came_in(cluster) <= 2 * USES
    cluster.network.heal()
    cluster.settle(30.0, "every manager sees the same")
    before = {node.id for node in cluster.nodes if node.joined}
    assert len(before) == 8
    cluster.add_nodes(1, cluster.seeds[2:], TOKEN)
    cluster.world.run_for(30.0)
    assert {node.id for node in cluster.nodes if node.joined} == before


def test_a_claim_of_a_newcomer_that_goes_away_is_no_use() -> None:
    cluster = formed(3, "available")
    cluster.network.partition(["10.0.0.1", "10.1.0.1"], ["10.0.0.2", "10.0.0.3"])
    [gone] = cluster.add_nodes(1, cluster.seeds[:1], TOKEN)
    cluster.world.run_for(0.1)
    assert not gone.joined
    gone.kill()
    cluster.network.heal()
    cluster.add_nodes(USES, cluster.seeds[1:], TOKEN)
    cluster.world.run_for(20.0)
    assert came_in(cluster) == USES
