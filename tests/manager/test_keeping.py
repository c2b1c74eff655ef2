"""A manager that is killed and started again goes on from what it kept, by calling its core."""

from math import inf
from random import Random

from gossip.effects import Resolve, Send
from gossip.group import Group
from gossip.ledger import Ledger
from gossip.memory import NO_MEMORY
from gossip.messages import OUR_VERSIONS, Address, Alive, Suspect
from gossip.pages import Mark
from manager.core import WENT_BACK, Manager
from manager.disk.saved import Changes, Saved
from manager.effects import Log, ManagerEffect, Persist, ToNode
from manager.identity import Identity
from manager.records import NodeState
from manager.terms import ManagerConfig
from node.protocol import Hello, Leave, Limit, Refused, Report, Served, Welcome

IDENTITY = Identity("blue", "")
WALL = 1_800_000_000.0
M2 = Address("10.0.0.2", 7946)


class Life:
    """One process of manager m1 over `saved`, which has whatever it asked to keep."""

    def __init__(
        self, saved: Saved | None, config: ManagerConfig | None = None, wall: float = WALL, seed: int = 1
    ) -> None:
        self.saved = saved
        self.now = 0.0
        self.group = Group(
            name="m1",
            address=Address("10.0.0.1", 7946),
            group_name="blue",
            tags={},
            random=Random(seed),
            now=0.0,
            wall_offset=wall,
            memory=NO_MEMORY if saved is None else saved.memory("m1"),
        )
        self.core = Manager(self.group, config or ManagerConfig(), 0.0, saved)
        self.effects: list[ManagerEffect] = []
        self.done(self.core.tick(0.0))

    def done(self, effects: list[ManagerEffect]) -> None:
        for effect in effects:
            if isinstance(effect, Persist):
                assert self.saved is not None
                self.saved.apply(effect.changes)
            elif isinstance(effect, Resolve):
                self.done(self.core.resolved(effect.peer, [], self.now))
        self.effects += effects

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while self.core.next_deadline() <= end:
            self.now = max(self.now, self.core.next_deadline())
            self.done(self.core.tick(self.now))
        self.now = end

    def hello(self, number: int, incarnation: int = 1) -> str:
        """Node `number` says hello; gives its id."""
        key = number.to_bytes(32)
        said = Hello(key=key, incarnation=incarnation, nonce=number, name=f"n{number}")
        self.done(self.core.node_message(number, said, f"10.1.0.{number}", self.now))
        return IDENTITY.id_of(key)

    def says(self, kind: type) -> list[object]:
        return [e.message for e in self.effects if isinstance(e, ToNode) and isinstance(e.message, kind)]

    def lines(self) -> list[str]:
        return [effect.text for effect in self.effects if isinstance(effect, Log)]

    def state(self, id_: str) -> tuple[str, bool] | None:
        view = self.core.registry.view(id_)
        return None if view is None else (view.state.value, view.seat)


def life(saved: Saved, **config: int) -> Life:
    return Life(saved, ManagerConfig(**config), seed=len(saved.facts) + 7)  # type: ignore[arg-type]


def test_what_a_turn_wrote_is_to_be_kept_before_anything_it_says() -> None:
    first = life(Saved())
    first.wait(6.0)
    first.effects.clear()
    id_ = first.hello(1)
    kept, said = (
        [at for at, e in enumerate(first.effects) if isinstance(e, Persist)],
        [at for at, e in enumerate(first.effects) if isinstance(e, ToNode | Send)],
    )
    assert first.says(Welcome)
    assert max(kept) < min(said)
    assert first.saved is not None
    assert first.saved.pages["m1"].get(f"node/{id_}") is not None


def test_without_a_disk_nothing_is_to_be_kept() -> None:
    alone = Life(None)
    alone.wait(30.0)
    alone.hello(1)
    assert not [effect for effect in alone.effects if isinstance(effect, Persist)]


def test_a_restarted_manager_knows_its_nodes_and_gives_them_time_to_come_back() -> None:
    saved = Saved()
    first = life(saved)
    first.wait(6.0)
    here, gone = first.hello(1), first.hello(2)
    second = life(saved)
    assert second.state(here) == second.state(gone) == ("unreachable", True)
    assert "took over 2 nodes from before this manager's start" in second.lines()
    second.wait(30.0)
    second.hello(1, incarnation=2)
    assert second.state(here) == ("active", True)
    assert second.state(gone) == ("unreachable", True)
    for _ in range(10):
        second.wait(4.0)
        second.done(
            second.core.node_message(1, Report(number=1, gateway="", counters={}), "10.1.0.1", second.now)
        )
    assert second.state(here) == ("active", True)
    assert second.state(gone) == ("down", False)


def test_a_node_that_had_left_stays_removed_after_a_restart() -> None:
    saved = Saved()
    first = life(saved)
    first.wait(6.0)
    id_ = first.hello(1)
    first.done(first.core.node_message(1, Leave(reason="stopped"), "10.1.0.1", first.now))
    assert life(saved).state(id_) == ("removed", True)


def test_a_known_node_has_its_seat_again_though_others_wait_for_one() -> None:
    saved = Saved()
    first = life(saved, max_nodes=1)
    first.wait(6.0)
    known = first.hello(1)
    second = life(saved, max_nodes=1)
    second.wait(6.0)
    second.hello(2)
    assert second.says(Refused)
    second.hello(1, incarnation=2)
    assert second.state(known) == ("active", True)


def test_a_cap_set_live_outlives_all_managers_and_the_file_that_says_otherwise() -> None:
    saved = Saved()
    first = life(saved, max_nodes=10)
    first.done(first.core.operator.set_max_nodes(4, first.now))
    second = life(saved, max_nodes=10)
    assert second.core.max_nodes == 4
    assert life(saved, max_nodes=10).core.max_nodes == 4


def test_a_file_that_changed_since_the_last_start_holds_again_and_says_so() -> None:
    saved = Saved()
    first = life(saved, max_nodes=10)
    first.done(first.core.operator.set_max_nodes(4, first.now))
    changed = life(saved, max_nodes=12)
    assert changed.core.max_nodes == 12
    assert (
        "the file has changed since this manager's last start, and holds now (serial 2)" in changed.lines()[0]
    )
    again = life(saved, max_nodes=12)
    again.done(again.core.operator.set_max_nodes(3, again.now))
    assert life(saved, max_nodes=12).core.max_nodes == 3


def test_limits_of_an_unchanged_file_are_no_change() -> None:
    saved = Saved()
    config = ManagerConfig(limits={"public": Limit(100.0, 1.0)})
    first = Life(saved, config)
    second = Life(saved, config, seed=2)
    assert second.core.limits == first.core.limits
    assert not [line for line in second.lines() if "file" in line]


def test_a_start_is_above_all_that_it_told_before_also_under_a_clock_that_was_set_back() -> None:
    saved = Saved()
    first = Life(saved)
    me = first.group.swim.members.me
    accused = Suspect("m1", me.incarnation + 1000, "m2")
    first.done(first.core.packet_received([accused], M2, first.now))
    told = me.incarnation
    assert told > WALL
    second = Life(saved, wall=WALL - 86400.0, seed=2)
    assert second.group.swim.members.me.incarnation > told
    assert second.group.ledger.own.generation > first.group.ledger.own.generation


def test_members_are_looked_for_where_they_were_though_no_peer_is_configured() -> None:
    saved = Saved()
    first = Life(saved)
    first.done(first.core.packet_received([Alive("m2", 1, M2, b"", OUR_VERSIONS)], M2, 0.0))
    first.wait(2.0)
    second = Life(saved, seed=2)
    assert Resolve(str(M2)) in second.effects
    assert not [line for line in second.lines() if "cannot join" in line]
    second.wait(60.0)
    assert second.effects.count(Resolve(str(M2))) > 3
    assert not [line for line in second.lines() if "cannot join" in line]


def test_members_that_were_not_met_again_are_looked_for_after_the_next_restart_too() -> None:
    saved = Saved()
    first = Life(saved)
    first.done(first.core.packet_received([Alive("m2", 1, M2, b"", OUR_VERSIONS)], M2, 0.0))
    first.wait(2.0)
    Life(saved, seed=2).wait(60.0)
    assert Resolve(str(M2)) in Life(saved, seed=3).effects


def other_page(generation: int, *ids: str) -> Ledger:
    """Manager m2's page with nodes that it serves."""
    serving = life(Saved())
    serving.wait(6.0)
    page = Ledger("m2", generation)
    for number, _ in enumerate(ids, start=1):
        id_ = serving.hello(number)
        value = serving.group.ledger.own.get(f"node/{id_}")
        assert value is not None
        page.put(f"node/{id_}", value)
    return page


def test_a_manager_alone_still_knows_the_nodes_of_the_others() -> None:
    saved = Saved()
    page = other_page(5, "a", "b")
    saved.apply(Changes(pages=(page.own.whole(),)))
    alone = Life(saved)
    assert [view.state for view in alone.core.registry.views()] == [NodeState.UNREACHABLE] * 2
    assert alone.core.registry.used == 2
    alone.wait(61.0)
    assert [view.state for view in alone.core.registry.views()] == [NodeState.DOWN] * 2


def test_what_others_know_better_than_a_store_that_went_back_is_taken_over_and_said() -> None:
    saved = Saved()
    first = Life(saved)
    first.wait(6.0)
    first.hello(1)
    old = Saved()
    old.apply(Changes(pages=(saved.pages["m1"].whole(),), facts=dict(saved.facts)))
    lost = first.hello(2)
    theirs = Ledger("m2", 5)
    theirs.apply(first.group.ledger.own.whole())
    back = Life(old, seed=2)
    assert back.state(lost) is None
    theirs.apply(back.group.ledger.own.whole())
    digest = {"m1": back.group.ledger.own.mark}
    [offered] = [piece for piece in theirs.lacking("m1", digest) if piece.owner == "m1"]
    back.core._absorb(back.group._reconciler._take_own(offered), back.now)
    assert back.state(lost) == ("unreachable", True)
    assert WENT_BACK in [*back.lines(), *(e.text for e in back.core._turn(back.now) if isinstance(e, Log))]
    theirs.apply(back.group.ledger.own.whole())
    assert theirs.former == {}


def test_a_start_from_a_whole_store_leaves_nothing_for_the_others_to_offer() -> None:
    saved = Saved()
    first = Life(saved)
    first.wait(6.0)
    first.hello(1)
    theirs = Ledger("m2", 5)
    theirs.apply(first.group.ledger.own.whole())
    second = Life(saved, seed=2)
    theirs.apply(second.group.ledger.own.whole())
    assert theirs.former == {}
    assert second.group.ledger.succeeds(first.group.ledger.own.mark)
    assert not second.group.ledger.succeeds(Mark(first.group.ledger.own.generation, 10**6))


def test_statistics_go_on_over_a_restart() -> None:
    saved = Saved()
    first = Life(saved)
    first.wait(6.0)
    id_ = first.hello(1)
    report = Report(number=1, gateway="", counters={"agent_cpu_seconds": 2.5})
    first.done(first.core.node_message(1, report, "10.1.0.1", first.now))
    served = Report(number=2, gateway="", served=(Served("endpoint", "GET /a", 9, 1, 0.5),))
    first.done(first.core.node_message(1, served, "10.1.0.1", first.now))
    first.done(list(first.core.end(first.now)))
    [row] = (
        Life(saved, wall=WALL + 60.0).core.traffic.view("endpoint", since=WALL, until=inf)["GET /a"].values()
    )
    assert (row.requests, row.errors, row.seconds) == (9, 1, 0.5)
    [step] = Life(saved, wall=WALL + 60.0, seed=2).core.stats.view(WALL + 60.0)[id_]
    assert (step["nonce"], step["counters"]) == (1, {"agent_cpu_seconds": 2.5})
    late = Life(saved, wall=WALL + 9000.0, seed=3)
    assert id_ not in late.core.stats.view(WALL + 9000.0)
    assert late.core.traffic.view("endpoint", since=0.0, until=inf) == {}


def test_a_step_of_the_statistics_is_on_disk_once_it_is_over_and_not_written_again() -> None:
    saved = Saved()
    first = Life(saved)
    first.wait(6.0)
    first.hello(1)
    for number in range(60):
        report = Report(number=number, gateway="", counters={"agent_cpu_seconds": float(number)})
        first.done(first.core.node_message(1, report, "10.1.0.1", first.now))
        first.wait(1.0)
    kept = [effect.changes for effect in first.effects if isinstance(effect, Persist)]
    written = [at for changes in kept for at in changes.steps]
    step, wall = first.core.stats.step, first.core.group.wall(first.now)
    assert written == [min(written) + step * at for at in range(len(written))]
    assert wall - 3 * step < max(written) <= wall - step


def test_what_gateways_answered_is_on_disk_within_two_steps_of_it() -> None:
    saved = Saved()
    first = Life(saved)
    first.wait(6.0)
    first.hello(1)
    for requests in (0, 9):
        served = Report(number=1, gateway="", served=(Served("endpoint", "GET /a", requests, 0, 0.0),))
        first.done(first.core.node_message(1, served, "10.1.0.1", first.now))
    first.wait(2 * first.core.traffic.step)
    assert [len(rows) for (_, by), rows in saved.traffic.items() if by == "endpoint"] == [1]
