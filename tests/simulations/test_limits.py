"""The sum of all shares in force, at every change of one, while nodes and managers come and go."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from manager.limits.others import Others
from manager.limits.shares import Shares
from manager.limits.sharing import Sharing
from manager.limits.tenants import Tenant
from manager.terms import ManagerConfig
from node.protocol import Leases, Limit, Limits
from simulations.allotted import Allotted, in_force
from simulations.cluster import Cluster
from simulations.nodes import SimNode

TOTAL = 300.0
CONFIG = ManagerConfig(
    heartbeat=1.0,
    unreachable_after=3.0,
    grace=5.0,
    rejoin_window=5.0,
    limits={"public": Limit(TOTAL)},
    sharing={"public": Sharing(lease=5.0, reuse_last=0.0, safe=10.0)},
)


class Story:
    """Three managers, and a checker that fails the test at the moment when the sum exceeds its bound."""

    def __init__(
        self, seed: int = 1, config: ManagerConfig = CONFIG, managers: int = 3, *, disks: bool = False
    ) -> None:
        self.bound = 1.0
        self.slowness = 0.0
        """Seconds that the gateway of a node that is added takes for other limits."""
        self.cluster = Cluster(seed, managers, config, disks=disks)
        self.allotted = Allotted(
            self.cluster.managers, self.cluster.nodes, {"public": TOTAL}, self.fail, lambda: self.bound
        )
        self.cluster.world.run_until(self.cluster.formed, 15.0, "formed")

    def fail(self, text: str) -> None:
        raise AssertionError(f"at {self.cluster.world.now:.3f} s: {text}")

    def add(self, count: int, *managers: int) -> list[SimNode]:
        seeds = tuple(self.cluster.seeds[at] for at in managers)
        added = self.cluster.add_nodes(count, seeds)
        for node in added:
            node.applies_after = self.slowness
        self.allotted.follow(added)
        return added

    def run(self, seconds: float) -> None:
        self.cluster.world.run_for(seconds)

    @property
    def sum(self) -> float:
        return in_force(self.cluster.nodes, "public")

    def sum_of(self, nodes: list[SimNode]) -> float:
        return in_force(nodes, "public")

    def until_whole(self, within: float) -> None:
        self.cluster.world.run_until(lambda: self.sum >= 0.999 * TOTAL, within, "the whole limit is in force")


def test_nodes_that_join_anywhere_share_the_whole_and_never_more() -> None:
    story = Story()
    story.add(1, 0)
    story.until_whole(2.0)
    for at in range(9):
        story.add(1, at % 3)
        story.run(0.02)
    story.run(1.0)
    story.until_whole(2.0)


def test_a_node_that_leaves_gives_back_within_a_second_wherever_it_was() -> None:
    story = Story()
    nodes = [story.add(1, at)[0] for at in range(3)]
    story.until_whole(3.0)
    story.run(3.0)
    nodes[1].stop()
    story.until_whole(1.0)
    assert nodes[0].applied.limits == nodes[2].applied.limits == {"public": Limit(150.0)}


def test_the_share_of_a_killed_node_is_given_again_when_its_lease_is_over() -> None:
    story = Story()
    nodes = [story.add(1, at)[0] for at in range(3)]
    story.until_whole(3.0)
    story.run(3.0)
    nodes[1].kill()
    story.run(4.0)
    assert story.sum < 0.7 * TOTAL
    story.until_whole(2.5)


def test_when_a_manager_is_killed_its_nodes_keep_their_shares_elsewhere() -> None:
    story = Story()
    nodes = [story.add(1, at, (at + 1) % 3)[0] for at in range(3)]
    story.run(3.0)
    story.cluster.managers[0].kill()
    for _ in range(200):
        story.run(0.1)
        assert story.sum == pytest.approx(TOTAL, rel=1e-3)
    assert all(node.joined for node in nodes)
    story.add(1, 1)
    story.run(2.0)
    story.until_whole(1.0)


def test_a_manager_that_restarts_without_memory_gives_nothing_twice() -> None:
    story = Story()
    for at in range(3):
        story.add(2, at)
    story.run(3.0)
    story.cluster.managers[0].restart()
    story.run(20.0)
    story.add(1, 0)
    story.run(2.0)
    story.until_whole(1.0)


def split(story: Story) -> tuple[list[SimNode], list[SimNode]]:
    """Two managers with two nodes, and one with two."""
    left, right = [*story.add(1, 0), *story.add(1, 1)], story.add(2, 2)
    story.run(3.0)
    hosts = [manager.host for manager in story.cluster.managers]
    story.cluster.network.partition(
        [*hosts[:2], *(node.host for node in left)], [hosts[2], *(node.host for node in right)]
    )
    return left, right


def test_in_a_split_each_side_comes_to_the_whole_when_the_leases_of_the_other_are_over() -> None:
    story = Story()
    left, right = split(story)
    story.run(4.0)
    assert story.sum <= TOTAL * 1.0001
    story.bound = 2.0
    story.run(30.0)
    assert story.sum_of(left) == pytest.approx(TOTAL, rel=1e-3)
    assert story.sum_of(right) == pytest.approx(TOTAL, rel=1e-3)
    story.cluster.network.heal()
    story.run(5.0)
    assert story.sum == pytest.approx(TOTAL, rel=1e-3)


def test_in_a_split_that_conserves_the_sum_of_all_sides_holds_and_each_goes_on_with_what_it_has() -> None:
    story = Story(config=replace(CONFIG, limits_mode="conserve"))
    left, right = split(story)
    story.run(40.0)
    assert story.sum == pytest.approx(TOTAL, rel=1e-3)
    right[0].kill()
    left[0].stop()
    newcomer = story.add(1, 0)
    story.cluster.network.partition([story.cluster.managers[2].host], [newcomer[0].host])
    story.run(40.0)
    assert story.sum_of([*left, *newcomer]) == pytest.approx(TOTAL / 2, rel=1e-2)
    story.cluster.network.heal()
    story.run(12.0)
    story.until_whole(5.0)


@pytest.mark.parametrize("mode", ["available", "conserve"])
@pytest.mark.parametrize("seed", range(8))
def test_whatever_comes_and_goes_the_sum_holds_while_the_managers_are_connected(seed: int, mode: str) -> None:
    churn(seed, mode)


def told_is_applied(patch: pytest.MonkeyPatch) -> None:
    """A smaller share counts from when it is sent."""

    def tell(self: Tenant, version: int, limits: Limits, leases: Leases) -> None:
        right(self, version, limits, leases)
        del self.told[:-1]

    right = Tenant.tell
    patch.setattr(Tenant, "tell", tell)


def nobody_is_asked(patch: pytest.MonkeyPatch) -> None:
    """What was added is used before the others have answered, and whatever they have added."""
    patch.setattr(Others, "have_answered", lambda *_: True)


def hellos_bring_nothing(patch: pytest.MonkeyPatch) -> None:
    """A node that comes from another manager counts as one that has nothing in force."""
    right = Shares.joined

    def joined(self: Shares, id_: str, version: int, in_force: Limits, now: float) -> None:
        right(self, id_, version, {}, now)

    patch.setattr(Shares, "joined", joined)


@pytest.mark.parametrize("without", [told_is_applied, nobody_is_asked, hellos_bring_nothing])
def test_without_any_one_of_its_rules_the_sum_does_not_hold(
    without: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch)

    def all_seeds() -> None:
        for seed in range(30):
            churn(seed, "available", until_whole=False)

    with pytest.raises(AssertionError, match="the nodes may let"):
        all_seeds()


def churn(seed: int, mode: str, *, until_whole: bool = True) -> None:
    """Nodes and managers come, go, die and return for a while; then all is to be well."""
    # What is safe is used by nodes that start while no manager knows of them: here next to nothing.
    sharing = {"public": Sharing(lease=5.0, reuse_last=0.0, safe=0.001)}
    story = Story(seed, replace(CONFIG, limits_mode=mode, sharing=sharing))  # type: ignore[arg-type]
    chance = story.cluster.world.random("story")
    story.slowness = chance.choice([0.0, 0.3, 1.0])
    story.add(6)
    for _ in range(40):
        story.run(chance.uniform(0.0, 2.0))
        node, manager = chance.choice(story.cluster.nodes), chance.choice(story.cluster.managers)
        match chance.choice(["join", "leave", "kill", "power", "start", "restart", "stop", "start"]):
            case "join":
                story.add(1)
            case "leave" if node.alive:
                node.stop()
            case "kill" if node.alive:
                node.kill()
            case "power" if node.alive:
                node.power_off()
            case "start" if not node.alive:
                node.start()
            case "restart":
                manager.restart()
            case "stop" if sum(m.alive for m in story.cluster.managers) > 2:
                manager.kill()
            case _:
                for other in story.cluster.managers:
                    if not other.alive:
                        other.restart()
    if not until_whole:
        return
    for manager in story.cluster.managers:
        if not manager.alive:
            manager.restart()
    story.add(1)
    story.run(20.0)
    story.until_whole(10.0)
