"""One manager's shares: who is told less at once, who grows when there is room, and what counts meanwhile."""

import pytest

from manager.limits.sharing import Sharing
from manager.terms import ManagerConfig
from node.protocol import CLOSE_MOVING, Leave, Limit, LimitsPush, Report, Welcome
from tests.manager.test_core import Bench, hello

LIMITS = {"public": Limit(300.0)}
SHORT = {"public": Sharing(lease=5.0, reuse_last=0.0, safe=10.0)}


class Nodes(Bench):
    """A manager alone, and nodes that confirm what they are told when `confirm` says so."""

    def __init__(self, **more: object) -> None:
        super().__init__(ManagerConfig(limits=LIMITS, **more))  # type: ignore[arg-type]
        self.told: dict[int, tuple[int, float]] = {}
        self.reports = 0

    def join(self, conn: int, **more: object) -> None:
        self.say(conn, hello(conn, **more))  # type: ignore[arg-type]
        self.look()

    def look(self) -> None:
        for conn in list(self.core._sessions._connections.by_conn):
            for message in self.on(conn):
                match message:
                    case Welcome(limits_follow=False) | LimitsPush():
                        version = getattr(message, "limits_version", 0) or getattr(message, "version", 0)
                        self.told[conn] = (version, per_second(message.limits["public"]))
                    case _:
                        pass

    def passes(self, seconds: float) -> None:
        self.wait(seconds)
        self.look()

    def confirm(self, *conns: int) -> None:
        for conn in conns:
            self.reports += 1
            version = self.told[conn][0] if conn in self.told else 0
            self.say(conn, Report(number=self.reports, limits_version=version))
            self.look()

    def settle(self, *conns: int) -> None:
        for _ in range(4):
            self.confirm(*conns)
            self.passes(0.1)

    @property
    def shares(self) -> dict[int, float]:
        return {conn: share for conn, (_, share) in sorted(self.told.items())}

    def pushes(self, conn: int) -> list[LimitsPush]:
        return [message for message in self.on(conn) if isinstance(message, LimitsPush)]

    @property
    def held(self) -> float:
        return sum(self.core.shares.sheet("public", self.now).held.values())


def per_second(limit: Limit) -> float:
    return limit.max_rate / limit.every


def test_a_newcomer_waits_until_the_others_have_confirmed_less() -> None:
    nodes = Nodes()
    nodes.join(1)
    assert nodes.shares == {1: 300.0}
    nodes.join(2)
    nodes.passes(1.0)
    assert nodes.shares == {1: 150.0}
    nodes.confirm(1)
    nodes.passes(0.1)
    assert nodes.shares == {1: 150.0, 2: 150.0}


def test_who_waits_for_too_long_gets_a_trickle_and_never_zero() -> None:
    nodes = Nodes()
    nodes.join(1)
    nodes.join(2)
    nodes.passes(3.0)
    assert 0 < nodes.shares[2] < 0.001


def test_who_confirms_nothing_keeps_the_others_from_growing() -> None:
    nodes = Nodes()
    for conn in (1, 2, 3):
        nodes.join(conn)
    nodes.settle(1, 2, 3)
    assert nodes.shares == {1: 100.0, 2: 100.0, 3: 100.0}
    nodes.join(4)
    nodes.settle(1, 2)
    assert nodes.shares[4] == pytest.approx(50.0)
    nodes.settle(1, 2, 3, 4)
    assert nodes.shares == {1: 75.0, 2: 75.0, 3: 75.0, 4: 75.0}


def test_a_node_that_leaves_gives_back_at_once() -> None:
    nodes = Nodes()
    nodes.join(1)
    nodes.join(2)
    nodes.settle(1, 2)
    nodes.say(2, Leave())
    nodes.look()
    assert nodes.shares[1] == 300.0


def test_a_node_that_ended_without_a_word_holds_its_share_until_its_lease_is_over() -> None:
    nodes = Nodes(sharing=SHORT)
    nodes.join(1)
    nodes.join(2)
    nodes.settle(1, 2)
    nodes.hang_up(2)
    for _ in range(11):
        nodes.passes(0.4)
        nodes.confirm(1)
    assert nodes.shares[1] == 150.0
    for _ in range(4):
        nodes.passes(0.4)
        nodes.confirm(1)
    assert nodes.shares[1] == 300.0


def test_a_silent_node_counts_with_what_is_safe_when_its_lease_is_over() -> None:
    nodes = Nodes(sharing=SHORT)
    for conn in (1, 2):
        nodes.join(conn)
    nodes.settle(1, 2)
    for _ in range(15):
        nodes.passes(0.5)
        nodes.confirm(1)
    nodes.join(3)
    nodes.settle(1, 3)
    assert nodes.shares == {1: 100.0, 2: 100.0, 3: 100.0}
    assert nodes.held == 210.0


def test_a_node_that_speaks_again_after_its_lease_is_told_before_its_lease_is_renewed() -> None:
    nodes = Nodes(sharing=SHORT)
    nodes.join(1)
    nodes.join(2)
    nodes.settle(1, 2)
    for _ in range(15):
        nodes.passes(0.5)
        nodes.confirm(1)
    nodes.confirm(2)
    kinds = [type(message).__name__ for message in nodes.on(2)]
    assert kinds == ["LimitsPush", "Reported"]


def test_a_node_that_comes_from_elsewhere_brings_its_share() -> None:
    nodes = Nodes()
    nodes.join(1, in_force={"public": Limit(120.0)}, limits_version=5)
    nodes.join(2, in_force={"public": Limit(150.0)}, limits_version=9)
    assert (nodes.shares[1], nodes.told[2]) == (300.0, (10, 150.0))


def test_a_node_that_moves_on_counts_until_it_is_seen_elsewhere_or_its_lease_is_over() -> None:
    nodes = Nodes(sharing=SHORT)
    nodes.join(1)
    nodes.join(2)
    nodes.settle(1, 2)
    nodes.hang_up(2, CLOSE_MOVING)
    nodes.passes(2.0)
    assert nodes.shares[1] == 150.0


def test_weights_count_for_a_weighted_limit_alone() -> None:
    nodes = Nodes(sharing={"public": Sharing("weighted")})
    nodes.join(1, weight=1.0)
    nodes.join(2, weight=2.0)
    nodes.settle(1, 2)
    assert nodes.shares == {1: 100.0, 2: 200.0}


def test_the_usual_share_is_never_more_than_the_limit_even_if_all_nodes_have_less_than_weight_1() -> None:
    nodes = Nodes(sharing={"public": Sharing("weighted")})
    nodes.join(1, weight=0.5)
    nodes.settle(1)
    assert nodes.shares == {1: 300.0}
    assert nodes.core.shares.usual() == LIMITS
    nodes.join(2, weight=1.5)
    nodes.settle(1, 2)
    assert nodes.core.shares.usual() == {"public": Limit(150.0)}


def test_a_fair_share_follows_demand_and_small_changes_of_it_change_nothing() -> None:
    nodes = Nodes(sharing={"public": Sharing("fair_share")})
    for conn in (1, 2, 3):
        nodes.join(conn)
    nodes.settle(1, 2, 3)
    counts = dict.fromkeys((1, 2, 3), 0.0)

    def load(seconds: int, **rates: float) -> None:
        for _ in range(seconds):
            for conn in counts:
                counts[conn] += rates[f"n{conn}"]
                version = nodes.told[conn][0]
                report = Report(number=1, limits_version=version, counters={"gateway_requests": counts[conn]})
                nodes.say(conn, report)
                nodes.look()
            nodes.passes(1.0)

    load(10, n1=400.0, n2=400.0, n3=16.0)
    shares = nodes.shares
    assert shares[3] == pytest.approx(20.0, abs=0.01)
    assert shares[1] == shares[2] == pytest.approx(140.0, abs=0.01)
    versions = dict(nodes.told)
    load(10, n1=420.0, n2=380.0, n3=17.0)
    assert nodes.told == versions
    load(10, n1=400.0, n2=400.0, n3=400.0)
    assert nodes.shares == {1: 100.0, 2: 100.0, 3: 100.0}


def test_what_a_node_brings_along_is_written_in_the_same_order_in_every_process() -> None:
    """A set's order hangs on PYTHONHASHSEED, and with it went the trace of a seed of the simulator."""
    names = [f"limit{number:02}" for number in range(20)]
    bench = Bench(ManagerConfig(limits={name: Limit(100.0) for name in names}))
    bench.core.shares.joined("krakend_1", 1, {name: Limit(1.0) for name in reversed(names)}, bench.now)
    written = [entry.key for entry in bench.core.group.ledger.own.since(0) if entry.key.startswith("held/")]
    assert written == [f"held/{name}" for name in names]


def test_a_limit_that_is_new_is_not_in_force_at_a_node_until_its_share_is_known() -> None:
    nodes = Nodes()
    nodes.join(1)
    nodes.passes(3.0)
    nodes.confirm(1)
    nodes.core.shares.fresh = True  # as where no other manager has answered yet: nothing can be given
    nodes.effects += nodes.core.operator.set_limit("login", Limit(100.0), Sharing(), nodes.now)
    told = nodes.pushes(1)
    nodes.wait(0.5)
    assert not any("login" in message.limits for message in told + nodes.pushes(1))
    nodes.core.shares.fresh = False
    nodes.wait(0.5)
    assert nodes.pushes(1)[-1].limits == {**LIMITS, "login": Limit(100.0)}


def test_a_new_limit_whose_share_stays_unknown_comes_as_a_trickle_and_never_not_at_all() -> None:
    nodes = Nodes()
    nodes.join(1)
    nodes.passes(3.0)
    nodes.confirm(1)
    nodes.core.shares.fresh = True
    nodes.effects += nodes.core.operator.set_limit("login", Limit(100.0), Sharing(), nodes.now)
    nodes.wait(3.0)
    assert per_second(nodes.pushes(1)[-1].limits["login"]) < 0.001
