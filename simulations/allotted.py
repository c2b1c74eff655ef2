"""What the nodes may let through of each limit together, at every moment (rules Q2-Q5)."""

from collections.abc import Callable, Mapping

from manager.limits.sharing import added, rate
from node.leases import larger
from simulations.nodes import SimNode
from simulations.processes import SimManager

ROUNDING = 1.0001


def in_force(nodes: list[SimNode], name: str) -> float:
    """The sum over all gateways that run, of what they work under or were told."""
    return added(
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


class AllottedAtRest:
    """Once nothing has changed for as long as shares last, what all nodes have is the limit at the most (Q4).

    What a split or a lost memory multiplied is over by then. Not judged: nodes that no manager lets in or
    refuses, for they go on under what they had.
    """

    SETTLED_AFTER = 10.0
    """Seconds in which the managers have worked out the shares of what changed last, and nodes have them."""
    LOOKED_EVERY = 1.0
    """Seconds: whoever has come or gone meanwhile is not what it was."""

    def __init__(self, managers: list[SimManager], nodes: list[SimNode], fail: Callable[[str], None]) -> None:
        self._managers = managers
        self._nodes = nodes
        self._fail = fail
        self._seen: tuple[object, ...] = ()
        self._since = self._looked = 0.0
        self.judged = 0
        """How often it could be."""

    def look(self, now: float, *, calm: bool) -> None:
        """`calm`: the managers run, are connected, and see each other."""
        if not calm:
            self._since = now
        if not calm or now - self._looked < self.LOOKED_EVERY:
            return
        self._looked = now
        registries = [manager.core.registry for manager in self._managers]
        terms = [manager.core.limits for manager in self._managers]
        counts = [(one.running, one.used) for one in registries]
        seen = counts, terms, [_condition(node) for node in self._nodes]
        if seen != self._seen or any(node.alive and node.loop.busy for node in self._nodes):
            self._since = now
        self._seen = seen
        if now - self._since < self.SETTLED_AFTER:
            return
        limits = self._managers[0].core.limits
        leases = self._managers[0].core.shares.leases
        for name, limit in limits.items():
            if now - self._since >= self.SETTLED_AFTER + leases[name].lasts:
                self._shares_are_within_the_limit(name, rate(limit))

    def _shares_are_within_the_limit(self, name: str, limit: float) -> None:
        running = [node for node in self._nodes if node.alive]
        if all(node.joined or node.applied.source == "free" for node in running):
            self.judged += 1
            free = self._managers[0].core.config.free_limits
            seated = [
                n for n in running if n.applied.source != "free" and (not free or n.applied.limits != free)
            ]
            if (total := in_force(seated, name)) > limit * ROUNDING:
                self._fail(f"{len(seated)} nodes may let {total:.3f} of the {limit} of {name} through")


def _condition(node: SimNode) -> tuple[object, ...]:
    hellos = node.session.state.incarnation if node.joined else 0
    return node.alive, node.session, hellos, node.applied.source
