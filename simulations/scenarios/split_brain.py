"""A split: each side goes on, admits by what it knows, and once healed all agree on who is surplus.

Cap and nodes are equal, so the group is full. The managers split into a majority and the rest, each with
half of the nodes. When each side has given up the other's nodes it has free seats, and newcomers take them.
After the heal more nodes run than the cap allows: the last seated are marked, by all managers alike.
"""

from dataclasses import replace

from simulations.checkers import oversold
from simulations.cluster import DEFAULT
from simulations.report import Report, Size
from simulations.story import Story

SIZE = Size()


def run(managers: int, nodes: int, seed: int, minutes: float) -> Report:
    """`minutes` is how long the split lasts; newcomers arrive after two thirds of it."""
    story = Story("split-brain", seed, managers, replace(DEFAULT, max_nodes=nodes))
    with story.told():
        story.seat(nodes)
        story.see("full")
        left, right = story.sides(managers // 2 + 1)
        half = nodes // 2
        sides = [[m.host for m in left], [m.host for m in right]]
        sides[0] += [node.host for node in story.cluster.nodes[:half]]
        sides[1] += [node.host for node in story.cluster.nodes[half:]]
        newcomers = [f"10.1.{at // 250}.{at % 250 + 1}" for at in range(nodes, nodes + 2 * (nodes // 4))]
        sides[0] += newcomers[::2]
        sides[1] += newcomers[1::2]
        story.network.partition(*sides)
        story.say("split", f"{len(left)} managers | {len(right)} managers")
        story.world.run_for(minutes * 60 * 2 / 3)
        story.see("each side alone")
        story.cluster.add_nodes(len(newcomers))
        story.world.run_for(minutes * 60 / 3)
        story.see("newcomers seated")
        for line in oversold(story.managers):
            story.expect(False, line)
        story.heal()
        story.world.run_for(30.0)
        story.see("afterwards")
        story.surplus_is_one()
    return story.report
