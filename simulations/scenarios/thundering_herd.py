"""Thousands of nodes start at once, more than there are seats: as many are let in as the cap allows.

A tenth of the nodes is too many. All the others are let in, every manager counts the same, and those that
were refused know it.
"""

from dataclasses import replace

from simulations.checkers import oversold
from simulations.cluster import DEFAULT
from simulations.report import Report, Size
from simulations.story import Story

SIZE = Size(managers=3, nodes=5000, minutes=1.0, nodes_min=10)


def run(managers: int, nodes: int, seed: int, minutes: float) -> Report:
    """`minutes` within which all must be decided."""
    cap = nodes - nodes // 10
    story = Story("thundering-herd", seed, managers, replace(DEFAULT, max_nodes=cap))
    with story.told():
        came = story.cluster.add_nodes(nodes)
        story.say("came", f"{nodes} nodes, for {cap} seats")

        def decided() -> bool:
            return all(node.joined or node.applied.source == "free" for node in came)

        took = story.world.run_until(decided, minutes * 60, "every node is let in or refused")
        story.say("decided", f"after {took:.1f} s")
        took = story.settle(30.0, "all managers agree")
        story.say("agreed", f"after {took:.1f} s more")
        story.see("agreed")
        for line in oversold(story.managers):
            story.expect(False, line)
        joined = sum(node.joined for node in came)
        story.expect(joined == cap, f"{joined} nodes are in, for {cap} seats")
    return story.report
