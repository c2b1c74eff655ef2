"""One manager loses 80 % of what it sends to the others: it stands aside, is given up once, and comes back.

Accused by all of them all the time, it would refute for ever. It hears both that and that its pings are not
answered, so it lets itself be given up, and says so to its operator. Its nodes still reach it and stay.
"""

from simulations.network import Links
from simulations.report import Report, Size
from simulations.story import Story

SIZE = Size(managers=5, minutes=4.0, managers_min=4)
LOSS = 0.8


def run(managers: int, nodes: int, seed: int, minutes: float) -> Report:
    """`minutes` is how long little is heard of the first manager."""
    story = Story("lossy-link", seed, managers)
    with story.told():
        story.seat(nodes)
        ids = story.ids()
        faint, *others = story.managers
        for other in others:
            story.network.set_link(faint.host, other.host, Links(loss=LOSS), one_way=True)
        story.say("lossy", f"{LOSS:.0%} of what {faint.name} sends to other managers is lost")
        story.world.run_for(minutes * 60)
        story.see("meanwhile")
        times = story.only_given_up(faint, others)
        story.expect(max(times.values()) <= 2, f"{faint.name} came and went: {times}")
        story.heal()
        story.see("afterwards")
        story.expect(story.ids() == ids, "a node has another id than before")
        story.all_in_place()
    return story.report
