"""Managers split, nodes do not: all nodes move to the side that they reach, under their ids and seats.

The minority's managers are cut off from the others and from every node. Its nodes go to the majority within
three heartbeats and a few tries; the minority gives them up after the grace, and takes them back as they are
when the split is over.
"""

from dataclasses import replace

from simulations.cluster import DEFAULT
from simulations.report import Report, Size
from simulations.story import Story

SIZE = Size(managers=5)
MOVED_WITHIN = 45.0


def run(managers: int, nodes: int, seed: int, minutes: float) -> Report:
    """`minutes` is how long the split lasts."""
    story = Story("split-failover", seed, managers, replace(DEFAULT, max_nodes=nodes))
    with story.told():
        story.seat(nodes)
        ids = story.ids()
        left, right = story.sides(managers // 2 + 1)
        cut_off = sum(len(m.core.served()) for m in right)
        reached = [m.host for m in left] + [node.host for node in story.cluster.nodes]
        story.network.partition(reached, [m.host for m in right])
        story.say("split", f"{len(left)} managers with all nodes | {len(right)} managers with none")

        def moved() -> bool:
            return sum(len(m.core.served()) for m in left) == nodes

        took = story.world.run_until(moved, MOVED_WITHIN, "all nodes are served by the majority")
        story.say("moved", f"{cut_off} nodes moved in {took:.1f} s")
        story.world.run_for(max(0.0, minutes * 60 - took))
        story.see("split")
        for manager in left:
            story.expect(manager.core.registry.used == nodes, f"{manager.name} lost seats by the move")
        story.heal()
        story.see("afterwards")
        story.expect(story.ids() == ids, "a node has another id than before")
        story.all_in_place()
    return story.report
