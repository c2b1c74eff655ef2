"""Turns that founders give, under drawn faults: whatever breaks, no more nodes are taken out than may be."""

from hashlib import sha256

import pytest

from manager.rollout.configs import Manner
from manager.terms import ManagerConfig
from simulations.cluster import Cluster
from simulations.mutants import turns
from simulations.mutants.hunt import hunt
from simulations.strict import strict_plan

CONFIG = ManagerConfig(
    heartbeat=1.0,
    unreachable_after=3.0,
    grace=5.0,
    policy="strict",
    founders=("m1", "m2", "m3"),
    ticket_life=36000.0,
)
NAMED_AT = {
    "a_lost_connection_ends_a_turn": 48,
    "who_conducts_counts_alone": 12,
}
"""The seed that named each when that was last looked up; others are in test_strict.py."""
CHECKERS = {"no_more_out_than_may_be", "who_is_out_keeps_its_turn", "who_goes_out_has_a_turn"}


@pytest.mark.parametrize("mutant", sorted(NAMED_AT))
def test_a_rule_of_turns_that_is_left_out_is_named_and_the_same_seed_is_green_with_it(mutant: str) -> None:
    assert hasattr(turns, mutant)
    found = hunt(NAMED_AT[mutant], 1)(mutant)
    if not found["checker"]:
        found = hunt(1, 60)(mutant)
    assert found["checker"] in CHECKERS
    assert found["green"], f"seed {found['seed']} breaks a promise without it too"


def test_half_of_the_seeds_without_stores_that_go_back_have_rollouts() -> None:
    plans = [strict_plan(seed) for seed in range(200)]
    drawn = [plan for plan in plans if plan.at_a_time]
    assert 50 < len(drawn) < 100
    assert {plan.at_a_time for plan in drawn} == {1, 2, 3}
    assert not any("old_store" in plan.kinds or "twin_manager" in plan.kinds for plan in drawn)


def test_a_node_whose_host_sleeps_in_its_turn_keeps_that_however_long_nobody_hears_it() -> None:
    """A rollout of one node at a time; the first host that is out sleeps until its node counts as down."""
    cluster = Cluster(1, 3, CONFIG, disks=True)
    cluster.world.run_until(cluster.formed, 15.0, "formed")
    nodes = cluster.add_nodes(3)

    def went() -> None:
        out = [node.name for node in nodes if node.gateway.out]
        assert len(out) == 1, f"{', '.join(out)} are out at once"

    for node in nodes:
        node.manage("nginx", b"first")
        node.gateway.went = went
    cluster.world.run_until(lambda: all(node.joined for node in nodes), 15.0, "all joined")
    cluster.managers[0].push_config("nginx", b"second", Manner(waves=("100%",), max_unavailable=1, pause=0.0))
    cluster.world.run_until(lambda: any(node.gateway.out for node in nodes), 30.0, "one is out")
    sleeper = next(node for node in nodes if node.gateway.out)
    sleeper.loop.suspend()
    cluster.world.run_for(60.0)
    sleeper.loop.resume()
    new = sha256(b"second").hexdigest()
    cluster.world.run_until(lambda: all(node.gateway.on_disk == new for node in nodes), 200.0, "all have it")
