"""Holds back what a manager tells others until what it wrote is on disk (rule L4).

One commit is under way at a time; what comes meanwhile is written together by the next one, so that the time
of one commit bounds the delay and not the rate.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from gossip.effects import Send
from gossip.messages import Ack, Alive, Dead, IndirectPing, Nack, Ping, Suspect
from manager.disk.saved import Changes
from manager.effects import Persist

Item = TypeVar("Item")


class Commits(Generic[Item]):
    """Items are what the shell carries out, in order; a `Persist` among them is for the disk.

    `independent(item)`: whether it says nothing that was written, and need not wait.
    """

    def __init__(self, independent: Callable[[Item], bool]) -> None:
        self._independent = independent
        self._unwritten: list[Changes] = []
        self._waiting: list[Item] = []
        self._under_way: list[Item] | None = None

    @property
    def due(self) -> bool:
        """Whether `begin` has something to write, and may."""
        return bool(self._unwritten) and self._under_way is None

    def put(self, items: Iterable[Item | Persist]) -> list[Item]:
        """What one turn asks for; gives what can be carried out at once."""
        rest: list[Item] = []
        for item in items:
            if isinstance(item, Persist):
                self._unwritten.append(item.changes)
            else:
                rest.append(item)
        if not self._unwritten and self._under_way is None:
            return rest
        free: list[Item] = []
        for item in rest:
            (free if self._independent(item) else self._waiting).append(item)
        return free

    def begin(self) -> Sequence[Changes]:
        """What to write now, in one commit; call `done` when it is on disk. Only while it is `due`."""
        assert self.due
        self._under_way, self._waiting = self._waiting, []
        changes, self._unwritten = self._unwritten, []
        return changes

    def done(self) -> list[Item]:
        """The commit is on disk: what can be carried out now."""
        assert self._under_way is not None
        released, self._under_way = self._under_way, None
        if not self._unwritten:
            released += self._waiting
            self._waiting = []
        return released


def waits_for_nothing(item: object, name: str) -> bool:
    """Whether `item` says nothing that manager `name` wrote: probes, and what it passes on about others.

    So a slow disk does not look like a dead process.
    """
    return isinstance(item, Send) and all(
        isinstance(message, Ping | Ack | Nack | IndirectPing)
        or (isinstance(message, Alive | Suspect | Dead) and message.node != name)
        for message in item.messages
    )
