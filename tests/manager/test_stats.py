"""The stats window: the last report of a step holds, and nothing outlives the window."""

import pytest

from manager.stats import SERIES_MAX, STEP_BYTES, Reported, StatsWindow
from tests.memory import bytes_of


def test_of_several_reports_in_a_step_the_last_one_holds() -> None:
    window = StatsWindow(60.0, 10.0)
    window.add("n", 1, {"requests": 5}, 100.0)
    window.add("n", 1, {"requests": 9}, 104.0)
    window.add("n", 1, {"requests": 12}, 110.0)
    assert window.view(111.0)["n"] == [
        {"at": 100.0, "nonce": 1, "counters": {"requests": 9}},
        {"at": 110.0, "nonce": 1, "counters": {"requests": 12}},
    ]


def test_a_restarted_agent_counts_from_zero_in_a_step_of_its_own() -> None:
    window = StatsWindow(60.0, 10.0)
    window.add("n", 1, {"requests": 5}, 100.0)
    window.add("n", 2, {"requests": 1}, 101.0)
    assert [step["nonce"] for step in window.view(102.0)["n"]] == [1, 2]


def test_what_a_node_reported_stays_until_the_window_has_passed() -> None:
    window = StatsWindow(60.0, 10.0)
    window.add("n", 1, {"requests": 5}, 100.0)
    window.expire(155.0)
    assert "n" in window.view(155.0)
    window.expire(161.0)
    assert window.view(161.0) == {}


def test_a_window_holds_at_most_its_steps() -> None:
    window = StatsWindow(60.0, 10.0)
    for second in range(1000):
        window.add("n", 1, {"requests": second}, float(second))
    assert len(window.view(999.0)["n"]) == 6


def test_a_step_of_a_node_takes_no_more_memory_than_is_stated() -> None:
    window = StatsWindow(3600.0, 10.0)
    names = ("agent_cpu", "agent_rss", "agent_uptime", "gateway_cpu", "gateway_rss", "gateway_restarts")
    for second in range(0, 3600, 10):
        # As a decoder gives them: each report has names of its own.
        counters = {f"{name}_{'seconds'}": 1e6 + second for name in names}
        window.add("n", 1, counters, float(second))
    [series] = window._series.values()
    assert len(series.steps) == 360
    assert bytes_of(series) / 360 < STEP_BYTES


def test_the_number_of_series_is_bounded() -> None:
    window = StatsWindow(60.0, 10.0)
    for number in range(SERIES_MAX + 5):
        window.add(f"n{number}", 1, {}, 100.0)
    assert len(window.view(100.0)) == SERIES_MAX


def test_totals_are_the_growth_of_all_nodes_in_each_step() -> None:
    window = StatsWindow(60.0, 10.0)
    for node in ("a", "b"):
        window.add(node, 1, {"gateway_requests": 100.0, "of_its_own": 1.0}, 100.0)
        window.add(node, 1, {"gateway_requests": 110.0, "of_its_own": 9.0}, 105.0)
        window.add(node, 1, {"gateway_requests": 150.0, "of_its_own": 9.0}, 110.0)
    assert window.totals(115.0) == {100.0: {"gateway_requests": 20.0}, 110.0: {"gateway_requests": 80.0}}


def test_totals_neither_fall_with_a_counter_nor_outlive_the_window() -> None:
    window = StatsWindow(60.0, 10.0)
    for at, requests in ((100.0, 50.0), (105.0, 3.0), (110.0, 4.0)):
        window.add("n", 1, {"gateway_requests": requests}, at)
    assert window.totals(111.0) == {100.0: {"gateway_requests": 0.0}, 110.0: {"gateway_requests": 1.0}}
    window.add("n", 1, {"gateway_requests": 5.0}, 300.0)
    assert window.totals(301.0) == {300.0: {"gateway_requests": 1.0}}


@pytest.mark.parametrize("restart", range(1, 24))
def test_what_is_recalled_by_and_by_is_as_if_there_had_been_no_restart(
    monkeypatch: pytest.MonkeyPatch, restart: int
) -> None:
    """While reports go on: also in the very step of the restart, and of agents that restarted themselves."""
    monkeypatch.setattr("manager.stats.RECALLED_AT_ONCE", 1)
    window, whole = StatsWindow(600.0, 10.0), StatsWindow(600.0, 10.0)
    kept: dict[float, list[Reported]] = {}
    for number in range(24):
        at = 1000.0 + 4.0 * number
        if number == restart:
            kept |= window.take()
            window = StatsWindow(600.0, 10.0)
            window.recall(kept, at)
        for node, every in (("a", 1), ("b", 3)):
            if number % every == 0:
                nonce = 1 + (node == "a" and number >= 9)
                counters = {"gateway_requests": float(5 * number + nonce), "agent_rss_bytes": 1.0}
                for one in (window, whole):
                    one.add(node, nonce, counters, at)
        kept |= window.take(at - at % window.step)
        window.recall_more()
    for _ in range(100):
        window.recall_more()
    assert window.view(1100.0) == whole.view(1100.0)
    # In the first step of all only its last report is kept: there is nothing that it grew from.
    assert window.totals(1100.0) | {1000.0: {}} == whole.totals(1100.0) | {1000.0: {}}
    assert not any(series.first for series in window._series.values())


def test_of_what_is_kept_only_the_window_and_no_more_nodes_than_there_may_be_are_recalled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("manager.stats.SERIES_MAX", 2)
    window = StatsWindow(60.0, 10.0)
    rows = [Reported(name, 1, {"gateway_requests": 1.0}) for name in "abc"]
    window.recall({100.0: rows, 10.0: rows, 500.0: rows}, 110.0)
    assert [(name, len(steps)) for name, steps in window.view(110.0).items()] == [("a", 1), ("b", 1)]
