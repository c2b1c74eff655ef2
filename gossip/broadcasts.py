"""News to pass on, least told first (memberlist's transmit-limited queue)."""

import math
from dataclasses import dataclass

from gossip.messages import Message
from gossip.wire import encode_message


def transmit_limit(members: int, mult: int) -> int:
    """In how many packets each broadcast is put; `members` counts dead and left ones too."""
    return mult * math.ceil(math.log10(members + 1))


@dataclass(slots=True)
class _Broadcast:
    message: Message
    size: int
    serial: int
    transmits: int = 0


class Broadcasts:
    """A broadcast replaces the one before it about the same subject: the queue is bounded by subjects."""

    def __init__(self) -> None:
        self._queue: dict[tuple[str, str], _Broadcast] = {}
        self._serial = 0

    def __len__(self) -> int:
        return len(self._queue)

    def queue(self, subject: tuple[str, str], message: Message) -> None:
        """Tell `message` from now on instead of what was told of `subject` (its kind, its name)."""
        self._serial += 1
        self._queue[subject] = _Broadcast(message, len(encode_message(message)), self._serial)

    @property
    def has_fresh(self) -> bool:
        """Whether something has not been told to anyone."""
        return any(item.transmits == 0 for item in self._queue.values())

    def take(self, room: int, overhead: int, limit: int, parts: int) -> list[Message]:
        """At most `parts` messages that fit into `room` bytes, each costing `overhead` more.

        They count as told, and leave the queue after `limit` tellings.

        Fewest transmits first, among these the longest that fits, among equals the newest.
        """
        taken: list[Message] = []
        order = sorted(
            self._queue.items(), key=lambda pair: (pair[1].transmits, -pair[1].size, -pair[1].serial)
        )
        for subject, item in order:
            if len(taken) == parts:
                break
            if item.size + overhead > room:
                continue
            room -= item.size + overhead
            taken.append(item.message)
            item.transmits += 1
            if item.transmits >= limit:
                del self._queue[subject]
        return taken
