"""The reports of one node, and which of them were answered: a part of the session."""

from collections.abc import Iterable
from math import inf

from node.protocol import Served, ServedKind

UNANSWERED_MAX = 16


class Reports:
    """Number each one by `begin`; the numbers go on from session to session."""

    def __init__(self) -> None:
        self._number = 0
        self._unanswered: dict[int, float] = {}
        self._told: dict[tuple[ServedKind, str], Served] = {}
        """What this manager has been told in this session."""

    def session_began(self) -> None:
        """No answer comes to what was said before, and this manager knows nothing of it."""
        self._unanswered.clear()
        self._told.clear()

    def begin(self, served: Iterable[Served], now: float) -> tuple[int, tuple[Served, ...]]:
        """The number of one that leaves now, and what it has to say of `served`: what has changed."""
        self._number += 1
        self._unanswered[self._number] = now
        while len(self._unanswered) > UNANSWERED_MAX:
            del self._unanswered[min(self._unanswered)]
        changed = tuple(row for row in served if self._told.get(row.key) != row)
        self._told |= {row.key: row for row in changed}
        return self._number, changed

    def answered(self, number: int) -> float:
        """When that left; negative infinity for one that is not waited for."""
        return self._unanswered.pop(number, -inf)
