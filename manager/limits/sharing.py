"""The cluster's limits, and what a node's part of one is: arithmetic, in requests per second.

`level` divides a limit over what nodes want; `as_share` makes of a number what a gateway can be told.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from math import ceil, inf
from operator import add
from typing import Any, Literal, TypeAlias, get_args

from gossip.pages import VALUE_BYTES_MAX
from manager.records import Setting
from node.protocol import Lease, Limit, Limits

Algorithm: TypeAlias = Literal["equal", "weighted", "fair_share"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)

LIMIT_NAME_MAX = 100
TRICKLE_EVERY = 3600.0
"""When nothing is left a node gets one request in this many seconds: no gateway accepts 0, and KrakenD reads
it as unlimited."""


def added(parts: Iterable[float]) -> float:
    """All of them together, one after the other: from 3.12 on `sum` rounds otherwise than in Python before.

    One seed shall be one story, whichever Python plays it.
    """
    return reduce(add, parts, 0)


@dataclass(frozen=True, slots=True)
class Sharing:
    """How a limit is divided, and for how long a share may be used without a manager. Seconds."""

    algorithm: Algorithm = "equal"
    lease: float = 20.0
    reuse_last: float = 60.0
    safe: float | None = None
    """`max_rate` of a node that no manager has renewed for longer; None: its part of all seats."""


@dataclass(frozen=True, slots=True)
class Division:
    """Each node gets `demand` up to `per_weight` times its weight, or `demand` and `more` for its weight."""

    per_weight: float
    more: float = 0.0

    def part(self, weight: float, demand: float) -> float:
        return demand + self.more * weight if self.more else min(demand, self.per_weight * weight)


def rate(limit: Limit) -> float:
    """Requests per second."""
    return limit.max_rate / limit.every


def level(total: float, wishes: Iterable[tuple[float, float]]) -> Division:
    """Divide `total` over (weight, demand): who wants less than its part leaves the rest to the others.

    Max-min fairness, as Doorman's fair share. Where all want less than `total` the rest is theirs by weight.
    """
    left = total
    waiting = sorted(wishes, key=lambda wish: wish[1] / wish[0])
    weights = added(weight for weight, _ in waiting)
    for weight, demand in waiting:
        if demand > left * weight / weights:
            return Division(left / weights)
        left -= demand
        weights -= weight
        if weights <= 1e-12:
            break
    weights = added(weight for weight, _ in waiting)
    return Division(inf, left / weights) if weights else Division(inf)


def as_share(per_second: float, limit: Limit) -> Limit:
    """`per_second` of `limit`, rounded down to a thousandth; below one request per window it is widened."""
    per_window = per_second * limit.every
    if per_window >= 1 - 1e-9:
        return Limit(max(1.0, int(per_window * 1000 + 1e-6) / 1000), limit.every, limit.per_client)
    if per_second < 1e-9:
        return Limit(1.0, max(TRICKLE_EVERY, limit.every), limit.per_client)
    return Limit(1.0, ceil(1000 / per_second - 1e-6) / 1000, limit.per_client)


def lease_of(limit: Limit, sharing: Sharing, cap: int | None) -> Lease:
    """What a node is told beside its share; `cap`: how many nodes may have one."""
    safe = None
    if sharing.safe is not None:
        safe = Limit(sharing.safe, limit.every, limit.per_client)
    elif cap:
        safe = as_share(rate(limit) / cap, limit)
    return Lease(sharing.lease, sharing.reuse_last, safe)


def to_plain(limits: Limits, sharing: Mapping[str, Sharing]) -> dict[str, Any]:
    """As JSON, without what has its default."""
    plain = {}
    for name, limit in limits.items():
        how = sharing.get(name, Sharing())
        entry: dict[str, Any] = {"max_rate": limit.max_rate, "every": limit.every}
        if limit.per_client:
            entry["per_client"] = True
        for field in ("algorithm", "lease", "reuse_last", "safe"):
            if (value := getattr(how, field)) != getattr(Sharing(), field):
                entry[field] = value
        plain[name] = entry
    return plain


def from_plain(plain: Mapping[str, Any]) -> tuple[Limits, dict[str, Sharing]]:
    """What `to_plain` made."""
    limits, sharing = {}, {}
    for name, entry in plain.items():
        limits[name] = Limit(entry["max_rate"], entry["every"], entry.get("per_client", False))
        how = {
            field: entry[field] for field in ("algorithm", "lease", "reuse_last", "safe") if field in entry
        }
        sharing[name] = Sharing(**how)
    return limits, sharing


def check_limits(limits: Limits, sharing: Mapping[str, Sharing]) -> None:
    """What every manager keeps in one entry of its page, and every node gets in one message.

    Raises `ValueError` that says what must be.
    """
    for name in limits:
        if not (0 < len(name) <= LIMIT_NAME_MAX and name.isprintable()):
            raise ValueError(
                f"must have names of 1 to {LIMIT_NAME_MAX} printable characters, not {name[:100]!r}"
            )
    if len(Setting(0, "x" * 128, to_plain(limits, sharing)).pack()) > VALUE_BYTES_MAX:
        raise ValueError(f"must fit into {VALUE_BYTES_MAX} bytes, some 60 limits: leave some out")
