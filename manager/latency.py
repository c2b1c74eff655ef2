"""Quantiles from counts in the buckets of `node.latency`: counts add up, quantiles never do."""

from collections.abc import Mapping
from math import pow

from node.latency import BOUNDS

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def quantile(buckets: Mapping[int, float], part: float) -> float | None:
    """Seconds within which that part of the answers came; None without any.

    Within its bucket by the logarithm, so that it is off by no more than the bucket is wide.
    """
    total = sum(buckets.values())
    if total <= 0:
        return None
    rank, below = part * total, 0.0
    for bucket in sorted(buckets):
        count = buckets[bucket]
        if below + count >= rank and count > 0:
            break
        below += count
    if bucket >= len(BOUNDS):
        return BOUNDS[-1]  # longer than we measure: at least this
    inside = min(1.0, max(0.0, (rank - below) / count))
    if bucket == 0:
        return BOUNDS[0] * inside
    low, high = BOUNDS[bucket - 1], BOUNDS[bucket]
    return low * pow(high / low, inside)
