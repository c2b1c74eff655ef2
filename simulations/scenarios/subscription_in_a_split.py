"""In a split, a signed subscription is lowered on one side, raised on the other, and there expires.

Each side follows what it knows, and stops nobody. After the heal the higher serial holds for all: it has
run out, so every node has the free limits, until a newer document comes.
"""

from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from manager.subscription.documents import Document, sign
from manager.subscription.standing import Stage
from node.protocol import Limit
from simulations.cluster import DEFAULT
from simulations.processes import SimManager
from simulations.report import Report, Size
from simulations.story import Story
from simulations.world import WALL_AT_START

SIZE = Size(managers=5, minutes=3.0)
ISSUER = Ed25519PrivateKey.from_private_bytes(bytes(32))
MARGIN = 10.0
FREE = {"public": Limit(20.0)}


def _granted(serial: int, max_nodes: int, expires: float | None = None) -> str:
    """A document for `max_nodes`; `expires` is in seconds since the run began."""
    return sign(
        Document(
            group="krakend",
            serial=serial,
            max_nodes=max_nodes,
            issued=WALL_AT_START,
            not_before=WALL_AT_START,
            expires=None if expires is None else WALL_AT_START + expires,
            overage="none",
            revoked=False,
        ),
        ISSUER,
    )


def run(managers: int, nodes: int, seed: int, minutes: float) -> Report:
    """`minutes` is how long the split lasts; documents come after a third of it, and one ends after two."""
    config = replace(
        DEFAULT, issuers=(ISSUER.public_key(),), margin=MARGIN, free_limits=FREE, retry_after=5.0
    )
    story = Story("subscription-in-a-split", seed, managers, config)

    def install(manager: SimManager, text: str) -> None:
        story.disturb()
        manager.install(text)

    def stages(those: list[SimManager]) -> set[Stage]:
        return {m.core.subscription.standing(WALL_AT_START + story.world.now).stage for m in those}

    with story.told():
        install(story.managers[0], _granted(1, nodes))
        story.seat(nodes)
        ids = story.ids()
        left, right = story.sides(managers // 2 + 1)
        story.split(left, right)
        story.world.run_for(minutes * 20)
        low, high = max(1, nodes // 3), 2 * nodes
        ends = story.world.now + minutes * 20
        install(left[0], _granted(2, low))
        install(right[0], _granted(3, high, expires=ends))
        story.say("installed", f"{low} nodes at {left[0].name}, {high} until {ends:.0f} s at {right[0].name}")
        story.world.run_for(minutes * 20)
        story.see("split")
        story.world.run_for(minutes * 20)
        story.expect(stages(left) == {Stage.VALID}, f"the left side is at {stages(left)}")
        story.expect(stages(right) == {Stage.DEGRADED}, f"the right side is at {stages(right)}")
        story.heal()
        story.world.run_for(30.0)
        serials = {m.core.subscription.document and m.core.subscription.document.serial for m in left + right}
        story.expect(serials == {3}, f"the serials in force are {serials}")
        story.expect(stages(left + right) == {Stage.DEGRADED}, f"they are at {stages(left + right)}")
        free = sum(node.applied.limits == FREE for node in story.cluster.nodes)
        story.say("expired", f"{free} of {nodes} nodes have the free limits")
        story.expect(free == nodes, f"only {free} nodes have the free limits")
        story.expect(all(node.joined for node in story.cluster.nodes), "a node that ran was sent away")
        install(story.managers[0], _granted(4, nodes))
        story.world.run_for(30.0)
        story.see("renewed")
        free = sum(node.applied.limits == FREE for node in story.cluster.nodes)
        story.expect(free == 0, f"{free} nodes still have the free limits")
        story.expect(story.ids() == ids, "a node has another id than before")
        story.surplus_is_one()
        story.all_in_place()
    return story.report
