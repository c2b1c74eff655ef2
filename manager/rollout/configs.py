"""Plans and their contents: what operators push, what this manager holds, what it still has to fetch."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256

from manager.outbox import Outbox
from manager.records import Setting
from manager.rollout.plan import (
    BY_CHARS_MAX,
    CONFIG,
    ERROR_MARGIN,
    HISTORY_MAX,
    KINDS,
    P95_MARGIN,
    PAUSE,
    WAVES,
    WHY_CHARS_MAX,
    Phase,
    Plan,
    PlanError,
    Version,
    check_size,
)
from manager.settings import Settings

FETCH_AGAIN_AFTER = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a rollout is to go; None: by the defaults, whatever the one before was. Only `heal` stays."""

    waves: tuple[str, ...] | None = None
    max_unavailable: int | None = None
    pause: float | None = None
    error_margin: float | None = None
    p95_margin: float | None = None
    heal: bool | None = None

    def of(self, plan: Plan) -> Plan:
        """`plan` in this manner."""
        return replace(
            plan,
            waves=WAVES if self.waves is None else self.waves,
            max_unavailable=1 if self.max_unavailable is None else self.max_unavailable,
            pause=PAUSE if self.pause is None else self.pause,
            error_margin=ERROR_MARGIN if self.error_margin is None else self.error_margin,
            p95_margin=P95_MARGIN if self.p95_margin is None else self.p95_margin,
            heal=plan.heal if self.heal is None else self.heal,
        )


class Configs:
    """The plans by kind of gateway, as the settings say, and the contents by SHA-256."""

    def __init__(
        self,
        settings: Settings,
        contents: Mapping[str, bytes],
        wall: Callable[[float], float],
        outbox: Outbox,
    ) -> None:
        """`contents` are on our disk; `wall(now)` gives seconds since 1970."""
        self._settings = settings
        self._contents = dict(contents)
        self._wall = wall
        self._outbox = outbox
        self._parsed: dict[str, tuple[Setting, Plan | None]] = {}
        self._asked: dict[str, float] = {}

    def get(self, kind: str) -> tuple[Setting, Plan] | None:
        """The plan that holds for `kind`, and where it comes from."""
        setting = self._settings.get(CONFIG + kind)
        if setting is None:
            return None
        known = self._parsed.get(kind)
        if known is None or known[0] != setting:
            try:
                known = setting, Plan.from_json(setting.value)
            except ValueError:
                self._outbox.count("ledger", "bad_record")
                known = setting, None
            self._parsed[kind] = known
        return None if known[1] is None else (setting, known[1])

    def plans(self) -> dict[str, tuple[Setting, Plan]]:
        """All of them."""
        found = {kind: self.get(kind) for kind in KINDS}
        return {kind: plan for kind, plan in found.items() if plan is not None}

    # What an operator does; each raises `PlanError`

    def check(self, kind: str, content: bytes, *, force: bool) -> None:
        """What can be said of `content` without a gateway."""
        found = self._known_kind(kind)
        check_size(len(content), None if found is None else found.wanted, force=force)
        if kind == "krakend":
            try:
                parsed = json.loads(content)
            except (ValueError, RecursionError) as error:
                raise PlanError(f"KrakenD's configuration is JSON, and this is not: {error}") from None
            if not isinstance(parsed, dict):
                raise PlanError("KrakenD's configuration is a JSON object")

    def push(self, kind: str, content: bytes, by: str, manner: Manner, now: float, *, force: bool) -> Plan:
        """Let all nodes of `kind` come to run `content`."""
        self.check(kind, content, force=force)
        before = self._known_kind(kind)
        versions = () if before is None else before.versions
        hash_ = sha256(content).hexdigest()
        if (
            before is not None
            and before.wanted.sha256 == hash_
            and before.phase in (Phase.RUNNING, Phase.DONE)
        ):
            raise PlanError(
                f"this is version {before.target}, which all nodes of kind {kind} are to run already"
            )
        number = 1 + max((version.number for version in versions), default=0)
        version = Version(number, hash_, len(content), self._wall(now), by[:BY_CHARS_MAX])
        base = 0
        if before is not None:
            good = before.phase.settled or before.phase is Phase.ROLLING_BACK
            base = before.target if good else before.base
        kept = _newest((version, *versions), {number, base})
        plan = manner.of(
            Plan(versions=kept, target=number, base=base)
            if before is None
            else replace(before, versions=kept, target=number, base=base)
        )
        self._contents[hash_] = content
        return self._set(kind, replace(plan, phase=Phase.RUNNING, why="", skip_pause=0))

    def roll_back(self, kind: str, number: int | None, manner: Manner) -> Plan:
        """Let all nodes run version `number` again; None: the one before the present one."""
        plan = self._existing(kind)
        if number is None and plan.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK):
            raise PlanError(f"version {plan.base} is rolled back already: name the version to go to")
        wanted = number if number is not None else plan.base
        version = plan.version(wanted)
        if version is None:
            known = ", ".join(str(each.number) for each in plan.versions)
            raise PlanError(f"there is no version {wanted} to go back to; known: {known}")
        if version.sha256 not in self._contents:
            raise PlanError(
                f"this manager has not got version {wanted} yet: try again, or ask another manager"
            )
        plan = manner.of(replace(plan, target=wanted, base=plan.target))
        return self._set(kind, replace(plan, phase=Phase.RUNNING, why="", skip_pause=0))

    def act(self, kind: str, action: str, by: str, skip: int = 0) -> Plan:
        """`pause`, `resume`, `promote` (what is next begins without its pause) or `abort` a rollout.

        `skip`: what `skip_pause` must be for that.
        """
        plan = self._existing(kind)
        allowed = {
            "pause": plan.phase is Phase.RUNNING,
            "resume": not plan.phase.settled,
            "promote": plan.phase is Phase.RUNNING,
            "abort": plan.phase in (Phase.RUNNING, Phase.PAUSED),
        }
        if not allowed[action]:
            raise PlanError(f"the rollout for {kind} is {plan.phase.value}: there is nothing to {action}")
        if action == "resume" and plan.wanted.sha256 not in self._contents:
            raise PlanError(
                f"this manager has not got version {plan.target}: resume it on another, or push it again"
            )
        match action:
            case "pause":
                plan = replace(plan, phase=Phase.PAUSED, why=f"paused by {by}")
            case "promote":
                plan = replace(plan, skip_pause=max(plan.skip_pause + 1, skip))
            case "abort":
                plan = replace(
                    plan, phase=Phase.ABORTED, why=f"aborted by {by}; `kcm config rollback` goes back"
                )
            case _:
                rolling_back = plan.phase is Phase.ROLLING_BACK
                plan = replace(plan, phase=plan.phase if rolling_back else Phase.RUNNING, why="")
        return self._set(kind, plan)

    def conclude(self, kind: str, verdict: Phase, why: str) -> Plan:
        """The conductor's verdict; a failed rollout goes back to what was there before, if that is known."""
        plan = self._existing(kind)
        if verdict is Phase.FAILED and plan.version(plan.base) is not None:
            plan = replace(plan, target=plan.base, base=plan.target)
            verdict = Phase.ROLLING_BACK
        kept_why = plan.why if verdict is Phase.ROLLED_BACK else why
        return self._set(kind, replace(plan, phase=verdict, why=kept_why[:WHY_CHARS_MAX]))

    # Contents

    def content(self, hash_: str) -> bytes | None:
        """What has this SHA-256, if it is here."""
        return self._contents.get(hash_)

    @property
    def contents(self) -> Mapping[str, bytes]:
        """All that is here: what plans name, and what they named until the last `drop`."""
        return self._contents

    def to_fetch(self, now: float) -> Version | None:
        """One that a plan names and that is not here, newest first; not asked for again at once."""
        for _, plan in self.plans().values():
            for version in plan.versions:
                due = self._asked.get(version.sha256, now) <= now
                if version.sha256 not in self._contents and due:
                    self._asked[version.sha256] = now + FETCH_AGAIN_AFTER
                    return version
        return None

    def fetched(self, content: bytes) -> bool:
        """Take `content` where a plan names it; false where none does."""
        hash_ = sha256(content).hexdigest()
        if hash_ not in self._named():
            return False
        self._contents[hash_] = content
        self._asked.pop(hash_, None)
        return True

    def drop(self) -> None:
        """Forget what no plan names any longer."""
        named = self._named()
        for hash_ in [hash_ for hash_ in self._contents if hash_ not in named]:
            del self._contents[hash_]

    def _named(self) -> set[str]:
        return {version.sha256 for _, plan in self.plans().values() for version in plan.versions}

    def _known_kind(self, kind: str) -> Plan | None:
        if kind not in KINDS:
            raise PlanError(f"there is no gateway of kind {kind[:40]!r}; known: {', '.join(KINDS)}")
        found = self.get(kind)
        return None if found is None else found[1]

    def _existing(self, kind: str) -> Plan:
        plan = self._known_kind(kind)
        if plan is None:
            raise PlanError(
                f"no configuration for {kind} was pushed yet: `kcm config push --kind {kind} FILE`"
            )
        return plan

    def _set(self, kind: str, plan: Plan) -> Plan:
        self._settings.set(CONFIG + kind, plan.as_json())
        return plan


def _newest(versions: tuple[Version, ...], needed: set[int]) -> tuple[Version, ...]:
    """As many as are kept, `needed` among them."""
    spare = HISTORY_MAX - sum(version.number in needed for version in versions)
    kept = []
    for version in sorted(versions, key=lambda version: -version.number):
        if version.number in needed:
            kept.append(version)
        elif spare > 0:
            kept.append(version)
            spare -= 1
    return tuple(kept)
