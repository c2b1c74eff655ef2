"""Nodes come and go all the time, in good order and without a word: seats are neither lost nor doubled.

About once a second one is killed, stopped, switched off or started again, or a new one comes.
"""

from dataclasses import replace

from simulations.checkers import misplaced
from simulations.cluster import DEFAULT
from simulations.nodes import SimNode
from simulations.report import Report, Size
from simulations.story import Story

SIZE = Size(nodes=40)
PATIENCE = 180.0
"""Silence, grace, rejoin window and a refused node's next try."""


def run(managers: int, nodes: int, seed: int, minutes: float) -> Report:
    """`minutes` of coming and going; the cap is three quarters of the nodes at the start."""
    cap = max(1, nodes * 3 // 4)
    config = replace(DEFAULT, max_nodes=cap, rejoin_window=20.0, forget_after=40.0, retry_after=5.0)
    story = Story("churn", seed, managers, config)
    with story.told():
        story.cluster.add_nodes(nodes)
        story.world.run_for(10.0)
        ends, changes = story.world.now + minutes * 60, 0
        while story.world.now < ends:
            _change(story, nodes)
            changes += 1
            story.world.run_for(story.random.expovariate(1.0))
        story.see("churned")
        story.say("churned", f"{changes} times, {len(story.cluster.nodes)} nodes in all")

        def amiss() -> list[str]:
            return misplaced(story.managers, story.cluster.nodes)

        took = story.settle(60.0, "all managers agree")
        took += story.world.run_until(lambda: not amiss(), PATIENCE, "every node is where it belongs")
        story.say("calm", f"all well after {took:.1f} s")
        story.see("afterwards")
        story.surplus_is_one()
    return story.report


def _change(story: Story, nodes: int) -> None:
    node = story.random.choice(story.cluster.nodes)
    if not node.alive:
        node.start()
    elif story.random.random() < 0.2 and len(story.cluster.nodes) < 3 * nodes:
        story.cluster.add_nodes(1)
    else:
        story.random.choice((SimNode.kill, SimNode.stop, SimNode.power_off))(node)
