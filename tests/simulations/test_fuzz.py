"""Drawn faults: seeds that once found a bug, and a bounded number of others."""

import pytest

from simulations import fuzz

FOUND = {
    6: "a claim outlived its connection, which had become a clone's: judged, it met no hello; "
    "and a refused node came to light as unreachable when its refusal was forgotten elsewhere",
    13: "a member that leaves spun on a peer that was due",
    54: "a late echo from another address brought a member back that had left, at a lower incarnation",
    41: "who waited at a manager that died counted as known, and was let in without a seat",
}


@pytest.mark.parametrize("seed", FOUND)
def test_a_seed_that_found_a_bug_finds_none(seed: int) -> None:
    outcome = fuzz.run(seed)
    assert outcome.broken == [], outcome.text()


def test_one_seed_of_drawn_faults_gives_one_trace() -> None:
    assert fuzz.run(3).trace == fuzz.run(3).trace
