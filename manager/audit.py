"""Who changed what over HTTP at this manager, also before its restarts; bounded, the oldest goes first."""

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import astuple, dataclass

CHANGES_MAX = 1_000
"""Changes that are kept; with texts of a few hundred bytes they take less than a megabyte."""
FACT = "audit/"
"""Facts on disk, one a change: its place is its number modulo `CHANGES_MAX`, so the oldest is replaced."""
_TEXT_MAX = 500


@dataclass(frozen=True, slots=True)
class Change:
    """`at` in seconds since 1970; `status`: what the answer said of it."""

    number: int
    at: float
    who: str
    change: str
    status: int


class Audit:
    """The last changes."""

    def __init__(self, facts: Mapping[str, str]) -> None:
        """`facts` are what is on disk."""
        found = [Change(*json.loads(text)) for name, text in facts.items() if name.startswith(FACT)]
        found.sort(key=lambda change: change.number)
        self._changes = deque(found, CHANGES_MAX)
        self._unsaved: list[Change] = []

    def note(self, who: str, change: str, status: int, at: float) -> None:
        """One more."""
        number = self._changes[-1].number + 1 if self._changes else 1
        one = Change(number, at, who[:_TEXT_MAX], change[:_TEXT_MAX], status)
        self._changes.append(one)
        self._unsaved.append(one)

    @property
    def has_news(self) -> bool:
        """Whether `take_facts` has any."""
        return bool(self._unsaved)

    def newest(self) -> list[Change]:
        """All that are kept, the newest first."""
        return list(reversed(self._changes))

    def take_facts(self) -> dict[str, str]:
        """What is new since the last call, to be on disk."""
        unsaved, self._unsaved = self._unsaved[-CHANGES_MAX:], []
        return {f"{FACT}{one.number % CHANGES_MAX}": json.dumps(astuple(one)) for one in unsaved}
