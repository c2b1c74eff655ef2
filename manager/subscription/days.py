"""How many seats were used each day: the peak, and what 99 of 100 minutes of the day did not exceed.

A minute counts with its most seats. Of a day only the peak and the busiest 1 % of its minutes need be kept.
"""

import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from datetime import UTC, date, datetime
from math import ceil

DAYS_MAX = 400
"""Days that are kept."""
FACT = "day/"
"""Facts on disk, one a day: a day's place is its number modulo `DAYS_MAX`, so the oldest is replaced."""
_MINUTE = 60.0
_BUSIEST = ceil(86400 / _MINUTE / 100)


@dataclass(slots=True)
class Day:
    """`minutes`: how many were seen; `busiest`: the most of each of the busiest, falling."""

    date: str
    peak: int = 0
    minutes: int = 0
    busiest: list[int] = field(default_factory=list)
    cap: int | None = None
    """The last cap of the day; None without one."""

    @property
    def p99(self) -> int:
        """What 99 of 100 of its minutes did not exceed."""
        return self.busiest[self.minutes // 100] if self.minutes else self.peak

    def minute(self, most: int) -> None:
        """A minute is over."""
        self.minutes = min(self.minutes + 1, 100 * _BUSIEST - 1)
        self.busiest = sorted([*self.busiest, most], reverse=True)[:_BUSIEST]


class Days:
    """Seats by day (UTC), as this manager saw them, also before its restarts."""

    def __init__(self, facts: Mapping[str, str]) -> None:
        """`facts` are what is on disk."""
        found = [Day(*json.loads(text)) for name, text in facts.items() if name.startswith(FACT)]
        self._days = {day.date: day for day in found}
        self._changed: dict[str, Day] = {}
        self._minute = -1
        self._most = 0

    def sample(self, at: float, used: int, cap: int | None) -> None:
        """`used` seats at `at`, in seconds since 1970."""
        minute = int(at // _MINUTE)
        if minute != self._minute:
            if self._minute >= 0:
                self._changes(self._minute).minute(self._most)
            self._minute, self._most = minute, 0
        self._most = max(self._most, used)
        day = self._day(minute)
        if used > day.peak or cap != day.cap:
            day = self._changes(minute)
            day.peak, day.cap = max(day.peak, used), cap

    def _day(self, minute: int) -> Day:
        of = datetime.fromtimestamp(minute * _MINUTE, UTC).date().isoformat()
        day = self._days.setdefault(of, Day(of))
        for oldest in sorted(self._days)[:-DAYS_MAX]:
            del self._days[oldest]
        return day

    def _changes(self, minute: int) -> Day:
        day = self._day(minute)
        self._changed[day.date] = day
        return day

    def newest(self) -> list[Day]:
        """All that are kept, the newest first."""
        return [self._days[of] for of in sorted(self._days, reverse=True)]

    def take_facts(self) -> dict[str, str]:
        """What has changed since the last call and is to be on disk."""
        changed, self._changed = self._changed, {}
        return {_fact(day): json.dumps(astuple(day)) for day in changed.values()}


def _fact(day: Day) -> str:
    return f"{FACT}{date.fromisoformat(day.date).toordinal() % DAYS_MAX}"
