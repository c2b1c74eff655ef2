"""One manager hears everybody, and nobody hears it: no node is lost, and what it says of the others is vain.

What the first manager sends to the other managers is lost, by UDP and TCP; all else arrives. The others give
it up. Its nodes still reach it and stay. It cannot refute, nor can it make the others be held for dead.
"""

from simulations.report import Report, Size
from simulations.story import Story

SIZE = Size(managers=5, minutes=3.0, managers_min=3)


def run(managers: int, nodes: int, seed: int, minutes: float) -> Report:
    """`minutes` is how long nobody hears the first manager."""
    story = Story("one-way", seed, managers)
    with story.told():
        story.seat(nodes)
        ids = story.ids()
        mute, *others = story.managers
        for other in others:
            story.network.cut(mute.host, other.host, one_way=True)
        story.say("one way", f"what {mute.name} sends to other managers is lost")
        story.world.run_for(minutes * 60)
        story.see("meanwhile")
        times: dict[str, int] = {}
        for other in others:
            times[other.name] = sum(f"member {mute.name} is dead" in text for _, text in other.lines)
            for third in others:
                gone = any(f"member {third.name} is dead" in text for _, text in other.lines)
                story.expect(not gone, f"{other.name} gave up {third.name}, which was well")
        story.say("meanwhile", f"{mute.name} was given up, times by manager: {times}")
        story.network.heal()
        took = story.settle(60.0, "all managers agree after the heal")
        story.say("healed", f"all agree after {took:.1f} s")
        story.see("afterwards")
        story.expect(story.ids() == ids, "a node has another id than before")
        story.all_in_place()
    return story.report
