"""Gateways that take limits by a restart: one at a time, while the sum of what is in force holds."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from manager.core import Manager
from manager.effects import ManagerEffect
from manager.limits.sharing import Sharing
from manager.rollout.configs import Manner
from manager.rollout.orders import Action
from manager.rollout.plan import Phase
from manager.terms import ManagerConfig
from node.protocol import Limit
from simulations.allotted import Allotted
from simulations.cluster import Cluster
from simulations.nodes import SimNode

TOTAL, NODES = 300.0, 6
CONFIG = ManagerConfig(
    limits={"public": Limit(TOTAL)}, sharing={"public": Sharing(lease=60.0, reuse_last=600.0)}
)
STRICT = replace(CONFIG, policy="strict", founders=("m1", "m2", "m3"), ticket_life=36000.0)


class Story:
    """Three managers and six such gateways; whoever goes out of service, and the sum, is looked at."""

    def __init__(self, seed: int, config: ManagerConfig = CONFIG) -> None:
        self.cluster = Cluster(seed, 3, config, disks=True)
        self.total = TOTAL
        self.most_out = self.went_out = 0
        self.allotted = Allotted(
            self.cluster.managers,
            self.cluster.nodes,
            {"public": TOTAL},
            self.fail,
            lambda: self.total / TOTAL,
        )
        self.cluster.world.run_until(self.cluster.formed, 15.0, "formed")
        for _ in range(NODES):
            self.add()

    def fail(self, text: str) -> None:
        raise AssertionError(f"at {self.cluster.world.now:.3f} s: {text}")

    def add(self) -> SimNode:
        [node] = self.cluster.add_nodes(1)
        node.restarts_for_limits = True
        node.manage("krakend", b"first")
        node.gateway.went = self.went
        self.allotted.follow([node])
        return node

    def went(self) -> None:
        out = [node.name for node in self.cluster.nodes if node.alive and node.gateway.out]
        self.went_out += 1
        self.most_out = max(self.most_out, len(out))
        if len(out) > 1:
            self.fail(f"{', '.join(out)} are out at once")

    def set(self, total: float, at: int = 0) -> None:
        self.total = max(self.total, total)
        self.cluster.managers[at].operate(
            lambda core, now: core.operator.set_limit(
                "public", Limit(total), Sharing(lease=60.0, reuse_last=600.0), now
            )
        )

    def all_have(self, total: float) -> bool:
        living = [node for node in self.cluster.nodes if node.alive]
        return all(
            node.applied.limits.get("public") == Limit(total / len(living)) and not node.gateway.out
            for node in living
        )

    def until_all_have(self, total: float) -> None:
        self.cluster.world.run_until(lambda: self.all_have(total), 900.0, f"all work under {total:g}")


@pytest.mark.parametrize("config", [CONFIG, STRICT])
@pytest.mark.parametrize("seed", range(2))
def test_new_limits_take_one_gateway_out_at_a_time_and_the_sum_holds(
    seed: int, config: ManagerConfig
) -> None:
    story = Story(seed, config)
    story.until_all_have(TOTAL)
    story.went_out = 0
    story.set(120.0)
    story.until_all_have(120.0)
    assert story.went_out == NODES
    story.total = 120.0
    story.set(180.0, at=1)
    story.until_all_have(180.0)


def restarts(id_: str) -> Callable[[Manager, float], list[ManagerEffect]]:
    return lambda core, now: core.operator.order_node(id_, Action.RESTART, "operator", now)[1]


@pytest.mark.parametrize("config", [CONFIG, STRICT])
@pytest.mark.parametrize("seed", range(1))
def test_limits_a_rollout_and_ordered_restarts_share_the_turns_also_when_who_gives_them_dies(
    seed: int, config: ManagerConfig
) -> None:
    story = Story(seed, config)
    cluster = story.cluster
    story.until_all_have(TOTAL)
    first, second = cluster.managers[:2]
    first.push_config("krakend", b'{"version": 3}', Manner(waves=("100%",), max_unavailable=1, pause=0.0))
    story.set(120.0, at=1)
    for node in cluster.nodes[::2]:
        second.operate(restarts(node.id))
    cluster.world.run_for(30.0)
    first.kill()
    cluster.world.run_for(60.0)
    first.restart()
    second.steer_rollout("krakend", "resume")

    def is_over() -> bool:
        found = second.core.configs.get("krakend")
        return found is not None and found[1].phase is Phase.DONE and story.all_have(120.0)

    cluster.world.run_until(is_over, 1200.0, "the rollout is done, and all work under 120")
    assert story.most_out == 1
