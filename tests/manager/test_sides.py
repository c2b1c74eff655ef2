"""What a manager gives to others in reach, and to whom it must not."""

from gossip.pages import Entry, Piece
from manager.limits.apart import Apart
from manager.limits.budgets import HELD, Budget, Holding
from manager.limits.handover import Gift, Handover
from manager.limits.sides import Side
from manager.limits.tenants import Tenant
from tests.manager.running import Running

NAME = "public"


class Bench:
    """m1 with 10 requests per second of a limit that are in no use, m2 to which it owes 4 of them, and m3."""

    def __init__(self) -> None:
        self.running = Running()
        self.budget = Budget(published=10.0, usable=10.0)
        self.holdings: dict[str, Holding] = {}
        self.group = self.running.core.group
        self.side = Side(self.group, Apart(self.group, None))

    def holds(self, owner: str, handover: Handover | None) -> None:
        self.running.meets(owner, f"10.0.0.{owner[1:]}")
        version = 1 if owner not in self.holdings else self.group.ledger.pages[owner].version + 1
        holding = self.holdings[owner] = Holding(5.0, handover=handover)
        entry = Entry(HELD + NAME, version, holding.pack())
        self.group.ledger.apply(Piece(owner, 1, version - 1, version, 0, (entry,)))

    def given(self) -> dict[str, float]:
        """By m1, since ever, after it has given what it can."""
        self.side.pay(NAME, self.budget, self.holdings, 10.0)
        return {to: gift.amount for to, gift in self.budget.given.items()}


OWED = Handover(brought={"m1": 4.0})


def test_nobody_is_given_anything_while_a_manager_of_an_earlier_version_would_count_it_as_nobodys() -> None:
    bench = Bench()
    bench.holds("m2", OWED)
    bench.holds("m3", None)
    assert bench.given() == {}
    bench.holds("m3", Handover())
    assert bench.given() == {"m2": 4.0}


def test_whoever_has_not_taken_what_it_was_given_is_given_nothing_more() -> None:
    bench = Bench()
    bench.holds("m2", OWED)
    bench.budget.given["m2"] = Gift(1, 1.0)
    assert bench.given() == {"m2": 1.0}
    bench.holds("m2", Handover(taken={"m1": 1.0}, brought={"m1": 3.0}))
    assert bench.given() == {"m2": 4.0}


def test_what_a_node_brought_counts_for_its_former_manager_up_to_the_budget_that_this_has_now() -> None:
    """Seed 5750 of strict: a limit that was lowered bound a node that had moved only a minute later."""
    bench = Bench()
    bench.holds("m2", Handover())
    tenant = Tenant(0.0, 0.0, origin="m2", brought={NAME: 80.0})
    bench.side.settle(NAME, bench.budget, {"n1": tenant}, bench.holdings, 1.0, still=False)
    assert tenant.brought == {NAME: 5.0}
    assert bench.budget.brought == {"m2": 5.0}
