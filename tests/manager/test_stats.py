"""The stats window: the last report of a step holds, and nothing outlives the window."""

from manager.stats import SERIES_MAX, StatsWindow


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


def test_the_number_of_series_is_bounded() -> None:
    window = StatsWindow(60.0, 10.0)
    for number in range(SERIES_MAX + 5):
        window.add(f"n{number}", 1, {}, 100.0)
    assert len(window.view(100.0)) == SERIES_MAX
