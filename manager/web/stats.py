"""Several managers' answers about what nodes reported, made one."""

from collections.abc import Iterable
from typing import Any, TypeAlias

Series: TypeAlias = dict[str, list[dict[str, Any]]]
"""Per node its steps, oldest first: `{"at", "nonce", "counters"}`."""


def merged(answers: Iterable[Series]) -> Series:
    """One series a node of several managers' windows.

    Counters are cumulative per (id, nonce): where two managers have the same step of a node, which moved
    within it, the larger report is the later one. They are never added up (rule I8).
    """
    steps: dict[str, dict[tuple[float, int], dict[str, Any]]] = {}
    for answer in answers:
        for id_, series in answer.items():
            known = steps.setdefault(id_, {})
            for step in series:
                key = step["at"], step["nonce"]
                if key not in known or _total(step) > _total(known[key]):
                    known[key] = step
    return {id_: [found[key] for key in sorted(found)] for id_, found in sorted(steps.items())}


def series_in(answer: object) -> tuple[Series, bool]:
    """The `nodes` of another manager's answer, and whether it has more; `ValueError` where it is none."""
    match answer:
        case {"nodes": dict(nodes), **rest} if all(
            isinstance(series, list) and all(map(_is_step, series)) for series in nodes.values()
        ):
            return nodes, rest.get("next") is not None
        case _:
            raise ValueError("not an answer about stats")


def _is_step(step: object) -> bool:
    match step:
        case {"at": int() | float() as at, "nonce": int(), "counters": dict(counters)}:
            return all(isinstance(n, int | float) and 0 <= n < 1e18 for n in (at, *counters.values()))
        case _:
            return False


def _total(step: dict[str, Any]) -> float:
    total: float = sum(step["counters"].values())
    return total
