"""One manager's decisions about nodes, by calling it and comparing what it says."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest

from gossip.effects import FormerPage
from gossip.group import Group
from gossip.messages import Address
from gossip.pages import Entry, Mark, Piece
from manager.core import Manager
from manager.effects import CloseNode, Level, Log, ManagerEffect, ToNode
from manager.identity import Identity
from manager.records import NODE, NodeRecord, NodeState
from manager.registry import NodeView
from manager.seats.refusals import FULL
from manager.terms import ManagerConfig
from node.protocol import (
    CLOSE_MOVING,
    CLOSE_REFUSED,
    CLOSE_SILENT,
    CLOSE_SUPERSEDED,
    Ask,
    Behind,
    Clone,
    Hello,
    Here,
    Leave,
    Limit,
    LimitsPush,
    ManagerMessage,
    Refused,
    Report,
    Reported,
    Welcome,
)

IDENTITY = Identity("blue", "")
WALL = 1_800_000_000.0
PEER = "10.1.0.1"


class Bench:
    """A manager that is alone, and a clock."""

    def __init__(self, config: ManagerConfig | None = None) -> None:
        group = Group(
            name="m1",
            address=Address("10.0.0.1", 7946),
            group_name="blue",
            tags={},
            random=Random(1),
            now=0.0,
            wall_offset=WALL,
        )
        self.now = 0.0
        self.core = Manager(group, config or ManagerConfig(), 0.0)
        self.effects: list[ManagerEffect] = self.core.tick(0.0)

    def say(self, conn: int, *messages: Hello | Report | Here | Leave) -> list[ManagerMessage]:
        """What the manager answers on `conn`."""
        self.effects = []
        for message in messages:
            self.effects += self.core.node_message(conn, message, PEER, self.now)
        return self.on(conn)

    def on(self, conn: int) -> list[ManagerMessage]:
        return [e.message for e in self.effects if isinstance(e, ToNode) and e.conn == conn]

    def closed(self) -> list[tuple[int, int]]:
        return [(e.conn, e.code) for e in self.effects if isinstance(e, CloseNode)]

    def lines(self, level: Level) -> list[str]:
        return [e.text for e in self.effects if isinstance(e, Log) and e.level is level]

    def hang_up(self, conn: int, code: int | None = None) -> None:
        self.effects = self.core.node_closed(conn, code, self.now)

    def wait(self, seconds: float) -> None:
        self.effects = []
        end = self.now + seconds
        while self.core.next_deadline() <= end:
            self.now = max(self.now, self.core.next_deadline())
            self.effects += self.core.tick(self.now)
        self.now = end

    def node(self, number: int) -> NodeView:
        view = self.core.registry.view(IDENTITY.id_of(key(number)))
        assert view is not None
        return view

    def state(self, number: int) -> NodeState:
        return self.node(number).state


def key(number: int) -> bytes:
    return number.to_bytes(32)


def hello(number: int, incarnation: int = 1, nonce: int = 1, **more: object) -> Hello:
    return Hello(key=key(number), incarnation=incarnation, nonce=nonce, name=f"n{number}", **more)  # type: ignore[arg-type]


def only(messages: Sequence[ManagerMessage], kind: type[ManagerMessage]) -> ManagerMessage:
    [message] = [m for m in messages if isinstance(m, kind)]
    return message


def test_what_comes_together_is_one_turn_and_each_is_answered() -> None:
    bench = Bench()
    for number in (1, 2, 3):
        assert not bench.core.node_message(number, hello(number), PEER, 0.0, more=True)
    bench.core.node_closed(2, CLOSE_MOVING, 0.0, more=True)
    bench.effects = bench.core.end_turn(0.0)
    assert [len(bench.on(number)) for number in (1, 2, 3)] == [1, 0, 1]
    assert bench.core.registry.used == 2
    assert not bench.core.end_turn(0.0)


def test_a_newcomer_is_welcomed_with_an_id_a_ticket_and_its_limits() -> None:
    bench = Bench(ManagerConfig(limits={"public": Limit(100.0)}))
    welcome = only(bench.say(1, hello(1)), Welcome)
    assert isinstance(welcome, Welcome)
    assert welcome.id == IDENTITY.id_of(key(1))
    assert IDENTITY.open(welcome.ticket).id == welcome.id
    assert welcome.limits == {"public": Limit(100.0)}
    assert bench.lines(Level.INFO) == [f"Sending the limits to the krakend: {welcome.id}"]


def test_the_node_beyond_the_cap_is_refused_in_the_words_of_2017() -> None:
    bench = Bench(ManagerConfig(max_nodes=1, free_limits={"public": Limit(5.0)}))
    bench.say(1, hello(1))
    refused = only(bench.say(2, hello(2)), Refused)
    assert refused == Refused(
        code="full",
        sentence=FULL,
        retry_after=15.0,
        managers=("10.0.0.1:7000",),
        free_limits={"public": Limit(5.0)},
    )
    assert bench.closed() == [(2, CLOSE_REFUSED)]
    assert bench.lines(Level.WARNING) == [
        "Your current subscription does not allow more nodes running. Please upgrade to add more nodes."
    ]
    assert bench.state(2) is NodeState.REFUSED


def test_raising_the_cap_lets_a_waiting_node_in_when_it_comes_again() -> None:
    bench = Bench(ManagerConfig(max_nodes=1))
    bench.say(1, hello(1))
    bench.say(2, hello(2))
    bench.core.operator.set_max_nodes(2, bench.now)
    assert only(bench.say(3, hello(2, incarnation=2)), Welcome)
    assert bench.core.registry.used == 2


def test_lowering_the_cap_stops_nobody_and_marks_the_last_seated() -> None:
    bench = Bench(ManagerConfig(max_nodes=3))
    for number in (1, 2, 3):
        bench.say(number, hello(number))
    bench.core.operator.set_max_nodes(1, bench.now)
    bench.wait(1.0)
    assert [bench.node(number).record.over_limit for number in (1, 2, 3)] == [False, True, True]
    assert [bench.state(number) for number in (1, 2, 3)] == [NodeState.ACTIVE] * 3
    assert bench.core.registry.used == 1
    bench.core.operator.set_max_nodes(3, bench.now)
    bench.wait(1.0)
    assert bench.core.registry.used == 3


def test_a_hello_that_is_behind_is_told_how_far_to_go() -> None:
    """Rule I4."""
    bench = Bench()
    bench.say(1, hello(1, incarnation=9))
    bench.hang_up(1)
    assert bench.say(2, hello(1, incarnation=4)) == [Behind(incarnation=9)]
    assert only(bench.say(2, hello(1, incarnation=10)), Welcome)


def test_the_end_of_the_connection_removes_the_node_and_holds_its_seat_for_the_rejoin_window() -> None:
    bench = Bench(ManagerConfig(max_nodes=1))
    bench.say(1, hello(1))
    bench.hang_up(1)
    assert (bench.state(1), bench.node(1).why, bench.node(1).seat) == (
        NodeState.REMOVED,
        "connection ended",
        True,
    )
    assert bench.core.lost == 1
    assert only(bench.say(2, hello(2)), Refused)
    bench.wait(61.0)
    assert not bench.node(1).seat
    assert only(bench.say(3, hello(2, incarnation=2)), Welcome)


def test_a_node_that_restarts_within_the_window_keeps_its_seat_though_all_are_taken() -> None:
    bench = Bench(ManagerConfig(max_nodes=1))
    bench.say(1, hello(1))
    bench.hang_up(1)
    bench.wait(5.0)
    welcome = only(bench.say(2, hello(1, incarnation=2)), Welcome)
    assert isinstance(welcome, Welcome)
    assert not welcome.over_limit


def test_a_known_node_that_finds_no_seat_runs_on_over_the_limit() -> None:
    """Rules A3, A4: known is never refused."""
    bench = Bench(ManagerConfig(max_nodes=1))
    bench.say(1, hello(1))
    bench.hang_up(1)
    bench.wait(61.0)
    bench.say(2, hello(2))
    welcome = only(bench.say(3, hello(1, incarnation=2)), Welcome)
    assert isinstance(welcome, Welcome)
    assert welcome.over_limit
    assert bench.core.registry.used == 1
    bench.hang_up(2)
    bench.wait(62.0)
    assert not bench.node(1).record.over_limit
    assert bench.core.registry.used == 1


def test_the_margin_goes_on_at_a_manager_that_knows_no_page_of_the_node() -> None:
    """Rule A3: the ticket has it, from the moment in which the node was marked."""
    first, second = Bench(ManagerConfig(max_nodes=2)), Bench(ManagerConfig(max_nodes=1))
    first.say(1, hello(1))
    first.say(2, hello(2))
    pushed = [
        e.message for e in first.core.operator.set_max_nodes(1, 0.0) if isinstance(e, ToNode) and e.conn == 2
    ]
    push = only(pushed, LimitsPush)
    assert isinstance(push, LimitsPush)
    since = first.node(2).record.over_since
    second.wait(1000.0)
    second.say(1, hello(3))
    welcome = only(second.say(2, hello(2, incarnation=2, ticket=push.ticket)), Welcome)
    assert isinstance(welcome, Welcome)
    assert welcome.over_limit
    assert second.node(2).record.over_since == since > 0
    assert IDENTITY.open(welcome.ticket).over_since == since


def test_a_ticket_of_a_later_session_beats_a_page_that_knows_of_no_margin() -> None:
    first, second = Bench(ManagerConfig(max_nodes=2)), Bench(ManagerConfig(max_nodes=1))
    second.say(2, hello(2))
    second.hang_up(2)
    second.wait(61.0)
    second.say(1, hello(3))
    first.say(1, hello(1))
    first.say(2, hello(2, incarnation=2))
    first.core.operator.set_max_nodes(1, 0.0)
    again = only(first.say(2, hello(2, incarnation=3)), Welcome)
    assert isinstance(again, Welcome)
    second.say(2, hello(2, incarnation=4, ticket=again.ticket))
    assert second.node(2).record.over_since == first.node(2).record.over_since > 0


def test_a_margin_that_is_over_is_taken_out_of_the_ticket() -> None:
    bench = Bench(ManagerConfig(max_nodes=2))
    bench.say(1, hello(1))
    bench.say(2, hello(2))
    bench.core.operator.set_max_nodes(1, bench.now)
    bench.core.operator.set_max_nodes(2, bench.now)
    for number in range(1, 800):
        bench.wait(5.0)
        bench.say(1, Report(number=number))
        pushed = [one for one in bench.say(2, Report(number=number)) if isinstance(one, LimitsPush)]
        if pushed:
            break
    assert bench.now > 3600.0
    [push] = pushed
    assert IDENTITY.open(push.ticket).over_since == 0.0


def test_a_node_that_leaves_is_removed_with_its_reason() -> None:
    bench = Bench()
    bench.say(1, hello(1), Leave(reason="stopped by SIGTERM"))
    bench.hang_up(1)
    assert (bench.state(1), bench.node(1).why) == (NodeState.REMOVED, "left: stopped by SIGTERM")
    assert bench.core.lost == 0


def test_a_node_that_moves_is_not_removed() -> None:
    """Rule I5."""
    bench = Bench()
    bench.say(1, hello(1))
    bench.hang_up(1, CLOSE_MOVING)
    assert bench.state(1) is NodeState.ACTIVE
    assert bench.core.lost == 0


def test_a_node_that_moves_has_been_active_all_the_time_and_one_that_starts_anew_has_not() -> None:
    """Whichever manager it says hello to, the process is the same by its nonce."""
    bench = Bench()
    record = NodeRecord(NodeState.ACTIVE, 1, 1, 5, True, False, WALL - 90.0, "said hello", "n1", "", "")
    entry = NODE + IDENTITY.id_of(key(1))
    bench.core.group.ledger.apply(Piece("m2", 1, 0, 1, 0, (Entry(entry, 1, record.pack()),), reset=True))
    bench.core.registry.page_changed("m2", [entry], 0.0)
    bench.wait(1.0)
    bench.say(1, hello(1, incarnation=2))
    assert (bench.node(1).manager, bench.node(1).since) == ("m1", WALL - 90.0)
    bench.hang_up(1, CLOSE_MOVING)
    bench.wait(1.0)
    bench.say(2, hello(1, incarnation=3))
    assert bench.node(1).since == WALL - 90.0
    bench.say(3, hello(1, incarnation=4, nonce=2))
    assert bench.node(1).since == WALL + 2.0


def test_a_refusal_is_erased_when_the_node_is_let_in_elsewhere() -> None:
    """As `moved` it would come to light as a node, once the newer record is forgotten (rule I6)."""
    bench = Bench(ManagerConfig(max_nodes=1))
    bench.say(1, hello(1))
    bench.say(2, hello(2))
    entry, ledger = NODE + IDENTITY.id_of(key(2)), bench.core.group.ledger
    record = NodeRecord(NodeState.ACTIVE, 2, 1, 5, True, False, WALL, "said hello", "n2", "", "")
    ledger.apply(Piece("m2", 1, 0, 1, 0, (Entry(entry, 1, record.pack()),), reset=True))
    bench.core._reading.page_changed("m2", (entry,), 0.0)
    assert ledger.own.get(entry) is None
    assert bench.node(2).manager == "m2"


def test_who_waited_for_a_seat_before_a_managers_restart_is_not_taken_over() -> None:
    """It was never let in; it says hello again, and is a newcomer."""
    bench = Bench()
    record = NodeRecord(NodeState.CLAIMED, 1, 1, 5, True, False, WALL, "waits", "n1", "", "")
    running = replace(record, state=NodeState.ACTIVE, name="n2")
    entries = (
        (NODE + IDENTITY.id_of(key(1)), record.pack()),
        (NODE + IDENTITY.id_of(key(2)), running.pack()),
    )
    bench.core._page.adopt(FormerPage((Mark(1, 2),), entries), 0.0)
    assert [id_ for id_, _ in bench.core.registry.own_records()] == [IDENTITY.id_of(key(2))]
    assert bench.state(2) is NodeState.UNREACHABLE


def test_a_node_that_moved_before_a_managers_restart_is_still_on_its_page_as_moved() -> None:
    """Seed 248: who had not heard of the newer record yet no longer listed the node (rule I6)."""
    bench = Bench()
    record = NodeRecord(NodeState.ACTIVE, 1, 1, 5, True, False, WALL, "said hello", "n1", "", "")
    refused = replace(record, state=NodeState.REFUSED, seat=False, name="n2")
    entries = tuple((NODE + IDENTITY.id_of(key(at)), old.pack()) for at, old in ((1, record), (2, refused)))
    newer = tuple(Entry(entry, 1, replace(record, incarnation=2).pack()) for entry, _ in entries)
    bench.core.group.ledger.apply(Piece("m2", 1, 0, 1, 0, newer, reset=True))
    bench.core.registry.page_changed("m2", [entry for entry, _ in entries], 0.0)
    bench.core._page.adopt(FormerPage((Mark(1, 2),), entries), 0.0)
    [(id_, kept)] = bench.core.registry.own_records()
    assert (id_, kept.state, kept.seat, kept.why) == (
        IDENTITY.id_of(key(1)),
        NodeState.MOVED,
        True,
        "moved to m2",
    )
    assert bench.node(1).manager == "m2"


def test_a_node_is_refused_since_it_was_first_and_forgotten_when_it_asks_no_more() -> None:
    bench = Bench(ManagerConfig(max_nodes=1))
    bench.say(1, hello(1))
    for incarnation in range(1, 9):
        bench.say(2, hello(2, incarnation))
        assert (bench.state(2), bench.node(2).since) == (NodeState.REFUSED, WALL)
        bench.wait(14.0)
        bench.say(1, Report(number=incarnation + 1))
    bench.wait(32.0)
    assert bench.core.registry.view(IDENTITY.id_of(key(2))) is None


def test_a_node_that_moved_and_came_nowhere_is_unreachable_then_down() -> None:
    bench = Bench()
    bench.say(1, hello(1))
    bench.hang_up(1, CLOSE_MOVING)
    bench.wait(16.0)
    assert bench.state(1) is NodeState.UNREACHABLE
    bench.wait(61.0)
    assert bench.state(1) is NodeState.DOWN


def test_silence_makes_a_node_unreachable_after_three_heartbeats_and_down_after_the_grace() -> None:
    bench = Bench()
    bench.say(1, hello(1))
    bench.wait(14.9)
    assert bench.state(1) is NodeState.ACTIVE
    bench.wait(1.0)
    assert (bench.state(1), bench.node(1).seat) == (NodeState.UNREACHABLE, True)
    bench.wait(60.0)
    assert (bench.state(1), bench.node(1).seat) == (NodeState.DOWN, False)


def test_an_unreachable_node_that_speaks_again_is_active() -> None:
    bench = Bench()
    bench.say(1, hello(1))
    bench.wait(20.0)
    assert only(bench.say(1, Report(number=2)), Reported) == Reported(number=2)
    assert (bench.state(1), bench.node(1).seat) == (NodeState.ACTIVE, True)


def test_a_node_that_is_down_is_let_go_and_welcome_to_say_hello_again() -> None:
    bench = Bench()
    bench.say(1, hello(1))
    bench.wait(76.0)
    assert bench.closed() == [(1, CLOSE_SILENT)]
    assert only(bench.say(2, hello(1, incarnation=2)), Welcome)
    assert (bench.state(1), bench.node(1).seat) == (NodeState.ACTIVE, True)


def test_a_manager_that_was_stopped_itself_does_not_call_its_nodes_silent() -> None:
    """What they sent meanwhile waits in its sockets."""
    bench = Bench()
    bench.say(1, hello(1))
    bench.now += 300.0
    bench.effects = bench.core.tick(bench.now)
    assert bench.state(1) is NodeState.ACTIVE
    bench.wait(16.0)
    assert bench.state(1) is NodeState.UNREACHABLE


def test_reports_keep_a_node_active_and_reach_the_stats() -> None:
    bench = Bench()
    bench.say(1, hello(1))
    for number in range(10):
        bench.wait(5.0)
        bench.say(1, Report(number=number, counters={"cpu_seconds": float(number)}))
    assert bench.state(1) is NodeState.ACTIVE
    steps = bench.core.stats.view(WALL + bench.now)[IDENTITY.id_of(key(1))]
    assert steps[-1]["counters"] == {"cpu_seconds": 9.0}


def test_a_session_that_took_over_asks_the_earlier_one_which_ends_when_silent() -> None:
    """Rule I3: a power-cycled node that is back in five seconds is not a clone."""
    bench = Bench()
    bench.say(1, hello(1))
    assert only(bench.say(2, hello(1, incarnation=2, nonce=2)), Welcome)
    assert only(bench.on(1), Ask)
    bench.wait(16.0)
    assert (1, CLOSE_SUPERSEDED) in bench.closed()
    assert bench.node(1).record.incarnation == 2


def test_an_earlier_session_that_answers_makes_the_newer_one_a_clone() -> None:
    """Rule I3: the newer becomes a node of its own, the earlier goes above."""
    bench = Bench()
    bench.say(1, hello(1))
    bench.say(2, hello(1, incarnation=2, nonce=2))
    assert bench.say(1, Here(number=2)) == [Behind(incarnation=2)]
    assert only(bench.on(2), Clone)
    assert only(bench.say(1, hello(1, incarnation=3)), Welcome)
    assert only(bench.say(2, hello(7, nonce=2)), Welcome)
    assert bench.core.registry.used == 2
    bench.wait(20.0)
    assert (1, CLOSE_SUPERSEDED) not in bench.closed()


def test_what_a_clone_had_sent_before_it_heard_of_it_counts_nothing() -> None:
    bench = Bench()
    bench.say(1, hello(1))
    bench.say(2, hello(1, incarnation=2, nonce=2))
    bench.say(1, Here(number=2))
    assert bench.say(2, Report(number=1)) == []
    assert 2 not in [conn for conn, _ in bench.closed()]
    assert only(bench.say(2, hello(7, nonce=2)), Welcome)


def test_the_end_of_an_earlier_session_does_not_remove_the_newer_one() -> None:
    """Rule I1: a session's end counts for its own incarnation only."""
    bench = Bench()
    bench.say(1, hello(1))
    bench.say(2, hello(1, incarnation=2, nonce=2))
    bench.hang_up(1)
    assert bench.state(1) is NodeState.ACTIVE


@pytest.mark.parametrize(
    ("bad", "code", "named"),
    [
        (Hello(key=b"short", incarnation=1, nonce=1), "invalid", "hello.key"),
        (Hello(key=key(1), incarnation=0, nonce=1), "invalid", "hello.incarnation"),
        (hello(1, protocol_min=7, protocol_max=9), "protocol", "7 to 9"),
        (hello(1, id="not-a-uuid"), "invalid", "krakend_<uuid4>"),
        (hello(1, id="krakend_3f20a44d-3d93-4bc9-829b-b76b22055142"), "foreign", "another group"),
        (hello(1, ticket="AAAA"), "foreign", "ticket"),
    ],
)
def test_a_bad_hello_is_refused_with_the_field_and_the_remedy(bad: Hello, code: str, named: str) -> None:
    bench = Bench()
    refused = only(bench.say(1, bad), Refused)
    assert isinstance(refused, Refused)
    assert refused.code == code
    assert named in refused.sentence
    assert bench.closed() == [(1, CLOSE_REFUSED)]


def test_a_message_before_the_hello_ends_the_connection() -> None:
    bench = Bench()
    bench.say(1, Report(number=1))
    assert bench.closed() == [(1, 1002)]


def test_limits_are_pushed_when_the_number_of_running_nodes_changes_with_rising_versions() -> None:
    bench = Bench(ManagerConfig(limits={"public": Limit(100.0)}))
    bench.say(1, hello(1, limits_version=7))
    bench.say(2, hello(2))
    bench.wait(0.1)
    pushed = only(bench.on(1), LimitsPush)
    assert isinstance(pushed, LimitsPush)
    assert (pushed.version, pushed.limits) == (9, {"public": Limit(50.0)})
    bench.say(1, Report(number=1, limits_version=9))
    bench.say(2, Leave())
    bench.wait(0.1)
    pushed = only(bench.on(1), LimitsPush)
    assert isinstance(pushed, LimitsPush)
    assert (pushed.version, pushed.limits) == (10, {"public": Limit(100.0)})


def test_a_manager_that_stops_lets_its_nodes_go_and_takes_no_more() -> None:
    bench = Bench()
    bench.say(1, hello(1))
    bench.effects = bench.core.go(bench.now, for_good=False)
    assert (1, 1001) in bench.closed()
    refused = only(bench.say(2, hello(2)), Refused)
    assert isinstance(refused, Refused)
    assert refused.code == "starting"


def test_a_claim_whose_node_goes_away_frees_its_place_at_once() -> None:
    bench = Bench(ManagerConfig(max_nodes=1))
    bench.say(1, hello(1))
    bench.hang_up(1)
    bench.wait(61.0)
    bench.say(2, hello(2))
    assert bench.core.registry.used == 1
    assert list(bench.core.registry.claims()) == []


def test_an_ephemeral_node_is_forgotten_sooner_and_not_before_its_rejoin_window() -> None:
    bench = Bench(ManagerConfig(forget_after=1000.0, forget_ephemeral_after=10.0, rejoin_window=60.0))
    bench.say(1, hello(1, ephemeral=True))
    bench.say(2, hello(2))
    bench.hang_up(1)
    bench.hang_up(2)
    bench.wait(50.0)
    assert len(list(bench.core.registry.views())) == 2
    bench.wait(15.0)
    assert [view.record.name for view in bench.core.registry.views()] == ["n2"]


def test_a_forgotten_id_that_returns_is_still_welcome() -> None:
    bench = Bench(ManagerConfig(forget_after=100.0))
    first = only(bench.say(1, hello(1)), Welcome)
    assert isinstance(first, Welcome)
    bench.hang_up(1)
    bench.wait(200.0)
    assert bench.core.registry.view(first.id) is None
    again = only(bench.say(2, hello(1, incarnation=2, id=first.id, ticket=first.ticket)), Welcome)
    assert isinstance(again, Welcome)
    assert again.id == first.id
