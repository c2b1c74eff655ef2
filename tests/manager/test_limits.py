"""Shares of limits: their sum never exceeds the limit, whatever the nodes and what they want."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.limits.sharing import (
    TRICKLE_EVERY,
    Sharing,
    as_share,
    from_plain,
    lease_of,
    level,
    rate,
    to_plain,
)
from node.bounds import in_words
from node.protocol import Lease, Limit

wishes = st.lists(st.tuples(st.floats(0.1, 100.0), st.floats(0.0, 1e4)), min_size=1, max_size=20)


@given(st.floats(0.1, 1e6), wishes)
def test_the_parts_together_are_the_limit_or_all_that_is_wanted(
    total: float, wanted: list[tuple[float, float]]
) -> None:
    division = level(total, wanted)
    given_out = sum(division.part(*wish) for wish in wanted)
    assert given_out == pytest.approx(total, rel=1e-6)


@given(st.floats(0.1, 1e6), wishes)
def test_nobody_has_more_for_its_weight_than_one_whose_wish_is_cut(
    total: float, wanted: list[tuple[float, float]]
) -> None:
    division = level(total, wanted)
    parts = [division.part(*wish) for wish in wanted]
    cut = [
        part / weight for (weight, demand), part in zip(wanted, parts, strict=True) if part < demand - 1e-6
    ]
    if cut:
        assert (
            max(part / weight for (weight, _), part in zip(wanted, parts, strict=True)) <= min(cut) * 1.0001
        )


def test_equal_wishes_are_equal_parts_and_weights_count() -> None:
    assert level(300.0, [(1.0, 300.0)] * 3).part(1.0, 300.0) == 100.0
    division = level(300.0, [(1.0, 300.0), (2.0, 300.0)])
    assert (division.part(1.0, 300.0), division.part(2.0, 300.0)) == (100.0, 200.0)


def test_what_one_node_does_not_want_goes_to_those_that_do() -> None:
    division = level(300.0, [(1.0, 300.0), (1.0, 300.0), (1.0, 20.0)])
    assert (division.part(1.0, 300.0), division.part(1.0, 20.0)) == (140.0, 20.0)


def test_what_nobody_wants_is_divided_too_so_that_all_may_grow() -> None:
    division = level(300.0, [(1.0, 50.0), (1.0, 100.0)])
    assert (division.part(1.0, 50.0), division.part(1.0, 100.0)) == (125.0, 175.0)


@given(st.floats(1e-3, 1e9), st.floats(0.1, 3600))
def test_what_a_gateway_is_told_is_never_more_than_its_share(per_second: float, every: float) -> None:
    told = as_share(per_second, Limit(1.0, every))
    assert rate(told) <= per_second * (1 + 1e-6)
    assert told.max_rate >= 1


@pytest.mark.parametrize(
    ("per_second", "limit", "told"),
    [
        (25.0, Limit(100.0), Limit(25.0, 1.0)),
        (0.2, Limit(2.0), Limit(1.0, 5.0)),
        (100.0 / 60, Limit(100.0, 60.0), Limit(100.0, 60.0)),
        (5.0, Limit(10.0, per_client=True), Limit(5.0, per_client=True)),
        (0.0, Limit(10.0), Limit(1.0, TRICKLE_EVERY)),
    ],
)
def test_a_share_below_one_request_widens_the_window_and_none_is_zero(
    per_second: float, limit: Limit, told: Limit
) -> None:
    assert as_share(per_second, limit) == told


def test_what_is_safe_is_the_part_of_one_seat_unless_it_is_given() -> None:
    limit = Limit(300.0)
    assert lease_of(limit, Sharing(), 10) == Lease(20.0, 60.0, Limit(30.0))
    assert lease_of(limit, Sharing(lease=5.0, reuse_last=0.0, safe=7.0), 10) == Lease(5.0, 0.0, Limit(7.0))
    assert lease_of(limit, Sharing(), None).safe is None


def test_a_setting_is_read_as_it_was_written() -> None:
    limits = {"a": Limit(1.5, 2.0, per_client=True), "b": Limit(3.0)}
    sharing = {"a": Sharing("fair_share", 5.0, 0.0, 1.0), "b": Sharing()}
    assert from_plain(to_plain(limits, sharing)) == (limits, sharing)


@pytest.mark.parametrize(
    ("share", "told"),
    [((149.999, 1.0), "150 per 1 s"), ((0.002, 60.0), "0.002 per 60 s"), ((123456.7, 1.0), "123457 per 1 s")],
)
def test_people_are_spared_what_rounding_left_of_a_share(share: tuple[float, float], told: str) -> None:
    assert in_words(*share) == told
