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
        story.only_given_up(mute, others)
        story.heal()
        story.see("afterwards")
        story.expect(story.ids() == ids, "a node has another id than before")
        story.all_in_place()
    return story.report
