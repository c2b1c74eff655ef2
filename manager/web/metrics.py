"""Prometheus metrics, collected when they are asked for: nothing is counted twice."""

from collections import Counter as Count
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gossip.messages import State
from manager.core import Manager
from manager.records import NodeState
from manager.traffic import By, Sum
from node.latency import BOUNDS

SHOWN = (NodeState.ACTIVE, NodeState.UNREACHABLE, NodeState.DOWN, NodeState.REMOVED, NodeState.REFUSED)

LE_EVERY = 8
"""Metrics have every such bound: each is four times the one before, so that series stay few."""


def exposition(
    core: Manager, counts: Mapping[tuple[str, str], int], days_left: float | None
) -> tuple[bytes, str]:
    """The body of `/metrics` and its content type."""
    registry = CollectorRegistry()
    registry.register(_Manager(core, counts, days_left))
    return generate_latest(registry), CONTENT_TYPE_LATEST


class _Manager(Collector):
    def __init__(self, core: Manager, counts: Mapping[tuple[str, str], int], days_left: float | None) -> None:
        self._days_left = days_left
        self._core = core
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        core = self._core
        members = GaugeMetricFamily("kcm_members", "Members of the gossip group, by state", labels=["state"])
        by_state = Count(member.state for member in core.group.swim.members)
        for state in State:
            members.add_metric([state.name.lower()], by_state[state])
        yield members
        nodes = GaugeMetricFamily("kcm_nodes", "Gateway nodes of the group, by state", labels=["state"])
        shown = Count(view.state for view in core.registry.views())
        for node_state in SHOWN:
            nodes.add_metric([node_state.value], shown[node_state])
        yield nodes
        yield GaugeMetricFamily("kcm_nodes_connected", "Nodes that this manager serves", len(core.served()))
        yield CounterMetricFamily(
            "kcm_nodes_lost", "Nodes served here that were gone without a goodbye", core.lost
        )
        yield GaugeMetricFamily("kcm_nodes_over_limit", "Nodes that run without a seat", core.registry.over)
        yield GaugeMetricFamily(
            "kcm_seats_used", "Seats of the subscription that are taken", core.registry.used
        )
        if core.max_nodes is not None:
            yield GaugeMetricFamily("kcm_seats_max", "Seats of the subscription", core.max_nodes)
        yield GaugeMetricFamily(
            "kcm_ledger_page_bytes", "Size of this manager's page", core.group.ledger.own.size
        )
        if self._days_left is not None:
            yield GaugeMetricFamily(
                "kcm_certificate_days_left", "Until this manager's certificate expires", self._days_left
            )
        rejected = CounterMetricFamily(
            "kcm_rejected", "What was dropped or refused, by where and why", labels=["where", "reason"]
        )
        for (where, reason), count in sorted(self._counts.items()):
            rejected.add_metric([where, reason], count)
        yield rejected
        yield from self._traffic()

    def _traffic(self) -> Iterator[Metric]:
        """What the gateways of our nodes answered; a name without traffic in the window has no series."""
        core = self._core
        kinds: tuple[By, By] = ("endpoint", "backend")
        for by in kinds:
            times = HistogramMetricFamily(
                f"kcm_{by}_seconds", f"How long answers took, by {by}, where it is known", labels=[by]
            )
            requests = CounterMetricFamily(f"kcm_{by}_requests", f"What was answered, by {by}", labels=[by])
            errors = CounterMetricFamily(
                f"kcm_{by}_errors", f"Answers that failed (5xx, or none), by {by}", labels=[by]
            )
            for name, one in core.traffic.whole(by):
                times.add_metric([name], _cumulative(one), one.seconds)
                requests.add_metric([name], one.requests)
                errors.add_metric([name], one.errors)
            yield from (times, requests, errors)
        requests = CounterMetricFamily(
            "kcm_node_requests", "What a node's gateway answered, as told here", labels=["node"]
        )
        errors = CounterMetricFamily("kcm_node_errors", "… and how many of them failed", labels=["node"])
        for id_, one in core.traffic.whole("node"):
            view = core.registry.view(id_)
            if view is not None and view.shown:
                requests.add_metric([id_], one.requests)
                errors.add_metric([id_], one.errors)
        yield from (requests, errors)


def _cumulative(one: Sum) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for bucket in range(0, len(BOUNDS), LE_EVERY):
        count = sum(number for index, number in one.buckets.items() if index <= bucket)
        found.append((f"{BOUNDS[bucket]:g}", count))
    return [*found, ("+Inf", sum(one.buckets.values()))]
