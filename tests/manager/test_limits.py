"""Shares of limits: their sum never exceeds the limit, whatever the number of nodes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.limits import share, shares
from node.protocol import Limit


@given(st.floats(0.001, 1e9), st.floats(0.1, 3600), st.integers(1, 10_000))
def test_the_shares_together_never_exceed_the_limit(rate: float, every: float, nodes: int) -> None:
    part = share(Limit(rate, every), nodes)
    assert nodes * part.max_rate / part.every <= rate / every * (1 + 1e-9)
    assert part.max_rate > 0


def test_a_limit_is_divided_equally() -> None:
    assert shares({"public": Limit(100.0, 1.0)}, 4) == {"public": Limit(25.0, 1.0)}


def test_a_share_below_one_request_widens_the_window() -> None:
    assert share(Limit(2.0, 1.0), 10) == Limit(1.0, 5.0)


@pytest.mark.parametrize("nodes", [0, 1])
def test_one_node_or_none_has_the_whole_limit(nodes: int) -> None:
    assert share(Limit(100.0, 60.0), nodes) == Limit(100.0, 60.0)
