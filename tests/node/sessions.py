"""Sessions to call directly, at the points where a test begins."""

from collections.abc import Iterable
from dataclasses import replace
from random import Random

from node.effects import Effect, Log, NodeState
from node.life import Clock
from node.phases import Joined
from node.protocol import Leases, Limit, Welcome
from node.session import Session

CLOCK = Clock("boot", 100.0, 1_800_000_000.0)
ID = "krakend_3f20a44d-3d93-4bc9-829b-b76b22055142"
A, B, C = "10.0.0.1:7000", "10.0.0.2:7000", "10.0.0.3:7000"
PUBLIC = {"public": Limit(100.0, 1.0)}
FREE = {"public": Limit(5.0, 1.0)}
SENTENCE = "Your current subscription does not allow more nodes running. Please upgrade to add more nodes."


def session(*seeds: str, state: NodeState | None = None, seed: int = 1, restarts: bool = False) -> Session:
    return Session(
        seeds=seeds or (A,),
        state=state,
        rng=Random(seed),
        clock=lambda: CLOCK,
        name="edge",
        agent_version="1",
        restarts_for_limits=restarts,
    )


def greeted(*seeds: str, state: NodeState | None = None) -> tuple[Session, list[Effect]]:
    made = session(*seeds, state=state)
    made.start(0.0)
    return made, made.connected(0.0)


def welcome(made: Session, **changes: object) -> Welcome:
    plain = Welcome(
        id=ID,
        ticket="t",
        incarnation=made.state.incarnation,
        manager="m1",
        limits_version=3,
        limits=PUBLIC,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def joined(*seeds: str, managers: tuple[str, ...] = (), leases: Leases | None = None) -> Session:
    made, _ = greeted(*seeds)
    made.received(welcome(made, managers=managers, leases=leases or {}), 0.0)
    assert isinstance(made.phase, Joined)
    return made


def alone_for(degrade_after: float, **changes: object) -> Session:
    """Joined at 0.0, and without a manager from then on."""
    made, _ = greeted()
    made.received(welcome(made, degrade_after=degrade_after, free_limits=FREE, **changes), 0.0)
    made.closed(1006, "", 0.0)
    return made


def run_to(made: Session, until: float) -> list[tuple[float, Effect]]:
    """Tick at each deadline up to `until`, answering no connect."""
    seen: list[tuple[float, Effect]] = []
    while (due := made.next_deadline()) is not None and due <= until:
        seen += [(due, effect) for effect in made.tick(due)]
    return seen


def without_logs(effects: Iterable[Effect]) -> list[Effect]:
    return [effect for effect in effects if not isinstance(effect, Log)]
