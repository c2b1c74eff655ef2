"""Limits that conserve, under policy `strict`: in a split the sum of all sides holds; rights carry some."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from manager.limits import entitled
from manager.limits.apart import Apart
from manager.limits.sides import Side
from manager.limits.silent import Silent
from simulations.nodes import SimNode
from tests.simulations.test_limits import CONFIG, TOTAL, Story

CAP = 12
FOUNDERS = ("m1", "m2", "m3")
# What is safe is on top, where nobody knows of a node.
SAFE = {"public": replace(CONFIG.sharing["public"], safe=0.001)}
STRICT = replace(
    CONFIG,
    limits_mode="conserve",
    policy="strict",
    founders=FOUNDERS,
    max_nodes=CAP,
    ticket_life=3600.0,
    sharing=SAFE,
)
KEPT = TOTAL / 10 / len(FOUNDERS)


class Sides(Story):
    """Nodes of one founder, or two, and a split that leaves the third alone, with whom is put there."""

    def __init__(self, seed: int = 1) -> None:
        super().__init__(seed, STRICT, disks=True)
        self.far: set[str] = set()

    def split(self, far: list[SimNode]) -> None:
        """`far` are the nodes on the side of m3; again to let nodes go over."""
        self.far = {node.host for node in far}
        hosts = [manager.host for manager in self.cluster.managers]
        near = [node.host for node in self.cluster.nodes if node.host not in self.far]
        self.cluster.network.heal()
        self.cluster.network.partition([*hosts[:2], *near], [hosts[2], *sorted(self.far)])

    def until_at_least(self, sum_: float, within: float) -> None:
        wanted = 0.99 * sum_
        self.cluster.world.run_until(lambda: self.sum >= wanted, within, f"{wanted:.1f} are in force")

    def arrive(self, count: int, *managers: int) -> list[SimNode]:
        """Newcomers on the side of `managers` while the split stands."""
        before = [node for node in self.cluster.nodes if node.host in self.far]
        added = self.add(count, *managers)
        self.split([*before, *added] if 2 in managers else before)
        return added


def test_a_side_that_served_no_node_has_what_its_rights_carry_for_newcomers_and_the_sum_holds() -> None:
    story = Sides()
    near = [*story.add(3, 0), *story.add(3, 1)]
    story.run(8.0)
    assert story.sum == pytest.approx(TOTAL - KEPT, rel=1e-3), "m3 has rights left, and serves nobody"
    story.split([])
    story.run(10.0)
    newcomers = story.arrive(2, 2)
    story.run(20.0)
    assert all(node.joined for node in newcomers)
    assert story.sum_of(newcomers) == pytest.approx(KEPT, rel=1e-2)
    assert story.sum_of(near) == pytest.approx(TOTAL - KEPT, rel=1e-3)
    story.cluster.network.heal()
    story.run(15.0)
    story.until_whole(10.0)


def test_what_is_kept_for_rights_is_lent_to_the_nodes_that_their_founder_serves() -> None:
    story = Sides()
    for at in range(3):
        story.add(1, at)
    story.run(8.0)
    story.until_whole(2.0)


def test_what_a_leave_sets_free_in_a_split_is_in_force_again_within_two_seconds_wherever_it_was() -> None:
    story = Sides()
    nodes = [*story.add(2, 0), *story.add(1, 1)]
    story.run(8.0)
    story.split([])
    story.run(10.0)
    nodes[0].stop()
    story.until_at_least(TOTAL - KEPT, 2.0)
    assert nodes[1].applied.limits["public"].max_rate == pytest.approx((TOTAL - KEPT) / 2, rel=2e-2)
    nodes[1].stop()
    story.until_at_least(0.95 * (TOTAL - KEPT), 2.0)
    newcomers = story.arrive(2, 0)
    story.until_at_least(TOTAL - KEPT, 5.0)
    assert story.sum_of(newcomers) == pytest.approx(2 / 3 * (TOTAL - KEPT), rel=5e-2)


def test_while_a_founder_is_dead_its_nodes_keep_what_they_had_and_newcomers_get_their_part() -> None:
    story = Sides()
    nodes = [*story.add(1, 0), *story.add(1, 1), *story.add(1, 2, 0)]
    story.run(8.0)
    story.cluster.managers[2].kill()
    story.run(15.0)
    assert story.sum == pytest.approx(TOTAL, rel=1e-2)
    newcomers = [*story.add(1, 0), *story.add(1, 1)]
    story.run(10.0)
    story.until_at_least(0.95 * TOTAL, 5.0)
    assert min(story.sum_of([node]) for node in newcomers) > TOTAL / 10
    nodes[0].stop()
    story.until_at_least(0.95 * TOTAL, 2.0)
    story.cluster.managers[2].restart()
    story.run(15.0)
    story.until_at_least(TOTAL - KEPT, 5.0)


def test_the_budget_of_a_founder_that_is_expelled_is_the_others() -> None:
    story = Sides()
    story.add(1, 0)
    story.add(1, 1)
    gone = story.add(1, 2)[0]
    story.run(8.0)
    gone.power_off()
    story.cluster.managers[2].kill()
    story.run(40.0)
    assert story.sum < 0.75 * TOTAL, "whoever is away may come back"
    story.cluster.managers[0].operate(lambda core, now: core.operator.expel("m3", now))
    story.run(10.0)
    story.until_whole(5.0)


@pytest.mark.parametrize("seed", [0, 21, 26, 28])
def test_whoever_comes_goes_dies_or_changes_sides_in_a_split_the_sum_over_all_sides_holds(seed: int) -> None:
    churn_in_a_split(seed)


def churn_in_a_split(seed: int) -> None:
    story = Sides(seed)
    chance = story.cluster.world.random("story")
    story.slowness = chance.choice([0.0, 0.3, 1.0])
    for at in range(3):
        story.add(chance.randrange(0, 4), at)
    story.run(chance.choice([0.5, 3.0, 8.0]))
    story.split([node for node in story.cluster.nodes if chance.random() < 0.4])
    for _ in range(25):
        story.run(chance.uniform(0.0, 4.0))
        node, manager = chance.choice(story.cluster.nodes), chance.choice(story.cluster.managers)
        match chance.choice(["come", "come", "leave", "kill", "power", "start", "over", "restart"]):
            case "come" if len(story.cluster.nodes) < 16:
                story.arrive(1, *chance.choice([(0,), (1,), (2,)]))
            case "leave" if node.alive:
                node.stop()
            case "kill" if node.alive:
                node.kill()
            case "power" if node.alive:
                node.power_off()
            case "start" if not node.alive:
                node.start()
            case "over":
                moved = story.far ^ {node.host}
                story.split([node for node in story.cluster.nodes if node.host in moved])
            case "restart":
                manager.restart()
            case _:
                pass
    story.cluster.network.heal()
    story.run(20.0)
    for node in story.cluster.nodes:
        if not node.alive and chance.random() < 0.5:
            node.start()
    story.run(60.0)


def test_where_nothing_is_kept_newcomers_of_a_side_without_nodes_get_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(entitled, "kept", lambda *_: {})
    with pytest.raises(AssertionError):
        test_a_side_that_served_no_node_has_what_its_rights_carry_for_newcomers_and_the_sum_holds()


def a_split_is_not_seen(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Apart, "is_out_of_reach", lambda self, owner: False)


def nobody_owes(patch: pytest.MonkeyPatch) -> None:
    """What a node brought counts for nobody, though its manager is in reach and may use it."""
    patch.setattr(Side, "_owed", lambda *_: 0.0)


def nobody_is_asked_about_the_silent(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Silent, "ask", lambda *_: None)


@pytest.mark.parametrize(
    ("without", "seeds"),
    [
        (a_split_is_not_seen, range(6)),
        (nobody_owes, (26,)),
        (nobody_is_asked_about_the_silent, (55,)),
    ],
)
def test_without_any_one_of_these_rules_the_sum_over_all_sides_does_not_hold(
    without: Callable[[pytest.MonkeyPatch], None], seeds: Iterable[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch)

    def all_seeds() -> None:
        for seed in seeds:
            churn_in_a_split(seed)

    with pytest.raises(AssertionError, match="the nodes may let"):
        all_seeds()
