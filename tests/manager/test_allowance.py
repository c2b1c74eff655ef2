"""How much one node may say: called directly."""

from hypothesis import given
from hypothesis import strategies as st

from manager.seed.allowance import Allowance


@given(st.floats(0.1, 50.0), st.lists(st.floats(0, 3), max_size=200))
def test_nobody_is_taken_more_of_than_burst_and_rate_allow(rate: float, pauses: list[float]) -> None:
    allowance, now = Allowance(rate, 10), 100.0
    for taken, pause in enumerate(pauses, start=1):
        now += pause
        now += allowance.take(now) or 0.0
        assert taken <= 10 + rate * (now - 100.0) + 1e-6


def test_whoever_reports_as_it_should_never_waits() -> None:
    allowance = Allowance(5.0, 10)
    assert all(allowance.take(1000.0 + at / 4) is None for at in range(1000))
