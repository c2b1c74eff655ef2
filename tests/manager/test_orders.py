"""Orders to single nodes: who is told what and when, and who may be out at a time."""

from dataclasses import replace

import pytest

from gossip.ledger import Ledger
from manager.core import Manager
from manager.effects import ManagerEffect
from manager.records import ANEW, RESTART, Turn
from manager.rollout.configs import Manner
from manager.rollout.orders import ORDER, Action, Order, OrderError, Orders, has_restarted, has_started_anew
from manager.views import node_view
from node.protocol import ConfigState, Hello, Leave, MayRestart, Report, Wanted
from node.protocol import Order as Told
from tests.manager.running import IDENTITY, Running

KIND = "command"


class Nodes:
    """A manager with nodes of one kind, which say what they are told to."""

    def __init__(self, count: int = 3) -> None:
        self.running = Running()
        self.running.wait(10.0)
        self._reports = 1000
        self.ids = {number: self.join(number) for number in range(1, count + 1)}

    @property
    def core(self) -> Manager:
        return self.running.core

    def join(self, number: int, incarnation: int = 1, config: ConfigState = ConfigState()) -> str:  # noqa: B008
        key = number.to_bytes(32)
        hello = Hello(
            key=key,
            incarnation=incarnation,
            nonce=7,
            name=f"n{number}",
            gateway=f"{KIND}: running",
            config=config,
        )
        self.running.says(number, hello)
        self.says(number, config)
        return IDENTITY.id_of(key)

    def says(self, number: int, config: ConfigState) -> None:
        self._reports += 1
        self.running.says(number, Report(number=self._reports, gateway=f"{KIND}: running", config=config))

    def order(self, number: int, action: Action) -> Order:
        order, effects = self.core.operator.order_node(
            self.ids[number], action, "operator", self.running.now()
        )
        self.running._perform(effects)
        return order

    def takes(self, number: int, order: Order, service: str = "", *, ready: bool = True) -> None:
        """The node has carried it out."""
        self.says(
            number, ConfigState(ready=ready, service=service, order_serial=order.serial, order_writer="m1")
        )

    def told(self, number: int) -> list[str]:
        """The orders that the node was told."""
        return [m.action for conn, m in self.running.heard if conn == number and isinstance(m, Told)]

    def page(self, prefix: str) -> list[str]:
        own = self.core.group.ledger.own
        return [key for key in own.values if key.startswith(prefix) and own.get(key) is not None]


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


def test_a_node_that_is_here_is_told_at_once_and_once(nodes: Nodes) -> None:
    order = nodes.order(1, Action.CORDON)
    nodes.running.wait(20.0)
    assert nodes.told(1) == ["cordon"]
    assert nodes.core.rollouts.restarts.ordered(nodes.ids[1]) == ((order.serial, "m1"), order)


def test_an_order_leaves_the_page_when_its_node_has_taken_it(nodes: Nodes) -> None:
    order = nodes.order(1, Action.CORDON)
    assert nodes.page(ORDER) == [ORDER + nodes.ids[1]]
    nodes.takes(1, order, "cordoned", ready=False)
    nodes.running.wait(6.0)
    assert nodes.page(ORDER) == []
    assert nodes.core.rollouts.restarts.ordered(nodes.ids[1]) is None


def test_a_node_that_is_away_is_told_when_it_comes_back(nodes: Nodes) -> None:
    nodes.running.says(1, Leave(reason="stopped"))
    nodes.order(1, Action.DRAIN)
    assert nodes.core.rollouts.restarts.waits_for(nodes.ids[1]) == (
        "it is removed: it takes the order when it is connected again"
    )
    nodes.join(1, incarnation=2)
    assert nodes.told(1) == ["drain"]


def test_the_newest_order_counts_and_is_newer_than_all_that_the_node_took(nodes: Nodes) -> None:
    ahead = ConfigState(service="cordoned", order_serial=2**61, order_writer="m7")
    nodes.says(1, ahead)
    first, second = nodes.order(1, Action.UNCORDON), nodes.order(1, Action.CORDON)
    assert first.serial == 2**61 + 1
    assert second.serial == first.serial + 1
    assert nodes.told(1) == ["uncordon", "cordon"]


def test_a_restart_waits_until_the_one_before_is_over(nodes: Nodes) -> None:
    first, second = nodes.order(1, Action.RESTART), nodes.order(2, Action.RESTART)
    nodes.running.wait(2.0)
    assert (nodes.told(1), nodes.told(2)) == (["restart"], [])
    assert nodes.core.rollouts.restarts.waits_for(nodes.ids[2]) == (
        f"a turn, which manager m1 gives: out of service are {nodes.ids[1]}; max_unavailable is 1"
    )
    view = nodes.core.registry.view(nodes.ids[2])
    assert view is not None
    people_read = node_view(nodes.core, view)["order"]["waits_for"]
    assert people_read == "a turn, which manager m1 gives: out of service are n1; max_unavailable is 1"
    nodes.says(1, ConfigState(ready=False, service="restarting"))
    nodes.running.wait(5.0)
    assert nodes.told(2) == []
    nodes.takes(1, first)
    nodes.running.wait(2.0)
    assert nodes.told(2) == ["restart"]
    nodes.takes(2, second)
    nodes.running.wait(6.0)
    assert nodes.page(ORDER) == nodes.page(RESTART) == []


def test_a_node_that_an_operator_keeps_out_is_one_of_those_that_may_be_out(nodes: Nodes) -> None:
    cordon = nodes.order(1, Action.CORDON)
    nodes.takes(1, cordon, "cordoned", ready=False)
    nodes.order(2, Action.RESTART)
    nodes.running.wait(5.0)
    assert nodes.told(2) == []
    nodes.takes(1, nodes.order(1, Action.UNCORDON))
    nodes.running.wait(2.0)
    assert nodes.told(2) == ["restart"]


def test_who_is_out_already_is_restarted_whoever_else_is_out(nodes: Nodes) -> None:
    for number in (1, 2):
        nodes.takes(number, nodes.order(number, Action.DRAIN), "drained", ready=False)
    nodes.order(1, Action.RESTART)
    nodes.running.wait(2.0)
    assert nodes.told(1) == ["drain", "restart"]


def test_a_restart_takes_no_turn_that_a_rollout_has_and_a_rollout_none_that_a_restart_has() -> None:
    nodes = Nodes(2)
    runs = {n: ConfigState(managed=True, running="0" * 64, on_disk="0" * 64) for n in (1, 2)}
    for number in (1, 2):
        nodes.says(number, runs[number])
    restart = nodes.order(1, Action.RESTART)
    nodes.running.wait(2.0)
    effects: list[ManagerEffect] = nodes.core.operator.push_config(
        KIND, b"new", "operator", Manner(), nodes.running.now(), force=False
    )
    nodes.running._perform(effects)
    wanted = next(m for conn, m in nodes.running.heard if conn == 1 and isinstance(m, Wanted))
    for number in (1, 2):
        runs[number] = ConfigState(
            managed=True,
            running="0" * 64,
            on_disk="0" * 64,
            staged=wanted.version,
            plan_serial=wanted.serial,
            plan_writer=wanted.writer,
            ready=number == 2,
            service="restarting" if number == 1 else "",
        )
        nodes.says(number, runs[number])
    nodes.running.wait(3.0)
    assert nodes.page("turn/") == []
    assert set(nodes.core.rollouts.held(KIND)) == {nodes.ids[1]}
    nodes.says(
        1,
        ConfigState(
            managed=True,
            running="0" * 64,
            on_disk="0" * 64,
            staged=wanted.version,
            plan_serial=wanted.serial,
            plan_writer=wanted.writer,
            order_serial=restart.serial,
            order_writer="m1",
        ),
    )
    nodes.running.wait(2.0)
    [turn] = nodes.page("turn/")
    other = 2 if turn.endswith(nodes.ids[1]) else 1
    nodes.order(other, Action.RESTART)
    nodes.running.wait(5.0)
    assert nodes.told(other) == (["restart"] if other == 1 else [])


def test_a_restart_of_a_node_that_nobody_hears_is_refused_with_what_to_do(nodes: Nodes) -> None:
    nodes.running.says(1, Leave(reason="stopped"))
    with pytest.raises(OrderError, match="restart its agent on its host"):
        nodes.order(1, Action.RESTART)
    with pytest.raises(KeyError):
        nodes.core.operator.order_node("krakend_nobody", Action.DRAIN, "operator", nodes.running.now())


def test_an_order_goes_with_its_node(nodes: Nodes) -> None:
    orders = nodes.core.rollouts.orders
    given = nodes.order(1, Action.DRAIN)
    orders.drop_taken(nodes.ids[1], (0, ""), known=True)
    assert orders.newest(nodes.ids[1]) == ((given.serial, "m1"), given)
    orders.drop_taken(nodes.ids[1], (0, ""), known=False)
    assert orders.newest(nodes.ids[1]) is None
    assert nodes.page(ORDER) == []


ASKS = ConfigState(restart_asked=1)


def let(nodes: Nodes, number: int) -> list[int]:
    """By which of its questions the node was let out to take limits."""
    return [m.number for conn, m in nodes.running.heard if conn == number and isinstance(m, MayRestart)]


def test_nodes_that_ask_to_restart_for_limits_are_let_out_one_after_the_other(nodes: Nodes) -> None:
    for number in (2, 1):
        nodes.says(number, ASKS)
        nodes.running.wait(1.0)
    assert (let(nodes, 1), let(nodes, 2)) == ([], [1]), "whoever asked first"
    nodes.says(2, ConfigState(ready=False, changing=True))
    nodes.running.wait(5.0)
    assert let(nodes, 1) == []
    nodes.says(2, ConfigState(restart_taken=1))
    nodes.running.wait(1.0)
    assert let(nodes, 1) == [1]
    nodes.says(1, ConfigState(restart_taken=1))
    nodes.running.wait(6.0)
    assert nodes.page(ANEW) == []


def test_limits_wait_for_an_ordered_restart_and_the_other_way_round(nodes: Nodes) -> None:
    order = nodes.order(1, Action.RESTART)
    nodes.running.wait(1.0)
    nodes.says(2, ASKS)
    nodes.running.wait(5.0)
    assert let(nodes, 2) == []
    nodes.takes(1, order)
    nodes.running.wait(1.0)
    assert let(nodes, 2) == [1]
    nodes.order(3, Action.RESTART)
    nodes.running.wait(5.0)
    assert nodes.told(3) == []


def test_limits_that_wait_for_long_are_told_of_with_who_is_in_the_way(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(nodes.core._outbox, "log", lambda level, text: lines.append(text))
    cordon = nodes.order(1, Action.CORDON)
    nodes.takes(1, cordon, "cordoned", ready=False)
    for _ in range(25):
        for number in (1, 2, 3):
            nodes.says(number, ConfigState(ready=False, service="cordoned") if number == 1 else ASKS)
        nodes.running.wait(10.0)
    said = [line for line in lines if "cannot take new limits" in line]
    assert len(said) == 2, "every two minutes"
    assert f"needs a turn to restart, and out of service are {nodes.ids[1]}" in said[0]
    assert let(nodes, 2) == let(nodes, 3) == []


def test_who_has_dropped_its_question_gets_no_turn(nodes: Nodes) -> None:
    nodes.says(1, ASKS)
    nodes.says(1, ConfigState(restart_taken=1))
    nodes.running.wait(5.0)
    assert (let(nodes, 1), nodes.page(ANEW)) == ([], [])


def test_a_node_that_comes_back_in_another_session_is_given_a_turn_for_that(nodes: Nodes) -> None:
    nodes.says(1, ASKS)
    nodes.running.wait(1.0)
    nodes.running.hang_up(1)
    nodes.join(1, incarnation=2, config=ASKS)
    nodes.running.wait(2.0)
    assert let(nodes, 1) == [1, 1]


HERE, LATER = (4, 7), (5, 9)
TURN = Turn(3, "m1", HERE)
SAID = ConfigState(order_serial=3, order_writer="m1")


@pytest.mark.parametrize(
    ("session", "config", "back"),
    [
        (HERE, ConfigState(), False),
        (HERE, ConfigState(ready=False, service="restarting"), False),
        (HERE, SAID, True),
        (HERE, replace(SAID, ready=False), False),
        (HERE, replace(SAID, ready=False, service="drained"), True),
        (HERE, replace(SAID, ready=False, changing=True, service="drained"), False),
        (LATER, ConfigState(), True),
        (LATER, ConfigState(ready=False), False),
        (LATER, ConfigState(ready=False, service="restarting"), False),
        ((3, 1), SAID, False),
    ],
)
def test_a_turn_for_a_restart_comes_back_by_what_is_seen_of_its_node(
    session: tuple[int, int], config: ConfigState, back: bool
) -> None:
    assert has_restarted(TURN, session, config) is back


@pytest.mark.parametrize(
    ("session", "config", "back"),
    [
        (HERE, ConfigState(restart_asked=3, restart_taken=2), False),
        (HERE, ConfigState(ready=False, changing=True, restart_taken=2), False),
        (HERE, ConfigState(restart_taken=3), True),
        (HERE, ConfigState(restart_asked=4, restart_taken=3), True),
        (HERE, ConfigState(ready=False, restart_taken=3), False),
        (LATER, ConfigState(restart_asked=3, restart_taken=2), True),
        (LATER, ConfigState(ready=False, changing=True), False),
    ],
)
def test_a_turn_for_limits_comes_back_by_what_is_seen_of_its_node(
    session: tuple[int, int], config: ConfigState, back: bool
) -> None:
    assert has_started_anew(TURN, session, config) is back


def test_an_order_reads_as_it_was_written_and_nothing_else_does() -> None:
    order = Order(7, Action.DRAIN, "operator", 12.5)
    assert Order.unpack(order.pack()) == order
    for forged in (b"", b"\x01", Turn(1, "m1", (1, 1)).pack()):
        with pytest.raises(ValueError, match=r"not an order|Unpack"):
            Order.unpack(forged)


def test_what_stood_on_our_page_before_our_start_holds_on() -> None:
    order = Order(7, Action.RESTART, "operator", 1.0)
    running = Running()
    orders: Orders = running.core.rollouts.orders
    orders.recall([(ORDER + "x", order.pack()), ("node/x", b"")])
    assert orders.newest("x") == ((7, "m1"), order)
    ledger: Ledger = running.core.group.ledger
    assert ledger.own.get(ORDER + "x") == order.pack()
