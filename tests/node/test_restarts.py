"""Whether a gateway may be restarted for other limits: it waits for a turn, and uses that at once."""

import pytest

from node.effects import TakeLimits
from node.restarts import Restarts


@pytest.fixture
def restarts() -> Restarts:
    return Restarts()


def test_what_takes_no_restart_waits_for_nobody(restarts: Restarts) -> None:
    restarts.need(False)
    assert (restarts.may, restarts.asked) == (True, 0)


def test_a_restart_waits_for_its_turn_and_the_turn_is_over_when_the_gateway_is_back(
    restarts: Restarts,
) -> None:
    restarts.need(True)
    restarts.need(True)
    assert (restarts.may, restarts.asked, restarts.taken) == (False, 1, 0)
    assert TakeLimits() in restarts.permitted(1)
    assert (restarts.may, restarts.asked, restarts.taken) == (True, 0, 0)
    restarts.need(False)  # it is out of service by now
    assert restarts.taken == 0
    restarts.done()
    assert (restarts.going, restarts.taken) == (0, 1)


def test_a_turn_that_comes_when_none_is_needed_any_more_is_handed_back(restarts: Restarts) -> None:
    restarts.need(True)
    restarts.need(False)
    assert (restarts.may, restarts.taken) == (True, 1)
    assert restarts.permitted(1) == []
    restarts.need(True)
    assert restarts.asked == 2
    assert restarts.permitted(1) == []
    assert (restarts.may, restarts.asked) == (False, 2)


def test_limits_that_failed_ask_again_by_another_number(restarts: Restarts) -> None:
    restarts.need(True)
    restarts.permitted(1)
    restarts.done()
    restarts.need(True)
    assert (restarts.may, restarts.asked) == (False, 2)


def test_a_second_turn_while_it_is_out_changes_nothing(restarts: Restarts) -> None:
    restarts.need(True)
    restarts.permitted(1)
    assert restarts.permitted(1) == restarts.permitted(2) == []
    restarts.done()
    assert restarts.taken == 1
