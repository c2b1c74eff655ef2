"""What a node does by an operator's orders."""

import pytest

from node.effects import Drain, Effect, Log, Restart
from node.protocol import Order
from node.service import WHY, Service


def order(serial: int, action: str, writer: str = "m1") -> Order:
    return Order(serial=serial, writer=writer, action=action)


def done(effects: list[Effect]) -> list[Effect]:
    return [effect for effect in effects if not isinstance(effect, Log)]


@pytest.fixture
def service() -> Service:
    return Service("", (0, ""))


def test_a_cordoned_node_is_so_at_once_and_until_it_is_uncordoned(service: Service) -> None:
    assert done(service.received(order(1, "cordon"))) == []
    assert (service.shown, service.kept, service.taken) == ("cordoned", "cordoned", (1, "m1"))
    assert Service(service.kept, service.taken).shown == "cordoned"
    service.received(order(2, "uncordon"))
    assert (service.shown, service.kept, service.taken) == ("", "", (2, "m1"))


def test_a_node_drains_until_it_is_told_that_it_has_and_an_agent_that_starts_anew_has(
    service: Service,
) -> None:
    assert done(service.received(order(1, "drain"))) == [Drain(1)]
    assert (service.shown, service.kept) == ("draining", "drained")
    assert Service(service.kept, service.taken).shown == "drained"
    service.drained(1)
    assert service.shown == "drained"


def test_a_second_drain_is_not_over_when_the_first_would_have_been(service: Service) -> None:
    service.received(order(1, "drain"))
    service.received(order(2, "uncordon"))
    service.received(order(3, "drain"))
    service.drained(1)
    assert service.shown == "draining"
    service.drained(3)
    assert service.shown == "drained"


@pytest.mark.parametrize(
    "late", [order(4, "uncordon", "m9"), order(5, "uncordon", "m1"), order(5, "restart", "m0")]
)
def test_an_order_that_is_not_newer_changes_nothing(service: Service, late: Order) -> None:
    service.received(order(5, "cordon", "m1"))
    assert service.received(late) == []
    assert (service.shown, service.taken) == ("cordoned", (5, "m1"))


def test_a_restart_is_taken_when_it_is_over_and_what_was_kept_stays(service: Service) -> None:
    service.received(order(1, "cordon"))
    assert done(service.received(order(2, "restart"))) == [Restart()]
    assert (service.shown, service.taken) == ("restarting", (1, "m1"))
    service.restarted("")
    assert (service.shown, service.taken, service.note) == ("cordoned", (2, "m1"), "")


def test_a_restart_that_failed_says_why_until_the_next_order(service: Service) -> None:
    service.received(order(1, "restart"))
    service.restarted("it crashes")
    assert (service.shown, service.taken, service.note) == ("", (1, "m1"), "it crashes")
    service.received(order(2, "cordon"))
    assert service.note == ""


def test_an_order_during_a_restart_holds_at_once_and_the_restart_is_over_all_the_same(
    service: Service,
) -> None:
    service.received(order(1, "restart"))
    assert done(service.received(order(2, "restart"))) == []
    service.received(order(3, "cordon"))
    assert (service.shown, service.kept) == ("restarting", "cordoned")
    service.restarted("")
    assert (service.shown, service.taken) == ("cordoned", (3, "m1"))


def test_an_order_of_a_later_version_is_taken_with_a_note(service: Service) -> None:
    service.received(order(1, "dance"))
    assert service.taken == (1, "m1")
    assert service.note == "this agent does not know how to dance: upgrade it"


def test_ready_has_a_reason_for_everything_that_is_shown() -> None:
    assert WHY.keys() == {"cordoned", "draining", "drained", "restarting"}
