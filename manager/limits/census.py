"""The nodes that may use shares, as the pages of all managers say."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from manager.records import NodeState
from manager.registry import NodeView


@dataclass(slots=True)
class Census:
    """By manager, at one time."""

    running: dict[str, list[NodeView]] = field(default_factory=lambda: defaultdict(list))
    """Those among which limits are divided."""
    left: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """How many ran there last, ended ones included whose leases may not be over."""


def take_census(
    views: Iterable[NodeView], has_free_limits: Callable[[NodeView], bool], ended_since: float
) -> Census:
    """Whoever ended before `ended_since`, seconds since 1970, has nothing in force any more."""
    census = Census()
    for view in views:
        if view.running and not has_free_limits(view):
            census.running[view.manager].append(view)
        ended = view.state in (NodeState.REMOVED, NodeState.DOWN)
        if view.running or (ended and view.since > ended_since):
            census.left[view.manager] += 1
    return census
