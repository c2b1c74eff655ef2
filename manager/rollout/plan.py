"""A gateway configuration for all nodes of a kind, and the rollout that brings it to them: values only.

One setting for each kind of gateway, `setting/config/<kind>` (rule L7), holds a `Plan`. Whoever changes it,
by a push, a rollback, a pause or a resume, writes a newer serial, and is its conductor from then on.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from math import ceil
from typing import Any

from node.bounds import CONFIG_BYTES_MAX

CONFIG = "config/"
"""Settings that are plans are named so, followed by the gateway's kind."""
KINDS = ("command", "haproxy", "krakend", "nginx")
HISTORY_MAX = 10
"""Versions kept."""
WAVES_PATTERN = r"^(([1-9][0-9]{0,5}|[1-9][0-9]?%|100%),){0,19}100%$"
"""How many nodes have a new version at the end of each wave, in numbers or parts of all: `1,25%,100%`."""
WAVES = ("1", "25%", "100%")
PAUSE = 10.0
ERROR_MARGIN = 0.05
"""How much larger the share of errors may be at nodes with the new version than at the others."""
P95_MARGIN = 1.0
"""How much longer the 95th percentile of latency may be there, relative to that of the others."""
P95_MARGIN_MAX = 1000.0
PAUSE_MAX = 7 * 86400.0
UNAVAILABLE_MAX = 10_000
BY_CHARS_MAX = 64
WHY_CHARS_MAX = 400
"""A plan must fit into an entry of the ledger."""
MUCH_SMALLER = 0.5
"""A configuration below this part of the one before needs `force`."""


class PlanError(Exception):
    """The operator's request cannot be carried out; the text says why, and what to do."""


class Phase(StrEnum):
    """How far a rollout is."""

    RUNNING = "running"
    PAUSED = "paused"
    FAILED = "failed"
    """A node could not take it, and there is nothing to go back to: the nodes stay as they are."""
    ROLLING_BACK = "rolling back"
    """A node could not take it: those that have it go back to the version before."""
    ROLLED_BACK = "rolled back"
    ABORTED = "aborted"
    DONE = "done"

    @property
    def settled(self) -> bool:
        """Whether all have the target, but for nodes that come later: they get it one by one."""
        return self in (Phase.DONE, Phase.ROLLED_BACK)

    @property
    def moves(self) -> bool:
        """Whether nodes are being changed, also by the mere passing of time."""
        return not (self.settled or self.stands)

    @property
    def stands(self) -> bool:
        """Whether no node is changed, whatever it runs."""
        return self in (Phase.PAUSED, Phase.FAILED, Phase.ABORTED)


@dataclass(frozen=True, slots=True)
class Version:
    """A configuration by its hash; `at` is in seconds since 1970, `by` says where it came from."""

    number: int
    sha256: str
    size: int
    at: float
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The newest version stands first; `target` is the number of the one that all nodes shall run."""

    versions: tuple[Version, ...]
    target: int
    base: int
    """The version before it, 0 for none."""
    waves: tuple[str, ...] = WAVES
    """How many nodes have the new version at the end of each wave: a number, or a part of all."""
    max_unavailable: int = 1
    pause: float = PAUSE
    """Seconds for which a wave must have run well before the next begins."""
    error_margin: float = ERROR_MARGIN
    p95_margin: float = P95_MARGIN
    heal: bool = False
    """Whether a node whose file was edited by hand is given the configuration again."""
    phase: Phase = Phase.RUNNING
    why: str = ""
    skip_pause: int = 0
    """Waves that the operator has let begin without their pause."""

    def version(self, number: int) -> Version | None:
        """The version of this number, if it is kept."""
        return next((version for version in self.versions if version.number == number), None)

    @property
    def wanted(self) -> Version:
        """The version that all nodes shall run."""
        version = self.version(self.target)
        assert version is not None
        return version

    def as_json(self) -> dict[str, Any]:
        """As it stands in a setting."""
        return asdict(self) | {"phase": self.phase.value, "waves": ",".join(self.waves)}

    @classmethod
    def from_json(cls, value: object) -> "Plan":
        """Raises `ValueError` for anything else than what `as_json` gives; unknown fields are ignored."""
        try:
            assert isinstance(value, dict)
            versions = tuple(
                Version(
                    number=_whole(each["number"], 1),
                    sha256=_hash(each["sha256"]),
                    size=_whole(each["size"], 1, CONFIG_BYTES_MAX),
                    at=float(each["at"]),
                    by=str(each["by"]),
                )
                for each in value["versions"][:HISTORY_MAX]
            )
            plan = cls(
                versions=versions,
                target=_whole(value["target"], 1),
                base=_whole(value["base"]),
                waves=read_waves(value["waves"]),
                max_unavailable=_whole(value["max_unavailable"], 1),
                pause=float(value["pause"]),
                error_margin=float(value.get("error_margin", ERROR_MARGIN)),
                p95_margin=float(value.get("p95_margin", P95_MARGIN)),
                heal=bool(value["heal"]),
                phase=Phase(value["phase"]),
                why=str(value["why"]),
                skip_pause=_whole(value["skip_pause"]),
            )
        except (AssertionError, KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"not a plan: {error!r}") from None
        if plan.version(plan.target) is None:
            raise ValueError("not a plan: its target is none of its versions")
        return plan


def read_waves(text: object) -> tuple[str, ...]:
    """Waves as in `1,25%,100%`; raises `ValueError` with what they must be."""
    if not isinstance(text, str) or len(text) > 200 or not re.fullmatch(WAVES_PATTERN, text):
        raise ValueError("waves must be numbers of nodes or percentages, the last of them 100%: 1,25%,100%")
    return tuple(text.split(","))


def wave_ends(waves: Sequence[str], nodes: int) -> list[int]:
    """How many of `nodes` nodes have the new version at the end of each wave, rising."""
    ends: list[int] = []
    for text in waves:
        end = ceil(nodes * int(text[:-1]) / 100) if text.endswith("%") else int(text)
        ends.append(max([min(end, nodes), *ends]))
    return ends


def check_size(size: int, before: Version | None, *, force: bool) -> None:
    """Whether a configuration of `size` bytes may be pushed; raises `PlanError`."""
    if size == 0:
        raise PlanError("the configuration is empty: no gateway would serve anything")
    if size > CONFIG_BYTES_MAX:
        raise PlanError(f"the configuration has {size} bytes; at most {CONFIG_BYTES_MAX} are taken")
    if before is not None and size < MUCH_SMALLER * before.size and not force:
        raise PlanError(
            f"the configuration has {size} bytes, version {before.number} has {before.size}: "
            "if that much is meant to go, push it with --force"
        )


def _whole(value: object, least: int = 0, most: int = 2**53) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"not a plan: {value!r} is not a whole number from {least} to {most}")
    return value


def _hash(value: object) -> str:
    if not isinstance(value, str) or len(value) != 64 or not set(value) <= set("0123456789abcdef"):
        raise ValueError("not a plan: a SHA-256 has 64 hex digits")
    return value
