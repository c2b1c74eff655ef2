"""Several managers' stats made one: the last report, never a sum."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.web.stats import Series, added, columns, merged, series_in, totals_in


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


def test_the_growth_that_managers_saw_is_added_up_step_by_step() -> None:
    one, other = {10.0: {"r": 1.0}, 20.0: {"r": 2.0}}, {20.0: {"r": 3.0, "e": 1.0}}
    assert added([one, other]) == {10.0: {"r": 1.0}, 20.0: {"r": 5.0, "e": 1.0}}


def test_totals_go_to_another_manager_and_back() -> None:
    totals = {10.0: {"e": 0.0, "r": 1.0}, 20.0: {"e": 1.0, "r": 5.0}}
    assert totals_in(columns(totals)) == totals


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"at": [1], "counters": {"r": []}},
        {"at": [1], "counters": {"r": ["1"]}},
        {"at": [-1], "counters": {}},
        {"at": [True], "counters": {}},
        {"at": [1], "counters": []},
    ],
)
def test_what_is_no_answer_about_totals_is_refused(answer: object) -> None:
    with pytest.raises(ValueError, match="totals"):
        totals_in(answer)
