"""Turns that founders give: no split, no second conductor and no death lets more nodes out than were allowed.

Two operators push on two sides of a split; a conductor dies after a founder has given the turn that it asked
for, before it hears of it; a node's host sleeps within its turn. Whoever goes out, whenever, is counted.
"""

from collections.abc import Callable
from dataclasses import replace

from manager.core import Manager
from manager.effects import ManagerEffect
from manager.rollout.configs import Manner
from manager.rollout.orders import Action
from manager.rollout.plan import Phase
from manager.rollout.turns import WANT
from simulations.cluster import DEFAULT
from simulations.nodes import SimNode
from simulations.processes import SimManager
from simulations.report import Report, Size
from simulations.story import Story

SIZE = Size(managers=5, nodes=12, managers_min=3, minutes=2.0)
KIND = "nginx"
AT_A_TIME = 2
MANNER = Manner(waves=("100%",), max_unavailable=AT_A_TIME, pause=0.0)
PATIENCE = 600.0


def run(managers: int, nodes: int, seed: int, minutes: float) -> Report:
    """`minutes` is for the split."""
    founders = tuple(f"m{at}" for at in range(1, managers + 1))
    config = replace(DEFAULT, policy="strict", founders=founders, ticket_life=3600.0)
    story = Story("rollout-by-founders", seed, managers, config, disks=True)

    def went() -> None:
        out = sorted(node.name for node in story.cluster.nodes if node.alive and node.gateway.out)
        story.expect(len(out) <= AT_A_TIME, f"{', '.join(out)} are out at once, more than {AT_A_TIME}")

    with story.told():
        for node in story.cluster.add_nodes(nodes):
            node.manage(KIND, b"first")
            node.gateway.went = went
        _until(story, lambda: all(node.joined for node in story.cluster.nodes), "all joined")

        left, right = story.sides(managers // 2 + 1)
        story.split(left, right)
        story.world.run_for(5.0)
        left[0].push_config(KIND, b"second", MANNER)
        right[0].push_config(KIND, b"third", MANNER)
        for node in story.cluster.nodes[::3]:
            right[-1].operate(_restarts(node.id))
        story.world.run_for(minutes * 60)
        have = ", ".join(f"{story.having(text)} have the {text.decode()}" for text in (b"second", b"third"))
        story.say("split", have)
        story.network.heal()
        _until(story, lambda: _is_done(story, left[0]) and _is_done(story, right[0]), "one has prevailed")
        story.say("healed", "all nodes have the newest")

        conductor, other = story.managers[-1], story.managers[0]
        conductor.push_config(KIND, b"fourth", MANNER)
        _until(story, lambda: _asks(conductor), "a founder is asked")
        wanted = _asks(conductor)
        _until(story, lambda: any(_gave(m, wanted) for m in story.managers), "the founder has answered", 0.01)
        conductor.kill()
        story.world.run_for(40.0)
        story.say("conductor dead", f"{story.having(b'fourth')} have the fourth, and one a turn from before")
        other.steer_rollout(KIND, "resume")
        conductor.restart()
        _until(story, lambda: _sleepers(story), "somebody is out for it")
        sleeper = _sleepers(story)[0]
        sleeper.loop.suspend()
        story.world.run_for(60.0)
        sleeper.loop.resume()
        story.say("slept in its turn", f"{sleeper.name}, for 60 s; {story.having(b'fourth')} have the fourth")
        _until(story, lambda: story.having(b"fourth") == nodes and _is_done(story, other), "all have it")
        story.say("done", "all nodes have the fourth")
        story.see("afterwards")
    return story.report


def _sleepers(story: Story) -> list[SimNode]:
    return [node for node in story.cluster.nodes if node.gateway.out and node.alive]


def _restarts(id_: str) -> Callable[[Manager, float], list[ManagerEffect]]:
    return lambda core, now: core.operator.order_node(id_, Action.RESTART, "operator", now)[1]


def _is_done(story: Story, manager: SimManager) -> bool:
    """Whether `manager` knows of a rollout that is over, and all nodes run what it was for."""
    found = manager.core.configs.get(KIND)
    if found is None or found[1].phase is not Phase.DONE:
        return False
    return all(node.gateway.on_disk == found[1].wanted.sha256 for node in story.cluster.nodes)


def _asks(manager: SimManager) -> str:
    """A node for which it wants a founder's turn; empty where there is none."""
    own = manager.core.group.ledger.own
    return next((key[len(WANT) :] for key in sorted(own.values) if key.startswith(WANT) and own.get(key)), "")


def _gave(manager: SimManager, id_: str) -> bool:
    return manager.core.group.ledger.own.get(f"turn/{id_}") is not None


def _until(story: Story, reached: Callable[[], object], what: str, step: float = 0.25) -> None:
    ends = story.world.now + PATIENCE
    while not reached():
        if story.world.now > ends:
            raise AssertionError(f"not within {PATIENCE:g} s: {what}")
        story.world.run_for(step)
