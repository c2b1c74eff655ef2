"""What a gateway answered, from metrics in Prometheus' text format, as KrakenD's OpenTelemetry exporter has.

Its histograms of durations have buckets of their own; what is in one of them counts as its upper bound, so
that a percentile is never told lower than it was measured.
"""

import re
from collections.abc import Iterable, Mapping
from math import inf

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from node.gateways.errors import GatewayError
from node.latency import BUCKETS, bucket_of
from node.protocol import OTHER, ServedKind
from node.traffic import Counts

_ENDPOINTS = re.compile(r"http_(server_)?(requests?_)?duration(_seconds)?")
_BACKENDS = (
    # A gateway may have several, of which each counts the same requests: the first that it has is taken.
    re.compile(r"krakend_backend_duration(_seconds)?"),
    re.compile(r"http_client_(request_)?duration(_seconds)?"),
)
_ENDPOINT = ("http_route", "route", "path", "url_path", "handler", "endpoint", "uri")
_BACKEND = ("server_address", "upstream", "backend", "host", "http_route")
_METHOD = ("http_request_method", "http_method", "method")
_STATUS = ("http_response_status_code", "http_status_code", "status_code", "status", "code")

Key = tuple[ServedKind, str]
Series = dict[tuple[tuple[str, str], ...], list[Sample]]


def counts_in(text: str) -> dict[Key, Counts]:
    """By endpoint and by backend, since the gateway's own start; raises `GatewayError`."""
    found: dict[Key, Counts] = {}
    try:
        families = {
            family.name: family.samples
            for family in text_string_to_metric_families(text)
            if family.type == "histogram"
        }
        for name, samples in families.items():
            if _ENDPOINTS.fullmatch(name):
                _add(found, "endpoint", samples)
        for pattern in _BACKENDS:
            if samples := next((families[name] for name in families if pattern.fullmatch(name)), []):
                _add(found, "backend", samples)
                break
    except (ValueError, OverflowError) as error:
        raise GatewayError(f"its metrics are not in Prometheus' text format: {error}") from None
    return found


def _add(found: dict[Key, Counts], kind: ServedKind, samples: Iterable[Sample]) -> None:
    series: Series = {}
    for sample in samples:
        labels = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
        series.setdefault(labels, []).append(sample)
    for of_one, these in series.items():
        labels_of = dict(of_one)
        one = _counts(these, failed=_failed(labels_of))
        key: Key = kind, _name(kind, labels_of)
        found[key] = found[key].plus(one) if key in found else one


def _counts(samples: Iterable[Sample], *, failed: bool) -> Counts:
    seconds, requests, bounds = 0.0, 0, {}
    for sample in samples:
        if sample.name.endswith("_sum"):
            seconds = max(0.0, sample.value)
        elif sample.name.endswith("_count"):
            requests = int(sample.value)
        elif sample.name.endswith("_bucket"):
            bounds[float(sample.labels["le"])] = int(sample.value)
    buckets: dict[int, int] = {}
    below, longest = 0, max((bound for bound in bounds if bound < inf), default=0.0)
    for bound in sorted(bounds):
        bucket = bucket_of(bound) if bound < inf else min(BUCKETS - 1, bucket_of(longest) + 1)
        if bounds[bound] > below:
            buckets[bucket] = buckets.get(bucket, 0) + bounds[bound] - below
            below = bounds[bound]
    return Counts(requests, requests if failed else 0, seconds, buckets)


def _name(kind: ServedKind, labels: Mapping[str, str]) -> str:
    name = _first(labels, _ENDPOINT if kind == "endpoint" else _BACKEND)
    if not name or kind == "backend":
        return name or OTHER
    return f"{_first(labels, _METHOD)} {name}".strip()


def _first(labels: Mapping[str, str], names: Iterable[str]) -> str:
    return next((labels[name] for name in names if labels.get(name)), "")


def _failed(labels: Mapping[str, str]) -> bool:
    return _first(labels, _STATUS).startswith("5") or labels.get("error") == "true"
