"""What the nodes may let through of each limit together, at every moment (rules Q2-Q5)."""

from collections.abc import Callable, Mapping

from manager.limits import rate
from node.leases import larger
from simulations.nodes import SimNode
from simulations.processes import SimManager

ROUNDING = 1.0001


def in_force(nodes: list[SimNode], name: str) -> float:
    """The sum over all gateways that run, of what they work under or were told."""
    return sum(
        rate(limits[name])
        for node in nodes
        if node.alive and name in (limits := larger(node.applied.limits, node.session.state.in_force))
    )


class Allotted:
    """Compares the sum in force with the limit, as often as it is asked to.

    While the managers are connected and none starts afresh the limit is the bound. A split or a manager that
    lost its memory may multiply it by as many as there are sides (`available`); `bound` says by how much.
    """

    def __init__(
        self,
        managers: list[SimManager],
        nodes: list[SimNode],
        limits: Mapping[str, float],
        fail: Callable[[str], None],
        bound: Callable[[], float] = lambda: 1.0,
    ) -> None:
        self._managers = managers
        self._nodes = nodes
        self._limits = limits
        self._fail = fail
        self._bound = bound
        self.highest: dict[str, float] = dict.fromkeys(limits, 0.0)
        """The largest sum of each, as a part of the limit."""

    def follow(self, nodes: list[SimNode]) -> None:
        """Look whenever the gateway of one of `nodes` works under other limits."""
        for node in nodes:
            node.limits_changed = self.look

    def look(self) -> None:
        """Compare now."""
        for name, limit in self._limits.items():
            part = in_force(self._nodes, name) / limit
            self.highest[name] = max(self.highest[name], part)
            if part > self._bound() * ROUNDING:
                self._fail(f"the nodes may let {part:.3f} of limit {name} through")
