"""A configuration comes to all nodes, though its conductor dies, a node dies in its turn, and a split stands.

At no moment are more nodes taken out than `max_unavailable`. One that no gateway would run reaches
nobody, and one that runs badly, or answers more errors than the others do, or more slowly, is rolled back,
also where that shows only when all have it.
"""

from collections.abc import Callable

from manager.rollout.configs import Manner
from manager.rollout.plan import Phase
from simulations.gateway import ERRING, INVALID, LAGGING, SICK
from simulations.processes import SimManager
from simulations.report import Report, Size
from simulations.story import Story

SIZE = Size(nodes=12, managers_min=3)
KIND = "nginx"
AT_A_TIME = 2
LOOK_EVERY = 0.25
"""Less than any gateway is out."""
MANNER = Manner(waves=("1", "50%", "100%"), max_unavailable=AT_A_TIME, pause=5.0)
CAREFUL = Manner(waves=("1", "50%", "100%"), max_unavailable=AT_A_TIME, pause=20.0)
BAD = ((INVALID, MANNER, 0), (SICK, MANNER, 0), (ERRING, CAREFUL, 1), (LAGGING, CAREFUL, 1))
"""With how many nodes may have each at once."""
PATIENCE = 400.0


def run(managers: int, nodes: int, seed: int, minutes: float) -> Report:
    """`minutes` is for the split."""
    story = Story("config-rollout", seed, managers)
    with story.told():
        for node in story.cluster.add_nodes(nodes):
            node.manage(KIND, b"first")
            node.gateway.went = lambda: _look(story)
        story.world.run_until(lambda: all(node.joined for node in story.cluster.nodes), 30.0, "all joined")
        conductor, other = story.managers[0], story.managers[1]

        conductor.push_config(KIND, b"second", MANNER)
        _until(story, lambda: _out(story) > 0, "somebody is out for it")
        conductor.kill()
        _pass(story, 40.0)
        story.say("conductor dead", f"{story.having(b'second')} nodes have it, and no further one")
        stood = story.having(b"second")
        _pass(story, 20.0)
        story.expect(story.having(b"second") == stood, "the rollout goes on without its conductor")
        other.steer_rollout(KIND, "resume")
        _until(story, lambda: _out(story) > 0, "another manager goes on")
        victim = next(node for node in story.cluster.nodes if node.gateway.out)
        victim.power_off()
        victim.gateway.out = False
        _pass(story, 30.0)
        victim.start()
        conductor.restart()
        _until(
            story,
            lambda: _phase(other) is Phase.DONE and story.having(b"second") == nodes,
            "all have it",
        )
        story.say("done", f"{nodes} nodes have the second")

        majority = managers // 2 + 1
        left, right = story.sides(majority)
        story.split(left, right)
        _pass(story, 5.0)
        left[0].push_config(KIND, b"third", MANNER)
        _pass(story, minutes * 60)
        story.say("split", f"{story.having(b'third')} nodes have the third")
        story.network.heal()
        _until(
            story,
            lambda: _phase(right[0]) is Phase.DONE and story.having(b"third") == nodes,
            "all have it",
        )

        for node in story.cluster.nodes:
            node.gateway.traffic = 20.0
        for bad, manner, most in BAD:
            left[0].push_config(KIND, bad, manner)
            _until(story, lambda: _phase(other) is Phase.RUNNING, "the other manager has heard of it")
            seen = _until_rolled_back(story, other, bad)
            story.expect(seen <= most, f"{seen} nodes at once run what is {bad.decode()}")
            story.expect(story.having(b"third") == nodes, f"what is {bad.decode()} is left on a node")
            story.say("rolled back", _why(other))

        left[0].push_config(KIND, b"fourth", CAREFUL)
        _until(story, lambda: story.having(b"fourth") == nodes and not _out(story), "all have it")
        for node in story.cluster.nodes:
            node.gateway.erring = True
        _until_rolled_back(story, other, b"fourth")
        story.expect(story.having(b"third") == nodes, "what errs only after the last wave is left on a node")
        story.say("rolled back after the last wave", _why(other))
        story.see("afterwards")
    return story.report


def _out(story: Story) -> int:
    return sum(node.gateway.out for node in story.cluster.nodes)


def _phase(manager: SimManager) -> Phase | None:
    found = manager.core.configs.get(KIND)
    return None if found is None else found[1].phase


def _why(manager: SimManager) -> str:
    found = manager.core.configs.get(KIND)
    return "" if found is None else found[1].why


def _until_rolled_back(story: Story, manager: SimManager, content: bytes) -> int:
    """How many nodes had `content` at once, at the most."""
    seen = [0]

    def is_over() -> bool:
        seen.append(story.having(content))
        return _phase(manager) is Phase.ROLLED_BACK

    _until(story, is_over, f"what is {content.decode()} is rolled back")
    return max(seen)


def _look(story: Story) -> None:
    out = sorted(node.name for node in story.cluster.nodes if node.gateway.out)
    story.expect(len(out) <= AT_A_TIME, f"{', '.join(out)} are out at once, more than {AT_A_TIME}")


def _pass(story: Story, seconds: float) -> None:
    story.each(seconds, LOOK_EVERY, lambda: _look(story))


def _until(story: Story, reached: Callable[[], bool], what: str) -> None:
    ends = story.world.now + PATIENCE
    while not reached():
        if story.world.now > ends:
            raise AssertionError(f"not within {PATIENCE:g} s: {what}")
        _pass(story, LOOK_EVERY)
