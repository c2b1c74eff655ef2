"""A link that is down for 20 s of every 40: the two managers at its ends stay alive by way of the others.

Where a third manager reaches both, nobody is given up and no node moves; of two managers each gives the other
up and takes it back, and no seat is lost by that.
"""

from simulations.report import Report, Size
from simulations.story import Story

SIZE = Size()
HALF = 20.0


def run(managers: int, nodes: int, seed: int, minutes: float) -> Report:
    """`minutes` is how long the link flaps."""
    story = Story("flip-flop", seed, managers)
    with story.told():
        story.seat(nodes)
        ids = story.ids()
        left, right = story.managers[0].host, story.managers[1].host
        ends = story.world.now + minutes * 60
        flips = 0
        while story.world.now < ends:
            mend = story.network.cut(left, right)
            story.world.run_for(HALF)
            mend()
            story.world.run_for(HALF)
            flips += 1
        story.see("flapped")
        given_up = story.given_up()
        story.say("flapped", f"{flips} times, {len(given_up)} verdicts of death")
        if managers > 2:
            for line in given_up:
                story.expect(False, f"a manager that others reach was given up: {line}")
        took = story.settle(60.0, "all managers agree afterwards")
        story.say("healed", f"all agree after {took:.1f} s")
        story.expect(story.ids() == ids, "a node has another id than before")
        story.all_in_place()
    return story.report
