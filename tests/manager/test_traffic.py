"""The window of traffic: growth between reports, merged buckets, bounded names and bytes."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.latency import quantile
from manager.packing import pack
from manager.traffic import BYS, NAMES_MAX, PAIR_STEPS, STEP_BYTES, STEPS, TOLD_BYTES, By, Sum, TrafficWindow
from manager.web.traffic import Traffic, added, shown, traffic_in
from node.latency import BOUNDS, BUCKETS, bucket_of
from node.protocol import OTHER, SERVED_MAX, Served, ServedKind
from tests.memory import bytes_of

AT = 1_800_000_000.0


def served(
    requests: int, name: str = "GET /a", kind: ServedKind = "endpoint", errors: int = 0, took: float = 0.01
) -> Served:
    return Served(kind, name, requests, errors, requests * took, (bucket_of(took), requests))


def requests(window: TrafficWindow, by: By, since: float = AT, until: float = inf) -> dict[str, int]:
    view = window.view(by, since=since, until=until)
    return {name: one.requests for name, sums in view.items() for one in sums.values()}


# Quantiles


@given(st.lists(st.floats(0.001, 60.0), min_size=1), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_is_off_by_no_more_than_its_bucket(times: list[float], part: float) -> None:
    buckets: dict[int, int] = {}
    for took in times:
        buckets[bucket_of(took)] = buckets.get(bucket_of(took), 0) + 1
    found = quantile(buckets, part)
    exact = sorted(times)[max(0, -int(-part * len(times) // 1) - 1)]
    assert found is not None
    bucket = bucket_of(exact)
    low = BOUNDS[bucket - 1] if bucket else 0.0
    assert low <= found <= BOUNDS[bucket] * (1 + 1e-9)


def test_quantiles_of_nothing_and_of_what_is_beyond_the_last_bound() -> None:
    assert quantile({}, 0.5) is None
    assert quantile({5: 0}, 0.5) is None
    assert quantile({BUCKETS - 1: 3}, 0.5) == BOUNDS[-1]


# The window


def test_the_first_report_of_a_session_is_where_counting_begins() -> None:
    window = TrafficWindow(3600.0, 10.0)
    told = window.add("n", None, [served(100)], AT)
    assert requests(window, "endpoint") == {}
    told = window.add("n", told, [served(130)], AT + 5)
    told = window.add("n", told, [served(7, "GET /b")], AT + 10)
    assert requests(window, "endpoint") == {"GET /a": 30, "GET /b": 7}
    assert requests(window, "node") == {"n": 37}
    assert requests(window, "all") == {"all": 37}


def test_backends_are_counted_by_themselves_and_by_the_node_that_asked_them() -> None:
    window = TrafficWindow(3600.0, 10.0)
    for node, count in (("n1", 5), ("n2", 6)):
        window.add(node, {}, [served(count, "b:80", "backend", errors=1)], AT)
    assert requests(window, "backend") == {"b:80": 11}
    assert requests(window, "node_backend") == {"n1 b:80": 5, "n2 b:80": 6}
    assert requests(window, "node") == {}


def test_steps_are_a_sixtieth_of_the_window_and_add_up_to_wider_ones() -> None:
    window = TrafficWindow(3600.0, 10.0)
    assert window.step == 60.0
    told = window.add("n", None, [], AT)
    for minute in range(1, 11):
        told = window.add("n", told, [served(minute)], AT + 60 * minute)
    view = window.view("endpoint", since=AT, until=inf, step=300.0)
    assert [(at - AT, one.requests) for at, one in view["GET /a"].items()] == [(0, 4), (300, 5), (600, 1)]
    assert requests(window, "endpoint", since=AT + 130, until=AT + 200) == {"GET /a": 2}


def test_what_is_older_than_the_window_is_gone_and_a_silent_name_with_it() -> None:
    window = TrafficWindow(3600.0, 10.0)
    told = window.add("n", {}, [served(1), served(1, "b", "backend")], AT)
    window.add("n", told, [served(2)], AT + 3000)
    window.expire(AT + 3700)
    assert requests(window, "endpoint", since=0.0) == {"GET /a": 1}
    assert requests(window, "backend", since=0.0) == {}
    window.expire(AT + 7000)
    assert list(window.whole("node")) == []


def test_pairs_of_node_and_backend_go_sooner() -> None:
    window = TrafficWindow(3600.0, 10.0)
    window.add("n", {}, [served(1, "b", "backend")], AT)
    window.expire(AT + (PAIR_STEPS + 1) * window.step)
    assert requests(window, "node_backend", since=0.0) == {}
    assert requests(window, "backend", since=0.0) == {"b": 1}


def test_names_are_bounded_and_what_comes_beyond_is_other() -> None:
    window = TrafficWindow(3600.0, 10.0)
    for number in range(NAMES_MAX["endpoint"] + 20):
        window.add("n", {}, [served(1, f"e{number}")], AT)
    found = requests(window, "endpoint")
    assert len(found) <= NAMES_MAX["endpoint"] + 1
    assert found[OTHER] == 20


def test_memory_is_what_is_stated() -> None:
    """In the worst case: every bucket that an answer of 1 ms to 4 s can be in, in every step."""
    window = TrafficWindow(3600.0, 10.0)
    buckets = tuple(range(0, 48, 2))
    told = window.add("n", None, [], AT)
    for minute in range(STEPS):
        pairs = tuple(number for bucket in buckets for number in (bucket, (minute + 1) * 100_000))
        count = (minute + 1) * 100_000 * len(buckets)
        told = window.add("n", told, [Served("endpoint", "e", count, 0, 1.0, pairs)], AT + 60 * minute)
    [*cells] = [cell for cells in window._cells.values() for cell in cells.values()]
    assert len(cells) == 3
    assert all(bytes_of(cell) / STEPS < STEP_BYTES for cell in cells)
    again = TrafficWindow(3600.0, 10.0)
    again.recall(window.since(0.0), AT + 60 * STEPS)
    [*cells] = [cell for cells in again._cells.values() for cell in cells.values()]
    assert all(bytes_of(cell) / STEPS < STEP_BYTES for cell in cells)
    rows = [Served("endpoint", f"GET /v1/some/endpoint/{at}", 1, 0, 1.0, pairs) for at in range(SERVED_MAX)]
    assert bytes_of(window.add("m", None, rows, AT)) / SERVED_MAX < TOLD_BYTES


def test_a_restart_goes_on_where_the_window_ended_also_within_a_step() -> None:
    window, whole = TrafficWindow(3600.0, 10.0), TrafficWindow(3600.0, 10.0)
    rows = [served(5, errors=1), served(2, "b", "backend")]
    kept: dict[tuple[float, By], list[tuple[str, bytes]]] = {}
    for seconds in (0, 30, 70, 75):
        for one in (window, whole):
            one.add("n", {}, rows, AT + seconds)
        kept |= window.since(AT + seconds - 60.0)
        window = TrafficWindow(3600.0, 10.0)
        window.recall(kept, AT + seconds)
    for by in BYS:
        assert window.view(by, since=AT, until=inf, step=60.0) == whole.view(
            by, since=AT, until=inf, step=60.0
        )
    assert window.began == AT
    assert [one.requests for _, one in window.whole("endpoint")] == [0]


def test_what_is_over_by_the_time_of_a_restart_is_not_taken_over() -> None:
    window, again = TrafficWindow(3600.0, 10.0), TrafficWindow(3600.0, 10.0)
    told = window.add("n", {}, [served(1, "b", "backend")], AT)
    window.add("n", told, [served(3, "b", "backend")], AT + 1800)
    again.recall(window.since(AT), AT + 3000)
    assert requests(again, "backend", since=0.0) == {"b": 3}
    assert requests(again, "node_backend", since=0.0) == {}
    again = TrafficWindow(3600.0, 10.0)
    again.recall(window.since(AT), AT + 3700)
    assert requests(again, "backend", since=0.0) == {"b": 2}


def test_names_that_were_kept_are_bounded_as_others_are() -> None:
    window = TrafficWindow(3600.0, 10.0)
    window.recall(
        {(AT, "endpoint"): [(f"e{at}", pack([1, 0, 0.0])) for at in range(NAMES_MAX["endpoint"] + 20)]}, AT
    )
    assert requests(window, "endpoint")[OTHER] == 20


@given(st.lists(st.integers(0, 2**63 - 1), max_size=6))
def test_no_number_that_a_node_may_say_breaks_anything(counts: list[int]) -> None:
    window = TrafficWindow(3600.0, 10.0)
    told = None
    for at, count in enumerate(counts):
        told = window.add("n", told, [Served("endpoint", "e", count, count, 1.0, (3, count))], AT + 60 * at)
    shown(window.view("node", since=0.0, until=inf))


# Several managers' answers


sums = st.builds(
    Sum,
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(0, 9).map(float),
    st.dictionaries(st.integers(0, BUCKETS - 1), st.integers(1, 9), max_size=3),
)
answers = st.dictionaries(
    st.sampled_from(["a", "b"]), st.dictionaries(st.sampled_from([0.0, 60.0]), sums, min_size=1), max_size=2
)


@given(answers, answers, answers)
def test_adding_up_commutes_and_associates(x: Traffic, y: Traffic, z: Traffic) -> None:
    assert added([x, y]) == added([y, x])
    assert added([added([x, y]), z]) == added([x, added([y, z])]) == added([x, y, z])


@given(answers)
def test_what_is_shown_is_read_again(x: Traffic) -> None:
    assert traffic_in({"traffic": shown(x), "next": None}) == (x, False)


GOOD = {"at": 0, "requests": 1, "errors": 0, "seconds": 0.1, "buckets": [1, 1]}


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {"traffic": []},
        {"traffic": {"a": {}}},
        {"traffic": {"a": [[]]}},
        *({"traffic": {"a": [{**GOOD, **bad}]}} for bad in (
            {"at": inf}, {"requests": -1}, {"errors": "x"}, {"seconds": inf}, {"buckets": [1]},
            {"buckets": [BUCKETS, 1]}, {"buckets": [1, "x"]}, {"buckets": [1, -1]},
        )),
    ],
)  # fmt: skip
def test_any_other_answer_is_none(answer: object) -> None:
    with pytest.raises(ValueError, match="not"):
        traffic_in(answer)
