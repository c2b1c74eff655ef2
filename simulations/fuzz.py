"""One seed, two phases: things break while the watch looks on; then all is healed, and all must be well."""

import traceback
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from manager.limits.sides import UNPAID_SECONDS
from manager.terms import Policy
from simulations.allotted import AllottedAtRest
from simulations.checkers import (
    Finding,
    last_events,
    misplaced,
    oversized,
    too_many_packets,
    unhealed_by,
)
from simulations.faults import Fire
from simulations.mutants import MUTANTS, applied
from simulations.plan import Plan
from simulations.report import Line
from simulations.rights import lost_rights, misplaced_under_rights
from simulations.strict import StrictFire, strict_plan
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
    checker: str = ""
    """The one that broke first."""
    last: list[str] = field(default_factory=list)
    """The last events of each member that is named in what broke."""

    def text(self) -> str:
        """The plan, what broke when, and the verdict."""
        verdict = [f"BROKEN: {line}" for line in self.broken] or ["every checker held"]
        if self.checker:
            verdict.append(f"named by the checker {self.checker}; what those involved did last:")
        end = f"seed {self.plan.seed}, {self.events} events, trace {self.trace}"
        return "\n".join([self.plan.text(), *self.story, end, *verdict, *self.last])


def patience(plan: Plan) -> float:
    """Within how many seconds after the heal all must be well.

    What TCP still carries of a former time comes within 32 s; a node backs off for 15 s; whoever is lost
    counts as such for the grace; a refused node tries again after one and a half times `retry_after`.
    """
    config = plan.config
    slowest = 1.0 / (1.0 - plan.drift)
    waits = config.unreachable_after + config.grace + config.rejoin_window + 2 * config.retry_after
    if config.policy == "strict":
        # Nodes beyond the cap have their margin, then each ticket its life, and whoever is expelled as well.
        waits += config.margin + 3 * config.ticket_life
    return (60.0 + waits) * slowest


def run(
    seed: int,
    mutant: str = "",
    *,
    disks: bool = False,
    policy: Policy = "available",
    fire: float | None = None,
) -> Outcome:
    """Play `seed`, with the bug `mutant` put in, managers with `disks` or without.

    Under policy `strict` they always have disks. `fire`: things break for so many seconds only, which is
    another story, and whether the group comes to rest afterwards is not asked. Whatever the cores raise is
    a finding too.
    """
    plan = strict_plan(seed) if policy == "strict" else Plan.draw(seed, disks=disks)
    if fire is not None:
        plan = replace(plan, fire=fire, calm=min(plan.calm, fire / 3))
    with applied(MUTANTS[mutant]) if mutant else nullcontext():
        return _play(StrictFire(plan) if policy == "strict" else Fire(plan), plan, rests=fire is None)


def _play(fire: Fire, plan: Plan, *, rests: bool = True) -> Outcome:
    fire.world.events_max = EVENTS_MAX
    found: list[Finding] = []
    healed = 0.0
    try:
        fire.burn()
        fire.heal()
        healed, found = _recover(fire, rests=rests)
    except Broken as error:
        found = [Finding(error.checker, str(error))]
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        path = "/".join(where.filename.rsplit("/", 2)[-2:])
        if path.startswith("mutants/") or isinstance(error, TypeError):
            raise  # a mutant that does not fit the core any more has not been found
        name = type(error).__name__
        text = f"at {fire.world.now:.3f} s: {name} {error} in {path}:{where.lineno}"
        found = [Finding(f"raises {name}", text)]
    broken = [finding.text for finding in found]
    checker = found[0].checker if found else ""
    last = last_events([*fire.managers, *fire.nodes], broken)
    return Outcome(plan, fire.story, broken, fire.world.trace, fire.world.events, healed, checker, last)


def _amiss(fire: Fire) -> list[Finding]:
    found = unhealed_by(fire.managers)
    if fire.plan.config.policy == "strict":
        found += [Finding("lost_rights", text) for text in lost_rights(fire.managers, fire.nodes)]
        found += [Finding("not_found", text) for text in fire.watch.rights.not_found()]
        misplaced_ones = misplaced_under_rights(fire.managers, fire.nodes)
    else:
        misplaced_ones = misplaced(fire.managers, fire.nodes)
    found += [Finding("misplaced", text) for text in misplaced_ones]
    return found + [Finding("oversized", text) for text in oversized(fire.network)]


def _recover(fire: Fire, *, rests: bool) -> tuple[float, list[Finding]]:
    """Wait until all is well; if `rests`, see whether it stays so, and whether the group comes to rest."""
    world, plan = fire.world, fire.plan
    start = world.now
    while broken := _amiss(fire):
        if world.now - start > patience(plan):
            return world.now - start, _later(f"{patience(plan):.0f} s after the heal", broken)
        world.run_for(1.0)
    healed = world.now - start
    if not rests:
        return healed, []
    while any(world.now - manager.started < REST_SECONDS for manager in fire.managers):
        world.run_for(1.0)
    world.run_for(_shares_settle(plan))
    storm = _storm(fire) and _storm(fire)  # what the heal began may reach into the first ten seconds
    if storm and plan.config.limits_mode == "conserve":
        # What nodes have brought along is handed over by and by (Q6).
        world.run_for(UNPAID_SECONDS)
        storm = _storm(fire)
    broken = [Finding("too_many_packets", text) for text in storm]
    ends = world.now + patience(plan)
    while again := _amiss(fire):
        if world.now > ends:
            break
        world.run_for(0.5)
    else:
        return healed, broken
    return healed, broken + _later(f"was well {healed:.0f} s after the heal, but then", again)


def _shares_settle(plan: Plan) -> float:
    """How long to wait until the sum of shares can be judged, where that is soon."""
    lasts = [sharing.lease + sharing.reuse_last for sharing in plan.config.sharing.values()]
    return AllottedAtRest.SETTLED_AFTER + max(lasts) if lasts else 0.0


def _storm(fire: Fire) -> list[str]:
    """Who sends too much in the next ten seconds."""
    plan = fire.plan
    before = fire.network.packets.copy()
    fire.world.run_for(REST_SECONDS)
    tries = sum(not node.joined for node in fire.nodes) / (0.5 * plan.config.retry_after)
    if plan.config.policy == "strict":
        # What is renewed costs as much, at three quarters of its life, or of a ticket that is over.
        tries += 8 * len(fire.nodes) / plan.config.ephemeral_life
    return too_many_packets(fire.managers, before, fire.network.packets, REST_SECONDS, tries)


def _later(when: str, findings: list[Finding]) -> list[Finding]:
    return [Finding(finding.checker, f"{when}: {finding.text}") for finding in findings]


def cell(policy: Policy, seed: str) -> Line:
    """Work for a sweep over seeds under one policy."""
    return _line(run(int(seed), policy=policy))


def cell_with_disks(seed: str) -> Line:
    """The same, where managers have disks."""
    return _line(run(int(seed), disks=True))


def _line(outcome: Outcome) -> Line:
    return {
        "broken": outcome.broken,
        "checker": outcome.checker,
        "events": outcome.events,
        "healed_after": round(outcome.healed_after, 3),
        "trace": outcome.trace,
    }
