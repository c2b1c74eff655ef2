"""Shares of the cluster's limits."""

from math import ceil

from node.protocol import Limit, Limits


def share(limit: Limit, nodes: int) -> Limit:
    """One node's part of `limit` divided equally over `nodes`, rounded down to a thousandth.

    A part below one request per window widens the window instead: no gateway admits half a request.
    """
    rate = limit.max_rate / max(1, nodes)
    if 0 < rate < 1:
        return Limit(1.0, ceil(limit.every / rate * 1000) / 1000)
    return Limit(int(rate * 1000) / 1000, limit.every)


def shares(limits: Limits, nodes: int) -> Limits:
    """One node's part of each limit, divided equally over `nodes`."""
    return {name: share(limit, nodes) for name, limit in limits.items()}
