"""Whether the others hear us: who is heard too little lets itself be given up, once, until it is heard again.

A member that loses most of what it sends is accused by everybody all the time, and one of its many
refutations always arrives. Who disbelieved those would decide by a rate of its own, otherwise than its
neighbour. The member itself sees both sides: that many accuse it, and that its own pings are not answered. So
it decides, for all: it stands aside, which is to say that it refutes no more, calls itself a suspect, and
accuses nobody.
"""

from collections import deque
from collections.abc import Sequence

from gossip.members import Members
from gossip.messages import NodeName, State

WINDOW = 60.0
"""Seconds for which an accusation counts."""
ACCUSATIONS = 15
"""So many in that time, and so many times as often as each of the others: where all lose much, all are.
Of ten members one that loses 80 % of what it sends is accused anew 70 times, one that loses 60 % three."""
ACCUSERS = 3
"""Members that must have accused us: neither a bad one, nor the other two of three, can be meant by it."""
PINGS = 12
"""Our last pings that count. Others can forge accusations, but not these."""
UNANSWERED = 6
"""So many of them had no answer, or none in time and directly: the rest of the evidence."""
ANSWERED = 9
"""So many had one: we are heard again. On a link that loses 80 % it is one in 16,000 runs of twelve."""
_KEPT = 256


def is_unheard(accusers: Sequence[NodeName], usual: float, answered: Sequence[bool]) -> bool:
    """Whether it is our own sending that fails.

    `accusers`: by whom we were accused anew within the window; `usual`: how often each of the others was.
    """
    many = len(accusers) >= ACCUSATIONS * max(1.0, usual) and len(set(accusers)) >= ACCUSERS
    return many and answered.count(False) >= UNANSWERED


def is_heard_again(answered: Sequence[bool]) -> bool:
    """Whether it works, by our pings since we stood aside."""
    return answered.count(True) >= ANSWERED


class Hearing:
    """What speaks for it and against it. `aside`: whether we have stood aside."""

    def __init__(self, members: Members, *, stands_aside: bool) -> None:
        self.aside = False
        self._members = members
        self._stands_aside = stands_aside
        self._accusations: deque[tuple[float, NodeName]] = deque(maxlen=_KEPT)
        self._refutations: deque[float] = deque(maxlen=_KEPT)
        self._answered: deque[bool] = deque(maxlen=PINGS)

    def accused(self, accuser: NodeName, now: float) -> bool:
        """`accuser`, or whom it tells of, holds us for a suspect in spite of what we said last.

        True where that is enough to stand aside now.
        """
        member = self._members.get(accuser)
        if self.aside or not self._stands_aside or member is None or member is self._members.me:
            return False
        if member.state is not State.ALIVE:
            return False
        self._accusations.append((now, accuser))
        accusers = [name for at, name in self._accusations if at >= now - WINDOW]
        usual = sum(at >= now - WINDOW for at in self._refutations) / self._members.alive
        if is_unheard(accusers, usual, self._answered):
            self._stand(State.SUSPECT, now)
        return self.aside

    def other_refuted(self, now: float) -> None:
        """Another member had to say that it is there."""
        self._refutations.append(now)

    def pinged(self, *, answered: bool) -> None:
        """A ping of ours is over; `answered`: directly and in time."""
        self._answered.append(answered)

    def begin_anew(self) -> None:
        """What we know proves nothing: we were late ourselves, say."""
        self._accusations.clear()
        self._refutations.clear()
        self._answered.clear()

    def heard_again(self, now: float) -> bool:
        """Whether we stand aside no longer, from now on: we are heard, or too few are left to accuse us."""
        over = self.aside and (len(self._members.present()) < ACCUSERS or is_heard_again(self._answered))
        if over:
            self._stand(State.ALIVE, now)
        return over

    def _stand(self, state: State, now: float) -> None:
        me = self._members.me
        me.state, me.changed = state, now
        self.aside = state is State.SUSPECT
        self.begin_anew()
