"""What other managers may have in force of a limit, by their pages."""

from gossip.ledger import Ledger
from gossip.pages import Entry, Page, Piece
from manager.limits.apart import Apart
from manager.limits.budgets import HELD, Budget, Holding
from manager.limits.census import Census
from manager.limits.others import Others
from manager.limits.shares import Shares
from node.protocol import Limit
from tests.manager.test_core import Bench

KEY = f"{HELD}public"


def others(bench: Bench) -> Others:
    return Others(bench.core.group, Apart(bench.core.group, None), conserves=False)


def test_what_stood_before_a_managers_last_start_counts_until_it_is_taken_over() -> None:
    bench = Bench()
    ledger: Ledger = bench.core.group.ledger
    ledger.apply(Piece("m2", 2, 0, 1, 0, (Entry(KEY, 1, Holding(5.0).pack()),), reset=True))
    former = ledger.former["m2"] = Page("m2", 1)
    former.store(Entry(KEY, 1, Holding(30.0).pack()))
    assert others(bench).holdings("public") == {"m2": Holding(30.0)}
    del ledger.former["m2"]
    assert others(bench).holdings("public") == {"m2": Holding(5.0)}


def test_of_what_a_node_brings_no_more_counts_for_its_former_manager_than_that_ones_budget() -> None:
    """It may have worked under free limits, which are no part of any."""
    bench = Bench()
    bench.core.group.ledger.apply(Piece("m2", 2, 0, 1, 0, (Entry(KEY, 1, Holding(5.0).pack()),), reset=True))
    brought = {"public": Limit(70.0, 10.0), "scarce": Limit(1.0)}
    assert bench.core.shares._budgeting.counted_at("m2", brought) == {"public": 5.0}
    assert bench.core.shares._budgeting.counted_at("m2", {"public": Limit(4.0)}) == {"public": 4.0}


def test_of_a_manager_that_is_gone_counts_its_largest_share_for_each_node_until_no_lease_lasts() -> None:
    census, holding = Census(), Holding(30.0, largest=4.0)
    census.left["m2"] = 2
    counted = others(Bench())
    assert counted.count("m2", holding, census, 20.0, 100.0) == 8.0
    assert counted.waits
    assert counted.count("m2", holding, census, 20.0, 119.9) == 8.0
    assert counted.count("m2", holding, census, 20.0, 120.0) == 0.0


def test_what_is_given_comes_first_out_of_what_is_reserved_for_nodes_that_are_not_back() -> None:
    budget = Budget(published=10.0, usable=4.0, reserve=8.0)
    budget.give("m2", 1, 2.0)
    assert (budget.published, budget.usable, budget.reserve, budget.untaken) == (8.0, 4.0, 6.0, 2.0)
    budget.give("m2", 1, 5.0)
    assert (budget.published, budget.usable, budget.reserve) == (3.0, 1.0, 1.0)


def test_a_node_is_told_at_once_that_its_limit_counts_by_client_from_now_on() -> None:
    before, whole = Limit(10.0), Limit(100.0, per_client=True)
    assert Shares._is_worth(before, Limit(10.1, per_client=True), whole)
    assert not Shares._is_worth(before, Limit(10.1), Limit(100.0))
