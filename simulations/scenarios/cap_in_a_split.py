"""While the managers are split, one operator lowers the cap and another raises it: one holds for all.

Nobody is stopped by that. Of the two the same one prevails everywhere after the heal, and the surplus
runs on and is marked by all alike.
"""

from dataclasses import replace

from simulations.cluster import DEFAULT
from simulations.report import Report, Size
from simulations.story import Story

SIZE = Size(managers=5, minutes=3.0)


def run(managers: int, nodes: int, seed: int, minutes: float) -> Report:
    """`minutes` is how long the split lasts; the cap is changed after a third of it."""
    story = Story("cap-in-a-split", seed, managers, replace(DEFAULT, max_nodes=nodes, retry_after=5.0))
    with story.told():
        story.seat(nodes)
        ids = story.ids()
        left, right = story.sides(managers // 2 + 1)
        story.split(left, right)
        story.world.run_for(minutes * 20)
        low, high = max(1, nodes // 3), nodes * 2
        story.set_cap(left[0], low)
        story.set_cap(right[0], high)
        story.say("set", f"{low} at {left[0].name}, {high} at {right[0].name}")
        story.world.run_for(minutes * 40)
        story.see("split")
        story.heal()
        story.world.run_for(30.0)
        story.see("afterwards")
        caps = {manager.core.max_nodes for manager in story.managers}
        story.expect(len(caps) == 1 and caps <= {low, high}, f"the caps in force are {caps}")
        story.expect(story.ids() == ids, "a node has another id than before")
        story.expect(all(node.joined for node in story.cluster.nodes), "a node that ran was sent away")
        story.surplus_is_one()
        story.all_in_place()
    return story.report
