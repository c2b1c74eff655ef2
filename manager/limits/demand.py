"""What nodes want of a limit that is divided by `fair_share`: the requests that their gateways report.

A gateway counts all requests, also those that a limit stopped, and not by limit: the number is an upper
bound. It follows a change at once when that is large, and not at all when it is small (hysteresis).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf, log

COUNTER = "gateway_requests"
SMOOTHING = 0.5
"""Weight of the newest measurement."""
MARGIN = 0.2
"""A demand that differs by a smaller share of the one in use changes nothing."""
HEADROOM = 1.25
"""How much a node may grow, as a factor, before it is measured again."""
WANTED_MIN = 0.01
"""What a node without any request wants, per second."""
ALIKE = 1.25
"""Nodes whose demands for their weight differ by no more than this factor are published as one."""


@dataclass(slots=True)
class _Measured:
    at: float
    count: float
    smooth: float = inf
    used: float = inf


class Demand:
    """By node, requests per second."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Measured] = {}

    def measured(self, id_: str, counters: Mapping[str, float], now: float) -> bool:
        """A node reported its `counters`; whether its demand counts as another from now on."""
        count = counters.get(COUNTER)
        if count is None:
            return False
        node = self._nodes.get(id_)
        if node is None or count < node.count:
            # The first, or its gateway has started anew.
            self._nodes[id_] = _Measured(now, count, *(() if node is None else (node.smooth, node.used)))
            return False
        if now - node.at < 0.5:
            return False
        rate = (count - node.count) / (now - node.at)
        node.smooth = rate if node.smooth == inf else node.smooth + SMOOTHING * (rate - node.smooth)
        node.at, node.count = now, count
        if node.used != inf and abs(node.smooth * HEADROOM - node.used) <= MARGIN * node.used:
            return False
        node.used = node.smooth * HEADROOM
        return True

    def forget(self, id_: str) -> None:
        self._nodes.pop(id_, None)

    def of(self, id_: str) -> float:
        """What the node wants; without bound where that was never measured."""
        node = self._nodes.get(id_)
        return inf if node is None else max(node.used, WANTED_MIN)

    @staticmethod
    def alike(wishes: Iterable[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
        """The (weight, demand) of nodes, those that are alike added up: some 100 pairs at most."""
        groups: dict[float, tuple[float, float]] = {}
        for weight, demand in wishes:
            group = inf if demand == inf else round(log(demand / weight) / log(ALIKE))
            before = groups.get(group, (0.0, 0.0))
            groups[group] = before[0] + weight, before[1] + demand
        return tuple(groups[group] for group in sorted(groups))
