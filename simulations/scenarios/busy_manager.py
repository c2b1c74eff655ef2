"""A manager whose loop is blocked for 0.3 to 3 s, over and over: nobody who is well is given up by it.

It is late with all that it hears and says. It may be held for dead for a while; the others, which are well,
may not, and no node loses its seat.
"""

from dataclasses import replace

from simulations.cluster import DEFAULT
from simulations.report import Report, Size
from simulations.story import Story

SIZE = Size(managers=3, minutes=3.0)


def run(managers: int, nodes: int, seed: int, minutes: float) -> Report:
    """`minutes` is how long the first manager is busy."""
    story = Story("busy-manager", seed, managers, replace(DEFAULT, max_nodes=nodes))
    with story.told():
        story.seat(nodes)
        ids = story.ids()
        busy, *others = story.managers
        busy.loop.slow = (0.3, 3.0)
        story.say("busy", f"{busy.name} is late by 0.3 to 3 s with everything")

        def seats_stay() -> None:
            for manager in others:
                used = manager.core.registry.used
                story.expect(used == nodes, f"{manager.name} counts {used} seats of {nodes}")

        story.each(minutes * 60, 1.0, seats_stay)
        story.see("busy")
        for manager in story.managers:
            for at, text in manager.lines:
                for other in others:
                    gone = f"member {other.name} is dead" in text
                    story.expect(
                        not gone, f"{manager.name} at {at:.1f} s gave up {other.name}, which was well"
                    )
        times = sum(f"member {busy.name} is dead" in text for m in others for _, text in m.lines)
        story.say("busy", f"{busy.name} was given up {times} times")
        busy.loop.hurry()
        took = story.settle(60.0, "all managers agree afterwards")
        story.say("over", f"all agree after {took:.1f} s")
        story.expect(story.ids() == ids, "a node has another id than before")
        story.all_in_place()
    return story.report
