"""Policy `strict`, managers connected, and all nodes come to the first: how often is one refused for nothing?

Each founder has its part of the seats, so the first has to find what the others have left. Nodes leave and
others come, about as many as there are seats. A refusal is false where some founder had a right left by then.
"""

from dataclasses import replace

from gossip.effects import OpenStream, Send
from manager.effects import ToNode
from node.protocol import Refused, Welcome
from simulations.cluster import DEFAULT
from simulations.processes import NODE_PORT, SimManager
from simulations.report import Report, Size
from simulations.story import Story
from simulations.watch import Watch

SIZE = Size(managers=3, nodes=60, minutes=3.0, nodes_min=10)
FALSE_MAX = 0.01
"""Of the answers to nodes without a ticket."""
_TURN = 2.0


class _Answers(Watch):
    """Counts what nodes are told."""

    given = refused = falsely = 0

    def sent(self, manager: SimManager, effect: Send | OpenStream | ToNode) -> None:
        super().sent(manager, effect)
        match effect:
            case ToNode(message=Welcome()):
                self.given += 1
            case ToNode(message=Refused(code="full" | "out_of_reach")):
                homes = (other.core.home for other in self._managers)
                left = sum(home.founder.account().left for home in homes if home is not None)
                # What others are about to be given is not free.
                asked = sum(other.core.desk.asked for other in self._managers if other.core.desk is not None)
                self.refused += 1
                self.falsely += left > asked
            case _:
                pass


def run(managers: int, nodes: int, seed: int, minutes: float) -> Report:
    """Of `nodes` a tenth is too many; `minutes` for which some leave and come back."""
    config = replace(
        DEFAULT,
        policy="strict",
        founders=tuple(f"m{at}" for at in range(1, managers + 1)),
        max_nodes=nodes - nodes // 10,
        rejoin_window=1.0,
        retry_after=1.0,
    )
    story = Story("skewed-demand", seed, managers, config, watch=_Answers, disks=True)
    answers = story.cluster.watch
    assert isinstance(answers, _Answers)
    with story.told():
        first = (f"{story.managers[0].host}:{NODE_PORT}",)
        came = story.cluster.add_nodes(nodes, first)
        story.world.run_for(10.0)

        def turn() -> None:
            """A few leave, and those that left before come back."""
            for node in came:
                if not node.alive:
                    node.start()
            for node in story.random.sample([node for node in came if node.joined], max(1, nodes // 10)):
                node.stop()

        story.each(minutes * 60, _TURN, turn)
        answered = answers.given + answers.refused
        rate = answers.falsely / max(1, answered)
        story.say("answered", f"{answers.given} let in, {answers.refused} refused")
        story.say("denied", f"{answers.falsely} refused while a right was left: {100 * rate:.2f} %")
        story.expect(answers.refused > 0, "nobody was refused")
        story.expect(rate < FALSE_MAX, f"{100 * rate:.1f} % were refused while a right was left")
    return story.report
