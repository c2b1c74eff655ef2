"""A manager's disk takes up to 3 s for every write: newcomers wait for it, and nobody else notices.

Probes need no disk, so nobody is given up, and no node that runs loses its seat. Killed and started again,
the manager knows every node that it had let in.
"""

from dataclasses import replace

from simulations.cluster import DEFAULT
from simulations.report import Report, Size
from simulations.story import Story

SIZE = Size(managers=3, minutes=2.0)
SLOW = 3.0
LET_IN_WITHIN = 30.0
"""A newcomer waits for its claim, for its seat and for its welcome, each after another write."""


def run(managers: int, nodes: int, seed: int, minutes: float) -> Report:
    """`minutes` is how long the first manager's disk is slow; half of the nodes come meanwhile."""
    story = Story("slow-disk", seed, managers, replace(DEFAULT, max_nodes=nodes), disks=True)
    with story.told():
        slow = story.managers[0]
        assert slow.disk is not None
        story.seat(nodes // 2)
        slow.disk.slow = SLOW
        story.say("slow", f"each write at {slow.name} takes up to {SLOW:.0f} s")
        added = story.cluster.add_nodes(nodes - nodes // 2)
        took = story.world.run_until(
            lambda: all(node.joined for node in added), LET_IN_WITHIN, "every newcomer is let in"
        )
        story.say("slow", f"{len(added)} newcomers were let in within {took:.1f} s")
        story.world.run_for(minutes * 60)
        for line in story.given_up():
            story.expect(False, line)
        ids = story.ids()
        slow.kill()
        slow.disk.slow = 0.01
        story.world.run_for(2.0)
        slow.restart()
        took = story.settle(60.0, "all managers agree after the restart")
        story.say("restarted", f"{slow.name} was killed and started again; all agree after {took:.1f} s")
        story.see("afterwards")
        story.expect(story.ids() == ids, "a node has another id than before")
        story.all_in_place()
    return story.report
