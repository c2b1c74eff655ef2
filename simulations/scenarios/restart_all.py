"""All managers are killed and started at once, without state: every node returns under its id.

Newcomers ask while the managers know nothing yet. Those that are let in before all nodes are back make a
surplus, which runs on and is marked by all managers alike.
"""

from dataclasses import replace

from simulations.checkers import oversold
from simulations.cluster import DEFAULT
from simulations.report import Report, Size
from simulations.story import Story

SIZE = Size(managers=5)


def run(managers: int, nodes: int, seed: int, minutes: float) -> Report:
    """`minutes` is how long it is watched afterwards."""
    story = Story("restart-all", seed, managers, replace(DEFAULT, max_nodes=nodes))
    with story.told():
        story.seat(nodes)
        known, ids = list(story.cluster.nodes), story.ids()
        for manager in story.managers:
            manager.kill()
        for manager in story.managers:
            story.world.after(story.random.uniform(0.0, 2.0), manager.restart)
        story.say("restart", f"{managers} managers, within 2 s")
        story.cluster.add_nodes(max(1, nodes // 4))
        story.world.run_for(2.0)
        took = 2.0 + story.world.run_until(
            lambda: all(node.joined for node in known), 60.0, "every node is back"
        )
        story.say("back", f"{nodes} nodes in {took:.1f} s")
        took = story.settle(60.0, "all managers agree")
        story.say("agreed", f"after {took:.1f} s more")
        story.see("agreed")
        story.world.run_for(minutes * 60)
        story.see("afterwards")
        now = story.ids()
        story.expect({name: now[name] for name in ids} == ids, "a node has another id than before")
        story.surplus_is_one()
        for line in oversold(story.managers):
            story.expect(False, line)
    return story.report
