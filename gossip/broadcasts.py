"""News to pass on, least told first (memberlist's transmit-limited queue)."""

import math
from bisect import bisect_left, insort
from typing import NamedTuple, TypeAlias

from gossip.messages import Message
from gossip.wire import PART_OVERHEAD, encode_message

PASSED_ON_MAX = 256
"""Of a kind that only passes through us: strangers can make as many as they like."""

_PASSED_ON = "passed on"

_Subject: TypeAlias = tuple[str, str]


def transmit_limit(members: int, mult: int) -> int:
    """In how many packets each broadcast is put, in a group of `members`."""
    return mult * math.ceil(math.log10(members + 1))


class _Place(NamedTuple):
    """Where a broadcast stands: fewest transmits first, the longest of these, the newest of equals."""

    transmits: int
    minus_size: int
    minus_serial: int


class Broadcasts:
    """A broadcast replaces the one before it about the same subject: the queue is bounded by subjects.

    It is kept in order, so that a packet costs what it holds and not what waits.
    """

    def __init__(self) -> None:
        self._places: dict[_Subject, _Place] = {}
        self._order: list[tuple[_Place, _Subject]] = []
        self._messages: dict[_Subject, Message] = {}
        self._serial = 0
        self._passed_on = 0

    def __len__(self) -> int:
        return len(self._order)

    def queue(self, subject: _Subject, message: Message) -> None:
        """Tell `message` from now on instead of what was told of `subject` (its kind, its name)."""
        if subject in self._places:
            self._remove(subject)
        self._serial += 1
        self._put(subject, message, _Place(0, -len(encode_message(message)), -self._serial))

    def pass_on(self, digest: str, message: Message, room: int) -> bool:
        """Tell what is none of our business; false where it does not fit into a packet, or too much waits."""
        if self._passed_on >= PASSED_ON_MAX or len(encode_message(message)) + PART_OVERHEAD > room:
            return False
        self.queue((_PASSED_ON, digest), message)
        return True

    @property
    def has_fresh(self) -> bool:
        """Whether something has not been told to anyone."""
        return bool(self._order) and self._order[0][0].transmits == 0

    def take(
        self, room: int, overhead: int, limit: int, parts: int, *, counted: bool = True
    ) -> list[Message]:
        """At most `parts` messages that fit into `room` bytes, each costing `overhead` more.

        Where `counted`, they count as told, and leave the queue after `limit` tellings.
        """
        taken: list[int] = []
        at = 0
        while len(taken) < parts and at < len(self._order):
            place = self._order[at][0]
            if -place.minus_size + overhead > room:
                # On to the first one as often told that fits, or to those told more often.
                fits = (_Place(place.transmits, overhead - room, -self._serial), ("", ""))
                at = bisect_left(self._order, fits, lo=at + 1)
                continue
            taken.append(at)
            room += place.minus_size - overhead
            at += 1
        messages = [self._messages[self._order[at][1]] for at in taken]
        if counted:
            told = [self._order.pop(at) for at in reversed(taken)]
            for place, subject in reversed(told):
                self._told_once_more(subject, place, limit)
        return messages

    def _told_once_more(self, subject: _Subject, place: _Place, limit: int) -> None:
        """`subject`, which is taken out of the order, is put behind what was told less often, or is over."""
        if place.transmits + 1 < limit:
            place = _Place(place.transmits + 1, place.minus_size, place.minus_serial)
            self._places[subject] = place
            insort(self._order, (place, subject))
        else:
            self._passed_on -= subject[0] == _PASSED_ON
            del self._places[subject], self._messages[subject]

    def _put(self, subject: _Subject, message: Message, place: _Place) -> None:
        self._passed_on += subject[0] == _PASSED_ON
        self._messages[subject] = message
        self._places[subject] = place
        insort(self._order, (place, subject))

    def _remove(self, subject: _Subject) -> Message:
        self._passed_on -= subject[0] == _PASSED_ON
        del self._order[bisect_left(self._order, (self._places.pop(subject), subject))]
        return self._messages.pop(subject)
