"""Managers that keep their state, under drawn faults, also of their disks: full, slow, set back, lost.

Checked at every moment: nothing is told before it is on disk, a start knows all that was, and is above it.
"""

from typing import Any

import pytest

from manager.disk.commits import Commits
from manager.effects import Persist
from manager.page import NodePage
from simulations import fuzz

SEEDS = range(1, 16)
MUTANT_SEEDS = range(1, 31)

Patch = pytest.MonkeyPatch


@pytest.mark.parametrize("seed", SEEDS)
def test_no_promise_breaks_whatever_happens_to_managers_and_their_disks(seed: int) -> None:
    outcome = fuzz.run(seed, disks=True)
    assert outcome.broken == [], outcome.text()


def told_before_it_is_kept(patch: Patch) -> None:
    right = Commits.put

    def put(self: Commits[Any], items: Any) -> list[Any]:
        items = list(items)
        right(self, [item for item in items if isinstance(item, Persist)])
        return [item for item in items if not isinstance(item, Persist)]

    patch.setattr(Commits, "put", put)


def answered_before_it_is_kept(patch: Patch) -> None:
    right = Commits.put

    def put(self: Commits[Any], items: Any) -> list[Any]:
        items = list(items)
        answers = [item for item in items if type(item).__name__ == "_Answer"]
        return [*right(self, [item for item in items if item not in answers]), *answers]

    patch.setattr(Commits, "put", put)


def started_anew_from_a_store(patch: Patch) -> None:
    patch.setattr(
        NodePage, "adopt", lambda self, former, now: self._group.ledger.note_succession(former.marks)
    )


def incarnation_not_kept(patch: Patch) -> None:
    patch.setattr("manager.disk.saved.INCARNATION", "not kept")


@pytest.mark.parametrize(
    "mutant",
    [told_before_it_is_kept, answered_before_it_is_kept, started_anew_from_a_store, incarnation_not_kept],
)
def test_a_rule_of_the_disk_that_is_left_out_is_missed(mutant: Any, monkeypatch: Patch) -> None:
    mutant(monkeypatch)
    for seed in MUTANT_SEEDS:
        broken = fuzz.run(seed, disks=True).broken
        if broken:
            return
    pytest.fail(f"no checker misses it within {len(MUTANT_SEEDS)} seeds")
