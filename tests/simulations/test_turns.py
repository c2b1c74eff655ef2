"""Turns that founders give, under drawn faults: whatever breaks, no more nodes are taken out than may be."""

import pytest

from simulations.mutants import turns
from simulations.mutants.hunt import hunt
from simulations.strict import strict_plan

NAMED_AT = {
    "a_lost_connection_ends_a_turn": 48,
    "turns_end_by_the_clock": 50,
    "who_conducts_counts_alone": 48,
}
"""The seed that named each when that was last looked up."""


@pytest.mark.parametrize("mutant", sorted(NAMED_AT))
def test_a_rule_of_turns_that_is_left_out_is_named_and_the_same_seed_is_green_with_it(mutant: str) -> None:
    assert hasattr(turns, mutant)
    found = hunt(NAMED_AT[mutant], 1)(mutant)
    if not found["checker"]:
        found = hunt(1, 60)(mutant)
    assert found["checker"] == "no_more_out_than_may_be"
    assert found["green"], f"seed {found['seed']} breaks a promise without it too"


def test_half_of_the_seeds_without_stores_that_go_back_have_rollouts() -> None:
    plans = [strict_plan(seed) for seed in range(200)]
    drawn = [plan for plan in plans if plan.at_a_time]
    assert 50 < len(drawn) < 100
    assert {plan.at_a_time for plan in drawn} == {1, 2, 3}
    assert not any("old_store" in plan.kinds or "twin_manager" in plan.kinds for plan in drawn)
