"""What of a node's shares is in force; `renewed` is when that left which a manager answered last."""

from dataclasses import replace
from math import inf

from node.effects import Source
from node.protocol import Lease, Leases, Limit, Limits

SPREAD_SECONDS = 60.0
"""Within so long before the time, nodes whose gateways restart for limits fall to those without managers."""
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


def in_force(limits: Limits, leases: Leases, renewed: float, now: float) -> tuple[Source, Limits]:
    """What holds at `now`, and how far the first lease to end has come."""
    stages = {name: _stage(leases.get(name, Lease()), renewed, now) for name in limits}
    kept = {}
    for name, limit in limits.items():
        safe = leases.get(name, Lease()).safe
        kept[name] = smaller(limit, safe) if stages[name] == "safe" and safe is not None else limit
    return max(stages.values(), key=_ORDER.index, default="lease"), kept


def next_change(limits: Limits, leases: Leases, renewed: float, now: float) -> float:
    """When, after `now`, `in_force` says something else; infinite for never."""
    ends = [inf]
    for lease in (leases.get(name, Lease()) for name in limits):
        ends.append(renewed + lease.duration)
        if lease.safe is not None:
            ends.append(renewed + lease.lasts)
    return min((end for end in ends if end > now), default=inf)


def ended_early(leases: Leases, part: float) -> Leases:
    """The same, with `reuse_last` over earlier by this part of half of it, or of `SPREAD_SECONDS`."""
    if not part:
        return leases
    return {
        name: replace(lease, reuse_last=lease.reuse_last - part * min(SPREAD_SECONDS, lease.reuse_last / 2))
        for name, lease in leases.items()
    }


def shortest(limits: Limits, leases: Leases) -> float:
    """Seconds of the lease that ends first."""
    return min((leases.get(name, Lease()).duration for name in limits), default=inf)


def _stage(lease: Lease, renewed: float, now: float) -> Source:
    # Compared as in `next_change`, and not by a difference: a sum and a difference round differently.
    if now < renewed + lease.duration:
        return "lease"
    return "safe" if now >= renewed + lease.lasts and lease.safe is not None else "reuse_last"
