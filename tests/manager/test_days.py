"""Seats by day: the peak and p99 of each, kept over restarts and within bounds."""

from random import Random

from manager.disk.saved import Saved
from manager.subscription.days import DAYS_MAX, Days
from manager.terms import ManagerConfig
from tests.manager.test_keeping import Life

MIDNIGHT = 1_800_057_600.0
DAY = 86400.0


def test_p99_is_what_99_of_100_minutes_did_not_exceed() -> None:
    used = [Random(7).randrange(1000) for _ in range(1440)]
    days = Days({})
    for minute, count in enumerate([*used, 0]):
        days.sample(MIDNIGHT + 60.0 * minute, count, 1000)
    _, day = days.newest()
    assert (day.date, day.minutes, day.cap) == ("2027-01-16", 1440, 1000)
    assert (day.peak, day.p99) == (max(used), sorted(used, reverse=True)[14])
    assert len(day.busiest) == 15


def test_a_short_peak_is_a_peak_and_not_the_p99() -> None:
    days = Days({})
    for second in range(0, 7200, 30):
        days.sample(MIDNIGHT + second, 9 if second == 3600 else 4, None)
    [day] = days.newest()
    assert (day.peak, day.p99, day.minutes) == (9, 4, 119)


def test_a_minute_counts_for_the_day_that_it_began_in() -> None:
    days = Days({})
    days.sample(MIDNIGHT - 60.0, 5, 8)
    days.sample(MIDNIGHT, 3, 8)
    days.sample(MIDNIGHT + 60.0, 3, 8)
    assert [(day.peak, day.p99, day.minutes) for day in days.newest()] == [(3, 3, 1), (5, 5, 1)]


def test_the_oldest_day_makes_room_in_memory_and_on_disk() -> None:
    facts: dict[str, str] = {}
    days = Days(facts)
    for number in range(DAYS_MAX + 50):
        days.sample(MIDNIGHT + DAY * number, number, None)
        facts |= days.take_facts()
    assert len(days.newest()) == len(facts) == DAYS_MAX
    assert Days(facts).newest() == days.newest()


def test_a_clock_that_was_set_to_any_day_spoils_no_other_day() -> None:
    facts: dict[str, str] = {}
    days = Days(facts)
    for at in (MIDNIGHT, MIDNIGHT + 900 * DAY, MIDNIGHT + 901 * DAY, MIDNIGHT + 600.0, MIDNIGHT - 900 * DAY):
        days.sample(at, 2, 5)
        days.sample(at + 60.0, 1, 5)
        facts |= days.take_facts()
    again = Days(facts)
    assert again.newest() == days.newest()
    assert {"2027-01-16"} < {day.date for day in again.newest()}


def test_a_restarted_manager_knows_the_peak_of_before() -> None:
    saved = Saved()
    life = Life(saved, ManagerConfig(max_nodes=5))
    life.wait(6.0)
    for number in range(1, 4):
        life.hello(number)
    life.wait(70.0)
    again = Life(saved, ManagerConfig(max_nodes=5))
    [day] = again.core.days.newest()
    assert (day.peak, day.cap, day.minutes) == (3, 5, 1)
