"""What a scenario tells: a table of what was seen when, and what broke."""

from dataclasses import dataclass, field

from simulations.cluster import Cluster


@dataclass(frozen=True, slots=True)
class Row:
    """One line: at virtual second `at`, in `phase`."""

    at: float
    phase: str
    seen: str


@dataclass(slots=True)
class Report:
    """The outcome of one run; `broken` is empty where every checker held."""

    name: str
    seed: int
    rows: list[Row] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    trace: str = ""
    events: int = 0

    def see(self, cluster: Cluster, phase: str) -> None:
        """One row for each manager: the seats it counts, and the nodes by state."""
        for manager in cluster.managers:
            if not manager.alive:
                continue
            registry = manager.core.registry
            states: dict[str, int] = {}
            for view in registry.views():
                states[view.state.value] = states.get(view.state.value, 0) + 1
            nodes = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
            cap = manager.core.max_nodes
            seats = f"{registry.used}" if cap is None else f"{registry.used} of {cap}"
            over = f", {registry.over} over the limit" if registry.over else ""
            self.rows.append(Row(cluster.world.now, phase, f"{manager.name}: {seats} seats{over}; {nodes}"))

    def text(self) -> str:
        """The table, the trace and the verdict."""
        width = max(len(row.phase) for row in self.rows)
        lines = [f"{row.at:9.2f} s  {row.phase:<{width}}  {row.seen}" for row in self.rows]
        verdict = "\n".join(f"BROKEN: {item}" for item in self.broken) or "every checker held"
        return "\n".join([*lines, f"seed {self.seed}, {self.events} events, trace {self.trace}", verdict])
