"""Merges several managers' answers about what gateways answered."""

from collections.abc import Iterable
from math import isfinite
from typing import Any, TypeAlias

from manager.latency import QUANTILES, quantile
from manager.traffic import Sum
from node.latency import BUCKETS

Traffic: TypeAlias = dict[str, dict[float, Sum]]
"""By name, by the start of the step."""


def added(answers: Iterable[Traffic]) -> Traffic:
    """The sum of what managers were told: a node tells each of its answers to one of them."""
    found: Traffic = {}
    for answer in answers:
        for name, sums in answer.items():
            known = found.setdefault(name, {})
            for at, one in sums.items():
                known.setdefault(at, Sum()).add(one)
    return {name: dict(sorted(sums.items())) for name, sums in sorted(found.items())}


def shown(traffic: Traffic) -> dict[str, list[dict[str, Any]]]:
    """As the API tells it: quantiles come from the buckets of all together."""
    return {
        name: [
            {
                "at": at,
                "requests": one.requests,
                "errors": one.errors,
                "seconds": round(one.seconds, 6),
                "buckets": [number for pair in sorted(one.buckets.items()) for number in pair],
                **{key: _rounded(quantile(one.buckets, part)) for key, part in QUANTILES.items()},
            }
            for at, one in sums.items()
        ]
        for name, sums in traffic.items()
    }


def traffic_in(answer: object) -> tuple[Traffic, bool]:
    """Another manager's answer, and whether it has more; `ValueError` where it is none."""
    match answer:
        case {"traffic": dict(traffic), **rest} if all(isinstance(rows, list) for rows in traffic.values()):
            found = {name: dict(map(_row_in, rows)) for name, rows in traffic.items()}
            return found, rest.get("next") is not None
        case _:
            raise ValueError("not an answer about traffic")


def _row_in(row: object) -> tuple[float, Sum]:
    match row:
        case {
            "at": int() | float() as at,
            "requests": int(requests),
            "errors": int(errors),
            "seconds": int() | float() as seconds,
            "buckets": list(buckets),
        } if (
            isfinite(at)
            and isfinite(seconds)
            and all(isinstance(number, int) for number in buckets)
            and min(requests, errors, seconds, *buckets) >= 0
            and len(buckets) % 2 == 0
            and all(bucket < BUCKETS for bucket in buckets[::2])
        ):
            pairs = dict(zip(buckets[::2], buckets[1::2], strict=True))
            return float(at), Sum(requests, errors, float(seconds), pairs)
        case _:
            raise ValueError("not figures of traffic")


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
