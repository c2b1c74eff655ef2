"""For how long the ticket lives, and which newer one was asked for (rules S2, S4): a part of the session.

The ticket and its life are kept in the session's state; a ticket without a life has no end.
"""

from collections.abc import Callable
from math import inf

from node.life import Clock, Life
from node.protocol import Renew

RENEW_SECONDS_MAX = 3600.0
"""A ticket that ends is shown to the manager at least this often …"""
RENEW_PART = 1 / 60
"""… or after this part of its life, if that is less."""
LAPSED_SECONDS = 15.0
"""How often a node without a living ticket asks for one."""


class Tickets:
    """`clock` tells what the host's clocks show: a ticket's life is counted by those."""

    def __init__(self, clock: Callable[[], Clock]) -> None:
        self.lapsed = False
        """Whether the life of the ticket is over, and no other has come."""
        self.lapse_at = inf
        """When that is to be looked at."""
        self.ask_at = 0.0
        """When to ask for a newer one, where the ticket has an end."""
        self._clock = clock
        self._hello = clock()
        """When the last hello was said, which asks for one too."""
        self._questions: dict[int, Clock] = {}
        """Those that may still be answered, and when they were asked."""
        self._number = 0

    def hello(self) -> None:
        """Another session: whatever the answers to what was asked before bring is not taken."""
        self._hello, self._questions, self._number = self._clock(), {}, 0

    def left(self, life: Life | None) -> float:
        """Seconds; 0 where it is over, or has no end."""
        return 0.0 if life is None else life.left(self._clock())

    def by_hello(self, seconds: float) -> Life:
        """The life of a ticket that answers the last hello."""
        return Life.asked_at(self._hello, seconds)

    def by_answer(self, number: int, seconds: float) -> Life | None:
        """The same for question `number`; None where another ticket has come since it was asked."""
        asked = self._questions.get(number)
        return None if asked is None else Life.asked_at(asked, seconds)

    def taken(self, life: Life | None, now: float) -> bool:
        """Another ticket is in the place of the one that there was; whether one lives again."""
        self._questions = {}
        left = self.left(life)
        again = self.lapsed and (life is None or left > 0)
        self.lapsed, self.lapse_at = False, inf if life is None else now + left
        return again

    def ask(self, ticket: str, life: Life, heartbeat: float, now: float) -> Renew:
        """Show what is on our disk, and ask for a newer one."""
        self._number += 1
        clock = self._questions[self._number] = self._clock()
        often = LAPSED_SECONDS if self.lapsed else min(RENEW_SECONDS_MAX, life.seconds * RENEW_PART)
        self.ask_at = now + max(heartbeat, often)
        return Renew(number=self._number, ticket=ticket, left=life.left(clock))

    def lapses(self, life: Life | None, now: float) -> bool:
        """Whether its life is over from now on."""
        if life is None or self.lapsed:
            return False
        if (left := self.left(life)) > 0:
            # Never at once: this clock and those may differ by what is lost in rounding.
            self.lapse_at = now + max(left, 0.001)
            return False
        self.lapsed, self.lapse_at = True, inf
        return True
