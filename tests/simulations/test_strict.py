"""Policy `strict` under drawn faults: a bounded number of seeds; `make nightly` plays thousands."""

import pytest

from simulations import fuzz
from simulations.strict import NOT_SURVIVED, strict_plan

SEEDS = 16


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_no_split_crash_or_clock_gives_more_tickets_than_the_cap_and_no_right_is_lost(seed: int) -> None:
    outcome = fuzz.run(seed, policy="strict")
    assert outcome.broken == [], outcome.text()


def test_one_seed_under_strict_gives_one_trace() -> None:
    assert fuzz.run(2, policy="strict").trace == fuzz.run(2, policy="strict").trace


def test_what_no_counting_survives_is_left_out() -> None:
    plans = [strict_plan(seed) for seed in range(200)]
    assert not any(NOT_SURVIVED & set(plan.kinds) for plan in plans)
    assert max(plan.drift for plan in plans) <= 0.01
