"""How gateways answered since a rollout began: who counts what, and what it says of the rollout."""

from dataclasses import replace

import pytest

from manager.rollout.conductor import REQUESTS_MIN, TIMED_MIN, Conductor
from manager.rollout.plan import Phase, Plan, Version
from manager.rollout.tally import TALLY, TALLY_EVERY, Answered, Tallies, Tally
from node.latency import bucket_of
from tests.manager.running import Running
from tests.manager.test_rollout import HAS_IT, NEW, OLD, ORDER, PLAN, node

KIND, SESSION = "krakend", (1, 7)
NEWS, OLDS = NEW[:16], OLD[:16]
NOTHING = Tally(NEWS)


def counters(requests: float, errors: float = 0.0) -> dict[str, float]:
    return {"gateway_requests": requests, "gateway_errors": errors}


class Counting:
    """One manager's tallies, of a rollout of NEW."""

    def __init__(self) -> None:
        running = Running()
        self.ledger = running.core.group.ledger
        self.tallies = Tallies(running.core.group, running.core._outbox)
        self.tallies.follow({KIND: NEW}, 0.0)

    def says(
        self, running: str, requests: float, errors: float = 0.0, session: tuple[int, int] = SESSION
    ) -> None:
        self.tallies.reported("n1", session, KIND, running, counters(requests, errors))

    @property
    def found(self) -> Tally:
        return self.tallies.of(KIND, NEW, ["m1", "m2"])


@pytest.fixture
def counting() -> Counting:
    return Counting()


def test_what_was_answered_before_the_first_report_or_across_a_change_counts_for_nobody(
    counting: Counting,
) -> None:
    counting.says(OLD, 1000, 10)
    assert counting.found == NOTHING
    counting.says(OLD, 1100, 12)
    counting.says(NEW, 1150, 40)
    assert counting.found == Tally(NEWS, rest=Answered(100.0, 2.0))
    counting.says(NEW, 1170, 45)
    assert counting.found == Tally(NEWS, Answered(20.0, 5.0), Answered(100.0, 2.0))


def test_a_gateway_that_was_started_anew_counts_from_nothing(counting: Counting) -> None:
    counting.says(NEW, 1000, 10)
    counting.says(NEW, 30, 3)
    assert counting.found == Tally(NEWS, Answered(30.0, 3.0))


def test_another_session_is_another_count(counting: Counting) -> None:
    counting.says(NEW, 10)
    counting.says(NEW, 500, 500, session=(2, 7))
    assert counting.found == NOTHING


def test_all_managers_counts_are_added_and_those_of_other_rollouts_are_not(counting: Counting) -> None:
    theirs = Tally(NEWS, Answered(7.0, 1.0))
    counting.tallies.page_changed("m2", TALLY + KIND, theirs.pack())
    counting.says(NEW, 0)
    counting.says(NEW, 3)
    assert counting.found == Tally(NEWS, Answered(10.0, 1.0))
    counting.tallies.page_changed("m2", TALLY + KIND, replace(theirs, target="other").pack())
    assert counting.found == Tally(NEWS, Answered(3.0, 0.0))
    assert counting.tallies.of(KIND, OLD, ["m1", "m2"]) == Tally(OLDS)


def test_a_page_says_it_at_most_every_two_seconds_and_nothing_when_the_rollout_is_over(
    counting: Counting,
) -> None:
    counting.says(NEW, 0)
    counting.says(NEW, 3)
    counting.tallies.follow({KIND: NEW}, TALLY_EVERY - 0.1)
    assert counting.ledger.own.get(TALLY + KIND) is None
    counting.tallies.follow({KIND: NEW}, TALLY_EVERY)
    assert counting.ledger.own.get(TALLY + KIND) == Tally(NEWS, Answered(3.0, 0.0)).pack()
    counting.tallies.follow({}, TALLY_EVERY + 0.5)
    assert counting.ledger.own.get(TALLY + KIND) is None


@pytest.mark.parametrize("forged", [b"", b"\x01", Tally("x", Answered(1.0, 2.0)).pack()])
def test_what_is_no_tally_is_passed_over(counting: Counting, forged: bytes) -> None:
    counting.tallies.page_changed("m2", TALLY + KIND, forged)
    assert counting.found == NOTHING


NODES = [node(1, HAS_IT), node(2), node(3)]


def verdict(new: Answered, rest: Answered, plan: Plan = PLAN) -> tuple[Phase | None, str]:
    step = Conductor().step(plan, ORDER, NODES, (), 0.0, Tally(NEWS, new, rest))
    return step.verdict, step.why


def test_more_errors_than_the_rest_by_more_than_the_margin_fail_the_rollout() -> None:
    assert verdict(Answered(100, 6), Answered(1000, 10)) == (None, "")
    found, why = verdict(Answered(100, 7), Answered(1000, 10))
    assert found is Phase.FAILED
    assert why == (
        "of 100 requests 7.0% were answered with an error by nodes that have it, 1.0% without it; "
        "error_margin is 5.0%"
    )
    assert verdict(Answered(100, 7), Answered(1000, 10), replace(PLAN, error_margin=0.1))[0] is None


def test_errors_that_all_have_or_of_few_requests_say_nothing() -> None:
    assert verdict(Answered(100, 50), Answered(1000, 480))[0] is None
    few = REQUESTS_MIN - 1.0
    assert verdict(Answered(few, few), Answered(1000, 0))[0] is None
    assert verdict(Answered(100, 100), Answered(few, 0))[0] is None


def test_errors_stop_nothing_but_a_rollout_that_goes_on() -> None:
    assert verdict(Answered(100, 90), Answered(1000, 0), replace(PLAN, phase=Phase.PAUSED))[0] is None
    assert verdict(Answered(100, 90), Answered(1000, 0), replace(PLAN, phase=Phase.ROLLING_BACK))[0] is None


def timed(count: float, milliseconds: float) -> Answered:
    """So many answers, all of them within about so long."""
    return Answered(count, 0.0, {bucket_of(milliseconds / 1000): count})


def test_answers_that_take_longer_by_more_than_the_margin_fail_the_rollout() -> None:
    assert verdict(timed(500, 190), timed(500, 100))[0] is None
    found, why = verdict(timed(500, 300), timed(500, 100))
    assert found is Phase.FAILED
    assert why.startswith("nodes that have it answer 95 % of requests within 3")
    assert why.endswith("without it; p95_margin is 100%")
    assert verdict(timed(500, 300), timed(500, 100), replace(PLAN, p95_margin=3.0))[0] is None


def test_few_that_were_timed_and_few_milliseconds_say_nothing() -> None:
    few = TIMED_MIN - 1.0
    assert verdict(timed(few, 900), timed(500, 100))[0] is None
    assert verdict(timed(500, 900), timed(few, 100))[0] is None
    assert verdict(timed(500, 40), timed(500, 4))[0] is None


def test_what_was_timed_between_two_reports_counts_and_comes_back_from_a_page(counting: Counting) -> None:
    for buckets in ({3: 5.0}, {3: 7.0, 9: 1.0}):
        counting.tallies.reported("n1", SESSION, KIND, NEW, counters(sum(buckets.values())), buckets)
    assert counting.found == Tally(NEWS, Answered(3.0, 0.0, {3: 2.0, 9: 1.0}))
    assert Tally.unpack(counting.found.pack()) == counting.found


def test_a_plan_of_the_version_before_has_the_usual_margin() -> None:
    plain = PLAN.as_json()
    del plain["error_margin"], plain["p95_margin"]
    assert Plan.from_json(plain) == PLAN
    assert Version(1, OLD, 10, 0.0, "o") in PLAN.versions
