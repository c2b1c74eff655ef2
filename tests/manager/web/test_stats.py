"""Several managers' stats made one: the last report, never a sum."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.web.stats import Series, merged, series_in


def step(at: float, nonce: int = 1, **counters: float) -> dict[str, Any]:
    return {"at": at, "nonce": nonce, "counters": counters}


def test_steps_that_different_managers_saw_of_one_node_are_put_in_order() -> None:
    before, after = {"n": [step(10.0, requests=1), step(20.0, requests=2)]}, {"n": [step(30.0, requests=3)]}
    whole = {"n": [step(10.0, requests=1), step(20.0, requests=2), step(30.0, requests=3)]}
    assert merged([before, after]) == merged([after, before]) == whole


def test_of_one_step_at_two_managers_the_later_report_holds_and_nothing_is_added_up() -> None:
    early, late = {"n": [step(10.0, requests=5)]}, {"n": [step(10.0, requests=8)]}
    assert merged([early, late]) == merged([late, early]) == late


def test_two_runs_of_a_node_within_a_step_stay_apart() -> None:
    first, second = {"n": [step(10.0, nonce=1, requests=5)]}, {"n": [step(10.0, nonce=2, requests=1)]}
    assert merged([first, second]) == {"n": first["n"] + second["n"]}


def test_nodes_are_listed_by_id() -> None:
    assert list(merged([{"b": []}, {"a": [step(1.0)]}])) == ["a", "b"]


steps = st.builds(
    step, at=st.sampled_from([0.0, 10.0, 20.0]), nonce=st.sampled_from([1, 2]), requests=st.integers(0, 9)
)
windows = st.dictionaries(st.sampled_from(["a", "b"]), st.lists(steps, max_size=4), max_size=2)


@given(windows, windows, windows)
def test_merging_commutes_associates_and_repeats_harmlessly(x: Series, y: Series, z: Series) -> None:
    assert merged([x, y]) == merged([y, x])
    assert merged([merged([x, y]), z]) == merged([x, merged([y, z])]) == merged([x, y, z])
    assert merged([x, y, y, x]) == merged([x, y])


def test_an_answer_of_the_promised_form_is_taken() -> None:
    series = {"n": [step(10.0, requests=1.5), step(20.0)], "m": []}
    assert series_in({"managers": {}, "nodes": series, "next": None}) == (series, False)
    assert series_in({"managers": {}, "nodes": series, "next": "n"}) == (series, True)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "nodes",
        {},
        {"nodes": []},
        {"nodes": {"n": {}}},
        {"nodes": {"n": [None]}},
        {"nodes": {"n": [{"at": 1.0, "nonce": 1}]}},
        {"nodes": {"n": [{"at": "1", "nonce": 1, "counters": {}}]}},
        {"nodes": {"n": [{"at": 1.0, "nonce": 1.5, "counters": {}}]}},
        {"nodes": {"n": [{"at": 1.0, "nonce": 1, "counters": {"requests": "1"}}]}},
        {"nodes": {"n": [{"at": 1.0, "nonce": 1, "counters": {"requests": float("nan")}}]}},
        {"nodes": {"n": [{"at": float("inf"), "nonce": 1, "counters": {}}]}},
    ],
)
def test_an_answer_of_any_other_form_is_a_value_error(answer: object) -> None:
    with pytest.raises(ValueError, match="not an answer about stats"):
        series_in(answer)
