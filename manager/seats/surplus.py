"""Whose seat is beyond the cap: policy `available` (rule A3); by tickets that is for founders to say (S7)."""

from gossip.group import Group
from manager.page import NodePage
from manager.registry import NodeView, Registry
from manager.sessions.sessions import Sessions
from manager.terms import Terms


class Surplus:
    """Marks our own nodes, and sees whether others have marked theirs."""

    def __init__(
        self, group: Group, registry: Registry, page: NodePage, terms: Terms, sessions: Sessions
    ) -> None:
        self._group = group
        self._registry = registry
        self._page = page
        self._terms = terms
        self._sessions = sessions

    def mark(self, now: float) -> None:
        """Mark our nodes that are beyond the cap by now, and unmark those within it; they are told."""
        if self._terms.config.policy == "strict":
            return
        for id_ in self._page.mark_surplus(self._seats(now), now):
            if (record := self._page.record(id_)) is not None:
                self._sessions.telling.push(id_, record, now)

    def unmarked(self, now: float) -> list[NodeView]:
        """The running nodes whose mark is not yet what the cap asks of their managers (A3)."""
        seats = self._seats(now)
        if not self._registry.over and (seats is None or self._registry.used <= seats):
            return []
        surplus = set() if seats is None else self._registry.surplus(seats)
        running = [view for view in self._registry.views() if view.running]
        return [view for view in running if view.record.over_limit != (view.id in surplus)]

    def _seats(self, now: float) -> int | None:
        """The cap, and what a surge adds to it at present; None for none."""
        cap, surge = self._terms.cap, self._sessions.admission.surge
        return None if cap is None else cap + surge.extra(self._group.wall(now))
