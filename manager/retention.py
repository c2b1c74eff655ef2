"""When the page of a manager that is gone is let go of, by a note that everybody keeps to (rule L6).

Dropping by a timer of one's own would not do: whoever still has the page gives it back.
"""

from collections.abc import Iterable, Mapping

from gossip.effects import Output
from gossip.group import Group
from gossip.messages import State
from gossip.page_notes import FORGOTTEN, read_forgotten
from manager.records import GONE
from manager.registry import Registry
from manager.seats.founders import Founders

FACT = "gone/"
"""Facts `gone/<owner>`: for how many seconds we have seen it gone, as far as we ran; 0 once it is back."""
SAVED_EVERY = 3600
"""Seconds, in whole steps of which that is kept: a restart loses less than one step."""
_NOTES_EVERY = 60.0
"""Seconds: notes are looked for among all entries of our page, which may be many."""


class Retention:
    """`seconds`: how long a page is kept of a manager that is dead, left, or not known any more."""

    def __init__(
        self,
        group: Group,
        registry: Registry,
        founders: Founders | None,
        seconds: float,
        facts: Mapping[str, str],
        now: float,
    ) -> None:
        """`founders`: whose pages stay until they are expelled; `facts` are what is on disk."""
        self._group = group
        self._registry = registry
        self._founders = founders
        self._seconds = seconds
        self._gone = {name[len(FACT) :]: float(text) for name, text in facts.items() if name.startswith(FACT)}
        self._pruned: set[str] = set()
        self._looked = self._notes_at = now

    def recall(self, before: Iterable[tuple[str, bytes]], now: float) -> list[Output]:
        """Our notes from before our start stand again, if they are not over."""
        ledger = self._group.ledger
        for key, value in before:
            is_note = key.startswith(FORGOTTEN) and not self._is_over(value, now)
            if is_note and read_forgotten(ledger.own.get(key)) < read_forgotten(value):
                ledger.put(key, value, ends_something=True)
        return self._group.let_go(now)

    def pruned(self, owner: str) -> None:
        """An operator does not expect it back."""
        self._pruned.add(owner)

    def sweep(self, now: float) -> tuple[list[str], list[Output]]:
        """Let go of what is due; whose pages those were, and what follows. One manager does it for all."""
        passed, self._looked = now - self._looked, now
        ledger, output, forgotten = self._group.ledger, [], []
        alive = {self._group.name, *(member.name for member in self._group.kin())}
        self._pruned -= alive
        for owner in list(ledger.pages):
            if owner in alive:
                if self._gone.get(owner):
                    self._gone[owner] = 0.0
                continue
            self._gone[owner] = self._gone.get(owner, 0.0) + passed
            due = self._gone[owner] >= self._seconds or self._is_gone_for_good(owner)
            if due and min(alive) == self._group.name and not self._is_founder(owner):
                output += self._group.forget_page(owner, now)
                forgotten.append(owner)
                self._gone[owner] = 0.0
        if self._notes_at <= now:
            self._notes_at = now + min(_NOTES_EVERY, self._seconds / 10)
            for key, value in list(ledger.own.items()):
                if key.startswith(FORGOTTEN) and self._is_over(value, now):
                    ledger.delete(key)
        return forgotten, output

    def facts(self) -> dict[str, str]:
        """What is to be on disk."""
        return {
            FACT + owner: f"{gone // SAVED_EVERY * SAVED_EVERY:.0f}" for owner, gone in self._gone.items()
        }

    def _is_gone_for_good(self, owner: str) -> bool:
        """By its own word or an operator's, and no node is to be found on its page alone."""
        member = self._group.swim.members.get(owner)
        left = member is None or member.state in (State.LEFT, State.DEAD)
        said = owner in self._pruned or self._group.ledger.pages[owner].get(GONE) is not None
        return said and left and not self._registry.stand_at(owner)

    def _is_founder(self, owner: str) -> bool:
        founders = self._founders
        return founders is not None and owner in founders.names and owner not in founders.known.expelled

    def _is_over(self, note: bytes, now: float) -> bool:
        return self._group.wall(now) > read_forgotten(note)[1] + 2 * self._seconds
