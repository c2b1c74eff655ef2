"""What a conductor does next: a function of its plan, of the nodes as the pages show them, and of time.

Rules are named as in `STATE.md` § Configuration: a turn (T1) comes back by what is seen of its node, never by
a clock (T2); who is out for other reasons is subtracted (T3).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from manager.records import Mark, SessionKey, Turn
from manager.rollout.orders import is_in_service
from manager.rollout.plan import Phase, Plan, wave_ends
from manager.rollout.tally import Tally
from node.protocol import ConfigState

REQUESTS_MIN = 50
"""With fewer requests on either side, error rates are not compared."""
TIMED_MIN = 200
"""With fewer timed requests on either side, latencies are not compared …"""
P95_LEAST = 0.05
"""… and a difference of fewer seconds does not count."""
WORSE_BY = 0.1
"""How much larger the share of unhealthy nodes may be among the changed ones than among the others."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A node of the plan's kind. `active`: its manager hears it."""

    id: str
    session: SessionKey
    active: bool
    config: ConfigState

    @property
    def well(self) -> bool:
        """Whether it may get traffic, as far as is known."""
        return self.active and self.config.ready

    @property
    def in_turn(self) -> bool:
        """Whether it is out by a turn, also one for limits or an ordered restart: that is no sign either."""
        return self.active and (self.config.changing or self.config.service == "restarting")

    @property
    def kept_out(self) -> bool:
        """Whether an operator keeps it out of service: that says nothing about what it runs."""
        return self.active and bool(self.config.service) and is_in_service(self.config)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is to be done now. `wait` says what the rollout waits for, empty where nothing is left to do."""

    permit: tuple[str, ...] = ()
    """Nodes that get a turn."""
    verdict: Phase | None = None
    why: str = ""
    wait: str = ""
    done: int = 0
    nodes: int = 0
    wave: int = 0
    skip: int = 0
    """The plan's `skip_pause` by which it would not wait for the pause any more; 0 where it does not."""


class Conductor:
    """Decides for one plan after the other; remembers only what it has seen of the present one."""

    def __init__(self) -> None:
        self._mark = (0, "")
        self._complete: dict[int, float] = {}
        """Since when its waves are."""
        self._had_nodes = False

    def step(
        self,
        plan: Plan,
        mark: Mark,
        nodes: Sequence[Standing],
        held: Collection[str],
        now: float,
        answered: Tally | None = None,
    ) -> Step:
        """`mark` is the plan's; `nodes` are all that run and take configurations.

        `held`: ids with a turn that has not come back. `answered`: by the gateways since the rollout began.
        """
        if mark != self._mark:
            self._mark, self._complete, self._had_nodes = mark, {}, False
        self._had_nodes = self._had_nodes or bool(nodes)
        ranked = sorted(nodes, key=lambda node: node.id)
        step = self._next(plan, ranked, held, now, answered)
        done = sum(node.config.running == plan.wanted.sha256 for node in ranked)
        return replace(step, done=done, nodes=len(ranked))

    def _next(
        self,
        plan: Plan,
        ranked: Sequence[Standing],
        held: Collection[str],
        now: float,
        answered: Tally | None,
    ) -> Step:
        """What is to be done, or waited for: a standstill, a failure, the end, a pause, or turns."""
        if plan.phase.stands:
            return Step(wait=plan.why or plan.phase.value)
        if plan.phase is Phase.RUNNING and (why := _failure(plan, ranked, answered)):
            return Step(verdict=Phase.FAILED, why=why)
        todo = [node for node in ranked if _is_to_change(node, plan)]
        end = len(plan.waves)
        if not todo and not held:
            if plan.phase is Phase.RUNNING and (wait := self._last_wave(plan, ranked, now)):
                return Step(wait=wait, wave=end - 1, skip=end)
            came_to_all = plan.phase in (Phase.RUNNING, Phase.DONE)
            return Step(verdict=_end_of(plan.phase), wave=end - 1 if came_to_all else 0)
        if todo:
            self._complete.pop(end, None)
        wave = 0
        if plan.phase is Phase.RUNNING:
            wave, wait = self._wave(plan, ranked, now)
            if wait:
                return Step(wait=wait, wave=wave, skip=wave)
            first = {node.id for node in ranked[: wave_ends(plan.waves, len(ranked))[wave]]}
            todo = [node for node in todo if node.id in first]
        out = [node.id for node in ranked if not node.well and node.id not in held]
        room = max(0, plan.max_unavailable - len(held) - len(out))
        able = [node for node in todo if node.id not in held and self._is_able(node, plan)]
        # Whoever is out of service already is not taken out by us, and it may be what heals it.
        free = [node.id for node in able if not node.well]
        permit = (*free, *[node.id for node in able if node.well][:room])
        return Step(permit=permit, wait=_waits_for({*permit, *held}, out, todo, plan), wave=wave)

    def _is_able(self, node: Standing, plan: Plan) -> bool:
        """Whether it has the version, checked, and knows this very plan: its turn would be used at once."""
        knows = node.config.plan_serial, node.config.plan_writer
        return node.active and node.config.staged == plan.target and knows == self._mark

    def _wave(self, plan: Plan, ranked: Sequence[Standing], now: float) -> tuple[int, str]:
        """The present wave, and what must still pass before it may begin."""
        target = plan.wanted.sha256
        for wave, end in enumerate(wave_ends(plan.waves, len(ranked))):
            if all(node.config.running == target and (node.well or node.kept_out) for node in ranked[:end]):
                self._complete.setdefault(wave, now)
                continue
            if wave == 0 or wave <= plan.skip_pause:
                return wave, ""
            if now >= self._complete.setdefault(wave - 1, now) + plan.pause:
                return wave, ""
            return wave, f"wave {wave + 1} begins when wave {wave} has run well for {plan.pause:g} s"
        return len(plan.waves) - 1, ""

    def _last_wave(self, plan: Plan, ranked: Sequence[Standing], now: float) -> str:
        """What must still pass before a rollout that has come to all is done."""
        end = len(plan.waves)
        if not ranked:
            self._complete.pop(end, None)
            left = self._had_nodes and plan.skip_pause < end
            return "no node is left that could show how it runs" if left else ""
        over = now >= self._complete.setdefault(end, now) + plan.pause
        return "" if over or plan.skip_pause >= end else f"done when all have run well for {plan.pause:g} s"


def is_back(turn: Turn, node: Standing | None, plan: Plan | None) -> bool:
    """Whether the turn's node is seen to be in service, and can no longer go out by this turn (rule T2)."""
    if node is None or not is_in_service(node.config) or node.session < turn.session:
        return False
    if node.session > turn.session:
        return True  # a permit holds in one session only, and in a newer one it says that it is in service
    if (node.config.plan_serial, node.config.plan_writer) > turn.mark:
        return True
    if plan is None:
        return False
    return node.config.running == plan.wanted.sha256 or node.config.failed == plan.target


def drifted(node: Standing, plan: Plan) -> bool:
    """Whether its configuration is no longer the one that it was brought."""
    config, target = node.config, plan.wanted
    return config.version == target.number and not config.running == config.on_disk == target.sha256


def _is_to_change(node: Standing, plan: Plan) -> bool:
    config, target = node.config, plan.wanted
    if config.running == config.on_disk == target.sha256:
        return False
    if plan.phase is Phase.RUNNING:
        return True
    if config.failed == target.number:
        return False
    if plan.phase is Phase.ROLLING_BACK:
        # Whoever runs none of ours has not been touched.
        return config.running in {version.sha256 for version in plan.versions}
    return plan.heal or config.version != target.number


def _failure(plan: Plan, ranked: Sequence[Standing], answered: Tally | None) -> str:
    """Why the rollout must not go on, empty where nothing speaks against it."""
    done = [node for node in ranked if node.config.running == plan.wanted.sha256]
    why = _failed(ranked, plan) or _worse(done, ranked)
    if not why and answered is not None:
        why = _errs(plan, answered) or _lags(plan, answered)
    return why


def _failed(nodes: Sequence[Standing], plan: Plan) -> str:
    failed = [node for node in nodes if node.config.failed == plan.target]
    return f"{failed[0].id}: {failed[0].config.note}" if failed else ""


def _worse(done: Sequence[Standing], all_: Sequence[Standing]) -> str:
    """Why the nodes changed so far are worse than the rest, empty if they are not."""
    judged = [node for node in all_ if not node.kept_out and not node.in_turn]
    has_it = {node.id for node in done}
    done = [node for node in judged if node.id in has_it]
    rest = [node for node in judged if node.id not in has_it]
    ill = [node.id for node in done if not node.well]
    well = sum(node.well for node in rest)
    if not ill or len(ill) / len(done) <= (1 - well / len(rest) if rest else 0.0) + WORSE_BY:
        return ""
    others = f"{well} of {len(rest)} without it are" if rest else f"so are {len(ill)} of all {len(done)}"
    return f"{ill[0]} has it and is not well; {others}"


def _errs(plan: Plan, answered: Tally) -> str:
    """Why the nodes changed so far answer worse than was answered without it, empty if they do not."""
    new, rest = answered.new, answered.rest
    if min(new.requests, rest.requests) < REQUESTS_MIN or new.rate <= rest.rate + plan.error_margin:
        return ""
    return (
        f"of {new.requests:.0f} requests {new.rate:.1%} were answered with an error by nodes that have it, "
        f"{rest.rate:.1%} without it; error_margin is {plan.error_margin:.1%}"
    )


def _lags(plan: Plan, answered: Tally) -> str:
    """Why they answer more slowly than was answered without it, empty if they do not."""
    new, rest = answered.new.p95, answered.rest.p95
    if new is None or rest is None or min(answered.new.timed, answered.rest.timed) < TIMED_MIN:
        return ""
    if new <= rest * (1 + plan.p95_margin) or new <= rest + P95_LEAST:
        return ""
    return (
        f"nodes that have it answer 95 % of requests within {new * 1000:.0f} ms, {rest * 1000:.0f} ms "
        f"without it; p95_margin is {plan.p95_margin:.0%}"
    )


def _end_of(phase: Phase) -> Phase | None:
    match phase:
        case Phase.RUNNING:
            return Phase.DONE
        case Phase.ROLLING_BACK:
            return Phase.ROLLED_BACK
        case _:
            return None


def _waits_for(turns: set[str], out: Sequence[str], todo: Sequence[Standing], plan: Plan) -> str:
    if turns:
        return f"may be out of service for it: {', '.join(sorted(turns))}"
    if len(out) >= plan.max_unavailable:
        names = ", ".join(out[:3])
        return f"not in service for other reasons: {names}; max_unavailable is {plan.max_unavailable}"
    missing = [node.id for node in todo if node.config.staged != plan.target]
    return f"not yet fetched and checked by {', '.join(missing[:3])}" if missing else ""
