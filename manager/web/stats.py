"""Merges several managers' answers about what nodes reported."""

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


Totals: TypeAlias = dict[float, dict[str, float]]
"""By the start of each step how much each counter grew in it, over all nodes."""


def added(answers: Iterable[Totals]) -> Totals:
    """The growth that several managers saw, each of nodes of its own."""
    found: Totals = {}
    for answer in answers:
        for start, total in answer.items():
            sums = found.setdefault(start, {})
            for name, grown in total.items():
                sums[name] = sums.get(name, 0.0) + grown
    return dict(sorted(found.items()))


def totals_in(answer: object) -> Totals:
    """The columns of another manager's answer as `Totals`; `ValueError` where it is none."""
    match answer:
        case {"at": list(at), "counters": dict(counters)} if all(map(_is_amount, at)) and all(
            isinstance(column, list) and len(column) == len(at) and all(map(_is_amount, column))
            for column in counters.values()
        ):
            return {
                start: {name: column[row] for name, column in counters.items()}
                for row, start in enumerate(at)
            }
        case _:
            raise ValueError("not an answer about totals")


def columns(totals: Totals) -> dict[str, Any]:
    """`totals` as a chart takes them; 0 where nothing was counted."""
    names = sorted({name for total in totals.values() for name in total})
    counters = {name: [round(total.get(name, 0.0), 3) for total in totals.values()] for name in names}
    return {"at": list(totals), "counters": counters}


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e18


def _is_step(step: object) -> bool:
    match step:
        case {"at": int() | float() as at, "nonce": int(), "counters": dict(counters)}:
            return all(map(_is_amount, (at, *counters.values())))
        case _:
            return False


def _total(step: dict[str, Any]) -> float:
    total: float = sum(step["counters"].values())
    return total
