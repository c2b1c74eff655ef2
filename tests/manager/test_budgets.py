"""One limit's budget, by calling it."""

from manager.limits.budgets import Budget


def additions(lacking_elsewhere: float) -> tuple[int, Budget]:
    """How often a budget of half of a limit of 100 adds, and what comes of it, where others have 40."""
    budget, now = Budget(published=10.0, usable=10.0, others={"m2": 40.0}), 0.0
    for count in range(1000):
        now += 1.0
        if not budget.add(100.0, 50.0, (50.0 - budget.published) + lacking_elsewhere, now):
            return count, budget
        budget.heard(100.0, 0, now)
    return 1000, budget


def test_what_all_lack_alone_is_added_at_once() -> None:
    count, budget = additions(0.0)
    assert (count, budget.usable) == (1, 50.0)


def test_where_another_never_takes_what_it_lacks_additions_come_to_an_end_near_the_whole() -> None:
    """Its clock says otherwise of who may use a share: twenty entries a second were written for ever."""
    count, budget = additions(60.0)
    assert count < 20
    assert 49.0 < budget.usable <= 50.0
