"""What managers hand over to each other: whoever reads two pages counts all of it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager import packing
from manager.limits.budgets import Budget, Holding
from manager.limits.handover import GIFT_MIN, Gift, Handover, gifts, outstanding, parts

HANDOVER = Handover(3.0, {"m2": Gift(7, 2.0)}, {"m3": 1.0}, {"m3": 0.5})


def test_a_holding_says_what_was_handed_over() -> None:
    holding = Holding(1.0, 2.0, ((1.0, 3.0),), HANDOVER)
    assert Holding.unpack(holding.pack()) == holding
    assert Holding.unpack(Holding(1.0).pack()).handover is None


@pytest.mark.parametrize("what", [[], "x", [1.0, [], []], [1.0, [[1, 2, 3]], [], []], [1.0, [], [["m"]], []]])
def test_a_holding_of_another_version_hands_over_nothing(what: Any) -> None:
    assert Holding.unpack(packing.pack([1.0, 2.0, [], what])) == Holding(1.0, 2.0)


steps = st.lists(
    st.tuples(st.sampled_from(["give", "take"]), st.booleans(), st.floats(0.1, 5.0)), max_size=20
)


@given(steps, st.integers(0, 20), st.integers(0, 20))
def test_pages_of_any_two_moments_count_what_both_have_or_more(
    steps: list[tuple[str, bool, float]], first: int, second: int
) -> None:
    a, b = Budget(published=100.0, usable=100.0), Budget(published=50.0, usable=50.0)
    pages = [(page(a), page(b))]
    for what, forth, amount in steps:
        giver, taker, names = (a, b, ("a", "b")) if forth else (b, a, ("b", "a"))
        if what == "give" and amount <= giver.usable:
            giver.give(names[1], 1, amount)
        elif names[1] in giver.given:
            taker.take(names[0], giver.given[names[1]], 1)
        pages.append((page(a), page(b)))
    of_a, of_b = pages[min(first, len(steps))][0], pages[min(second, len(steps))][1]
    counted = of_a.amount + of_b.amount
    counted += outstanding(of_a.handover, "a", of_b.handover, "b")
    counted += outstanding(of_b.handover, "b", of_a.handover, "a")
    assert counted >= 150.0 - 1e-6


def page(budget: Budget) -> Holding:
    return Holding(budget.published, handover=Handover(0.0, dict(budget.given), dict(budget.taken)))


def test_a_gift_is_taken_once_and_one_for_an_earlier_process_is_not_used() -> None:
    budget = Budget()
    assert budget.take("m1", Gift(1, 5.0), 1) == 5.0
    assert budget.take("m1", Gift(1, 5.0), 1) == 0.0
    assert budget.take("m1", Gift(2, 9.0), 1) == 0.0
    assert (budget.published, budget.usable, budget.taken) == (5.0, 5.0, {"m1": 9.0})


def test_what_a_manager_remembers_of_its_last_start_is_not_taken_again() -> None:
    budget = Budget()
    budget.recall(Holding(1.0, handover=Handover(taken={"m1": 5.0}, given={"m2": Gift(1, 3.0)})))
    assert budget.take("m1", Gift(1, 5.0), 1) == 0.0
    budget.give("m2", 4, 1.0)
    assert budget.given == {"m2": Gift(4, 4.0)}


def test_what_can_be_divided_is_divided_as_in_the_whole_group_and_what_is_kept_stays() -> None:
    assert parts({"a": 90.0, "b": 0.0}, {"a": 50.0, "b": 100.0, "c": 150.0}, {}) == {"a": 30.0, "b": 60.0}
    assert parts({"a": 90.0, "b": 10.0}, {"a": 40.0, "b": 10.0}, {"b": 10.0}) == {"a": 90.0, "b": 10.0}
    assert parts({"a": 5.0}, {}, {}) == {"a": 0.0}


def test_who_has_too_much_gives_to_those_who_lack_as_far_as_it_can_and_not_for_a_trifle() -> None:
    has, should = {"a": 90.0, "b": 10.0, "c": 20.0}, {"a": 40.0, "b": 40.0, "c": 40.0}
    assert gifts("a", 100.0, 300.0, has, should) == pytest.approx({"b": 30.0, "c": 20.0})
    assert gifts("a", 10.0, 300.0, has, should) == pytest.approx({"b": 6.0, "c": 4.0})
    assert gifts("b", 100.0, 300.0, has, should) == {}
    assert gifts("a", 300.0 * GIFT_MIN / 2, 300.0, has, should) == {}


def test_two_that_have_too_much_give_together_what_is_lacking() -> None:
    has, should = {"a": 60.0, "b": 60.0, "c": 20.0}, {"a": 50.0, "b": 50.0, "c": 40.0}
    given_ = [gifts(name, 100.0, 100.0, has, should)["c"] for name in ("a", "b")]
    assert given_ == pytest.approx([10.0, 10.0])
