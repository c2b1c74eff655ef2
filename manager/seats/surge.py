"""Seats beyond the cap for a rolling restart: each for one node that comes in the place of one just lost.

Whom a node came in place of stands in its record, so managers that hold the same pages count the same.
"""

from collections.abc import Collection

from manager.records import NodeRecord, NodeState
from manager.registry import NodeView, Registry

_LOST = (NodeState.REMOVED, NodeState.UNREACHABLE)


class Surge:
    """At most `seats` at once, each while the lost node holds its seat, for `seconds` after the loss."""

    def __init__(self, registry: Registry, seats: int, seconds: float) -> None:
        self._registry = registry
        self._seats = seats
        self._seconds = seconds

    def lost_like(self, newcomer: NodeRecord, wall: float) -> str:
        """The id of a node just lost that nobody came for yet, and whose name, address or fingerprint it has.

        Empty where there is none.
        """
        if not self._seats:
            return ""
        taken = self._taken()
        lost = [view for view in self._registry.unordered() if self._is_lost(view, wall)]
        for view in sorted(lost, key=lambda view: (view.record.stamp, view.id)):
            if view.id not in taken and _alike(newcomer, view.record):
                return view.id
        return ""

    @property
    def wanted(self) -> bool:
        """Whether there can be any."""
        return self._seats > 0

    def extra(self, wall: float, coming: Collection[str] = ()) -> int:
        """How many seats there are beyond the cap; `coming`: in whose place newcomers are to be let in."""
        if not self._seats:
            return 0
        views = map(self._registry.view, sorted({*self._taken(seated=True), *coming}))
        return min(self._seats, sum(view is not None and self._is_lost(view, wall) for view in views))

    def _taken(self, *, seated: bool = False) -> set[str]:
        """In whose place nodes run; unless `seated`, those too in whose place somebody waits."""
        found = {view.record.instead for view in self._registry.unordered() if view.running or view.seat}
        return found if seated else found | {view.record.instead for view in self._registry.claims()}

    def _is_lost(self, view: NodeView, wall: float) -> bool:
        return view.seat and view.state in _LOST and wall - view.since <= self._seconds


def _alike(one: NodeRecord, other: NodeRecord) -> bool:
    pairs = (one.name, other.name), (one.address, other.address), (one.fingerprint, other.fingerprint)
    return any(mine and mine == theirs for mine, theirs in pairs)
