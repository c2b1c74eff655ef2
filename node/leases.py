"""What of a node's shares is in force, so long after a manager renewed its leases."""

from math import inf

from node.effects import Source
from node.protocol import Lease, Leases, Limit, Limits

_ORDER: tuple[Source, ...] = ("lease", "reuse_last", "safe")


def rate(limit: Limit) -> float:
    """Requests per second."""
    return limit.max_rate / limit.every


def smaller(limit: Limit, other: Limit) -> Limit:
    """The one that lets less through, for the clients that `limit` is about."""
    return limit if rate(limit) <= rate(other) else Limit(other.max_rate, other.every, limit.per_client)


def larger(limits: Limits, others: Limits) -> Limits:
    """Of each limit that either names, the one that lets more through."""
    merged = dict(limits)
    for name, other in others.items():
        if name not in merged or rate(other) > rate(merged[name]):
            merged[name] = other
    return merged


def in_force(limits: Limits, leases: Leases, age: float) -> tuple[Source, Limits]:
    """What holds `age` seconds after the renewal, and how far the first lease to end has come."""
    stages = {name: _stage(leases.get(name, Lease()), age) for name in limits}
    kept = {}
    for name, limit in limits.items():
        safe = leases.get(name, Lease()).safe
        kept[name] = smaller(limit, safe) if stages[name] == "safe" and safe is not None else limit
    return max(stages.values(), key=_ORDER.index, default="lease"), kept


def next_change(limits: Limits, leases: Leases, age: float) -> float:
    """The age at which `in_force` says something else."""
    ages = [inf]
    for lease in (leases.get(name, Lease()) for name in limits):
        ages += [lease.duration] if lease.safe is None else [lease.duration, lease.lasts]
    return min((at for at in ages if at > age), default=inf)


def shortest(limits: Limits, leases: Leases) -> float:
    """Seconds of the lease that ends first."""
    return min((leases.get(name, Lease()).duration for name in limits), default=inf)


def _stage(lease: Lease, age: float) -> Source:
    if age < lease.duration:
        return "lease"
    return "safe" if age >= lease.lasts and lease.safe is not None else "reuse_last"
