"""A split under policy `strict`: each side gives the seats that are its own, and both together no more.

Half of the seats are taken when the managers split into a majority and the rest. As many nodes as there are
seats then come to each side. A side refuses whoever its founders have nothing left for; after the heal the
nodes that still wait get what the other side has left, until the cap is reached.
"""

from dataclasses import replace

from simulations.cluster import DEFAULT
from simulations.report import Report, Size
from simulations.story import Story

SIZE = Size(nodes=20, minutes=2.0)
_LOOK_EVERY = 1.0


def run(managers: int, nodes: int, seed: int, minutes: float) -> Report:
    """Of `nodes` seats half are taken before the split, which lasts `minutes`."""
    founders = tuple(f"m{at}" for at in range(1, managers + 1))
    config = replace(DEFAULT, policy="strict", founders=founders, max_nodes=nodes, retry_after=5.0)
    story = Story("split-brain-strict", seed, managers, config, disks=True)

    def seated() -> int:
        return sum(node.has_ticket for node in story.cluster.nodes)

    def look() -> None:
        story.expect(seated() <= nodes, f"{seated()} nodes have a seat, and there are {nodes}")

    with story.told():
        story.seat(nodes // 2)
        story.see("half full")
        left, right = story.sides(managers // 2 + 1)
        hosts = [f"10.1.{at // 250}.{at % 250 + 1}" for at in range(nodes // 2 + 2 * nodes)]
        story.network.partition([m.host for m in left] + hosts[::2], [m.host for m in right] + hosts[1::2])
        story.say("split", f"{len(left)} managers | {len(right)} managers")
        story.cluster.add_nodes(2 * nodes)
        story.each(minutes * 60, _LOOK_EVERY, look)
        story.see("each side alone")
        story.say("each side alone", f"{seated()} of {nodes} seats are given, by both sides together")
        story.network.heal()
        story.each(30.0, _LOOK_EVERY, look)
        story.see("healed")
        story.say("healed", f"{seated()} of {nodes} seats are given")
        story.expect(seated() == nodes, f"{nodes - seated()} seats are free, and nodes wait")
        for manager in story.managers:
            over = manager.core.registry.over
            story.expect(over == 0, f"{manager.name} shows {over} nodes over the limit")
    return story.report
