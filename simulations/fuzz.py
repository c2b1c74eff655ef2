"""One seed, two phases: things break while the watch looks on; then all is healed, and all must be well."""

import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gossip import ledger
from simulations.checkers import misplaced, too_many_packets, unhealed
from simulations.faults import Fire, Plan
from simulations.watch import Broken

REST_SECONDS = 10.0
EVENTS_MAX = 400_000
"""Ten times what the busiest runs need: beyond, somebody never comes to rest."""


@dataclass(slots=True)
class Outcome:
    """What one seed told; `broken` is empty where every checker held."""

    plan: Plan
    story: list[str]
    broken: list[str]
    trace: str
    events: int
    healed_after: float
    """Seconds from the heal until all was well."""

    def text(self) -> str:
        """The plan, what broke when, and the verdict."""
        verdict = [f"BROKEN: {line}" for line in self.broken] or ["every checker held"]
        end = f"seed {self.plan.seed}, {self.events} events, trace {self.trace}"
        return "\n".join([self.plan.text(), *self.story, end, *verdict])


def patience(plan: Plan) -> float:
    """Within how many seconds after the heal all must be well.

    What TCP still carries of a former time comes within 32 s; a node backs off for 15 s; whoever is lost
    counts as such for the grace; a refused node tries again after one and a half times `retry_after`.
    """
    config = plan.config
    slowest = 1.0 / (1.0 - plan.drift)
    waits = config.unreachable_after + config.grace + config.rejoin_window + 2 * config.retry_after
    return (60.0 + waits) * slowest


def run(seed: int, wanted: tuple[str, ...] = ()) -> Outcome:
    """Play `seed`. Whatever the cores raise is a finding too."""
    plan = Plan.draw(seed, wanted)
    with _tombstones(plan.tombstones):
        return _play(Fire(plan), plan)


@contextmanager
def _tombstones(most: int) -> Iterator[None]:
    usual, ledger.TOMBSTONES_MAX = ledger.TOMBSTONES_MAX, most
    try:
        yield
    finally:
        ledger.TOMBSTONES_MAX = usual


def _play(fire: Fire, plan: Plan) -> Outcome:
    fire.world.events_max = EVENTS_MAX
    broken: list[str] = []
    healed = 0.0
    try:
        fire.burn()
        fire.heal()
        healed, broken = _recover(fire)
    except Broken as error:
        broken = [str(error)]
    except Exception as error:  # noqa: BLE001, a core that raises is what we look for
        where = traceback.extract_tb(error.__traceback__)[-1]
        path = "/".join(where.filename.rsplit("/", 2)[-2:])
        broken = [f"at {fire.world.now:.3f} s: {type(error).__name__} {error} in {path}:{where.lineno}"]
    return Outcome(plan, fire.story, broken, fire.world.trace, fire.world.events, healed)


def _amiss(fire: Fire) -> list[str]:
    return unhealed(fire.managers) + misplaced(fire.managers, fire.nodes)


def _recover(fire: Fire) -> tuple[float, list[str]]:
    """Wait until all is well, then see whether it stays so, and whether the group comes to rest."""
    world, plan = fire.world, fire.plan
    start = world.now
    while broken := _amiss(fire):
        if world.now - start > patience(plan):
            return world.now - start, [f"{patience(plan):.0f} s after the heal: {line}" for line in broken]
        world.run_for(1.0)
    healed = world.now - start
    while any(world.now - manager.started < REST_SECONDS for manager in fire.managers):
        world.run_for(1.0)
    before = fire.network.packets.copy()
    world.run_for(REST_SECONDS)
    tries = sum(not node.joined for node in fire.nodes) / (0.5 * plan.config.retry_after)
    broken = too_many_packets(fire.managers, before, fire.network.packets, REST_SECONDS, tries)
    ends = world.now + patience(plan)
    while again := _amiss(fire):
        if world.now > ends:
            break
        world.run_for(0.5)
    else:
        return healed, broken
    return healed, broken + [f"was well {healed:.0f} s after the heal, but then: {line}" for line in again]


def fuzz(first: int, seeds: int) -> Iterator[tuple[Outcome, str]]:
    """The outcomes from seed `first` on, each with a line of progress; ends after the first broken one."""
    started = time.perf_counter()
    longest = 0.0
    for at in range(seeds):
        outcome = run(first + at)
        longest = max(longest, outcome.healed_after)
        rate = (at + 1) / (time.perf_counter() - started)
        yield (
            outcome,
            f"{at + 1} of {seeds} seeds, {rate:.1f} a second, slowest to heal {longest:.0f} s",
        )
        if outcome.broken:
            return
