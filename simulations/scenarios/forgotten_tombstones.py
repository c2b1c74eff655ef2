"""A split that outlives all memory of it: the halves meet again, and nothing deleted comes back.

Members that are gone are forgotten after a minute, and the owners of pages keep next to no tombstone. On each
side nodes end for good, and are forgotten, while the other side still has them.
"""

from dataclasses import replace

from gossip.config import LAN
from simulations.cluster import DEFAULT
from simulations.report import Report, Size
from simulations.story import Story

SIZE = Size(managers=5)


def run(managers: int, nodes: int, seed: int, minutes: float) -> Report:
    """`minutes` is how long the split lasts; half of the nodes end in it."""
    config = replace(DEFAULT, grace=10.0, rejoin_window=10.0, forget_after=20.0)
    gossip = replace(LAN, gone_kept=60.0, tombstones_max=1)
    story = Story("forgotten-tombstones", seed, managers, config, gossip)
    with story.told():
        story.seat(nodes)
        left, right = story.sides(managers // 2 + 1)
        story.split(left, right)
        story.world.run_for(minutes * 30)
        ended = story.cluster.nodes[::2]
        for node in ended:
            node.stop()
        gone = {node.id for node in ended}
        story.world.run_for(minutes * 30)
        story.see("split")
        for manager in story.managers:
            known = len(manager.core.group.swim.members)
            story.say("split", f"{manager.name} knows of {known} members")
        story.network.heal()
        took = story.settle(90.0, "the halves meet again, and agree")
        story.say("healed", f"all agree after {took:.1f} s")
        story.world.run_for(60.0)
        story.see("afterwards")
        for manager in story.managers:
            back = [view.id for view in manager.core.registry.views() if view.id in gone and view.running]
            story.expect(not back, f"{manager.name} shows {len(back)} nodes that ended")
        story.all_in_place()
    return story.report
