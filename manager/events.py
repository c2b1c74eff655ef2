"""What has happened, as this manager saw it: the last events, numbered, for people who ask why."""

from collections import deque
from dataclasses import dataclass
from itertools import islice

from manager.records import NodeState
from manager.registry import NodeView

EVENTS_MAX = 5_000
"""More are forgotten, the oldest first: some 2 MB."""


@dataclass(frozen=True, slots=True)
class Event:
    """`subject`, shown as `name`, went from `before` to `state`, as manager `by` saw it, because of `why`.

    `kind` is `node`, `gateway`, `member`, `subscription` or `manager`; `at` is in seconds since 1970. Ids
    rise, also over restarts of a manager: they begin with the milliseconds since 1970 of its start.
    """

    id: int
    at: float
    kind: str
    subject: str
    name: str
    before: str
    state: str
    why: str
    by: str


class EventLog:
    """The last `EVENTS_MAX` events at manager `owner`. `started` is in seconds since 1970."""

    def __init__(self, owner: str, started: float) -> None:
        self._owner = owner
        self._events: deque[Event] = deque(maxlen=EVENTS_MAX)
        self.last = int(started * 1000)
        """The id of the newest event, or what is just below that of the first."""

    # Writing

    def note(self, kind: str, subject: str, before: str, state: str, why: str, at: float) -> None:
        """Something that this manager saw itself."""
        self._add(at, kind, subject, subject, before, state, why, self._owner)

    def node_changed(self, before: NodeView | None, after: NodeView | None, at: float) -> None:
        """A node as it was listed and as it is; None where it was not, or is no longer."""
        view = after or before
        if view is None:
            return
        id_, name, by = view.id, view.record.name, view.manager
        was, is_ = _stand(before), _stand(after)
        moved = before and after and after.running and before.manager != after.manager
        if was != is_ or moved:
            why = view.why if after is not None else "forgotten"
            self._add(at, "node", id_, name, was, is_, why, by)
        if before and after and before.record.gateway != after.record.gateway:
            self._add(at, "gateway", id_, name, before.record.gateway, after.record.gateway, "", by)

    def _add(
        self, at: float, kind: str, subject: str, name: str, before: str, state: str, why: str, by: str
    ) -> None:
        self.last += 1
        self._events.append(Event(self.last, at, kind, subject, name, before, state, why, by))

    # Reading

    def after(self, id_: int, count: int) -> list[Event]:
        """The first `count` events later than `id_`, oldest first."""
        missed = max(0, min(len(self._events), self.last - id_))
        return list(islice(self._events, len(self._events) - missed, len(self._events) - missed + count))

    def before(self, id_: int, count: int, subject: str | None = None) -> list[Event]:
        """The last `count` events earlier than `id_`, newest first; of this id or name where one is given."""
        found = (e for e in reversed(self._events) if e.id < id_ and subject in (None, e.subject, e.name))
        return list(islice(found, count))

    def holds_all_since(self, id_: int) -> bool:
        """Whether nothing later than `id_` is forgotten, and `id_` is not of the future."""
        return self.last - len(self._events) <= id_ <= self.last


def _stand(view: NodeView | None) -> str:
    """How a node stands, in the words of an event; nothing where it is not listed."""
    if view is None:
        return ""
    over = ", over the limit" if view.record.over_limit and view.running else ""
    held = ", seat held" if view.seat and view.state is not NodeState.ACTIVE else ""
    return f"{view.state.value}{over}{held}"
