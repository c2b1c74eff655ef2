"""One machine's disk is copied to many, and all start: each becomes a node of its own, with its own seat.

The first keeps its id. There are seats for half of them: the others are refused, none is counted twice.
"""

from dataclasses import replace

from simulations.cluster import DEFAULT
from simulations.nodes import Disk, SimNode
from simulations.report import Report, Size
from simulations.story import Story

SIZE = Size(nodes=12, minutes=2.0, managers_min=1)


def run(managers: int, nodes: int, seed: int, minutes: float) -> Report:
    """`minutes` within which every clone must have found out."""
    cap = max(1, nodes // 2)
    story = Story("clone-army", seed, managers, replace(DEFAULT, max_nodes=cap, retry_after=5.0))
    with story.told():
        [first] = story.seat(1)
        state, id_ = first.disk.state, first.id
        assert state is not None
        first.copied = True
        for at in range(1, nodes):
            disk = Disk(state, [state], {state.id})
            clone = SimNode(story.network, f"clone{at}", f"10.1.9.{at}", story.cluster.seeds, disk)
            clone.copied = True
            story.cluster.nodes.append(clone)
            story.world.run_for(story.random.uniform(0.0, 1.0))
        story.say("copied", f"to {nodes - 1} machines; {cap} seats")
        story.world.run_for(minutes * 60)
        story.settle(60.0, "all managers agree")
        story.see("afterwards")
        ids = [node.id for node in story.cluster.nodes if node.id]
        story.expect(len(set(ids)) == len(ids), "two processes have one id")
        story.expect(first.id == id_ and first.joined, "the first lost its id or its place")
        joined = sum(node.joined for node in story.cluster.nodes)
        story.say("afterwards", f"{joined} of {nodes} are in")
        story.all_in_place()
    return story.report
