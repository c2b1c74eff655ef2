"""What must hold, always or once all is healed: each gives what broke, as lines of text."""

from collections import Counter
from collections.abc import Iterable

from simulations.processes import SimManager


def disagreements(managers: Iterable[SimManager]) -> list[str]:
    """Where the living managers' views of members, nodes and subscription differ from the first one's."""
    living = [manager for manager in managers if manager.alive]
    broken = []
    for manager in living[1:]:
        for what, ours, theirs in zip(
            ("members", "nodes", "subscription"), _views(living[0]), _views(manager), strict=True
        ):
            for item in sorted(map(repr, ours ^ theirs)):
                broken.append(f"{what}: {living[0].name} and {manager.name} differ in {item}")
    return broken


def _views(manager: SimManager) -> tuple[set[tuple[object, ...]], ...]:
    core = manager.core
    members: set[tuple[object, ...]] = {(m.name, m.state.name, m.address) for m in core.group.swim.members}
    nodes: set[tuple[object, ...]] = {
        (v.id, v.state.value, v.record.incarnation, v.manager, v.seat) for v in core.registry.views()
    }
    setting = core.settings.get("subscription")
    return members, nodes, {(core.max_nodes, core.registry.used, setting and setting.serial)}


def dead_while_alive(managers: Iterable[SimManager]) -> list[str]:
    """Living managers that another living one does not see alive."""
    living = [manager for manager in managers if manager.alive]
    names = {manager.name for manager in living}
    broken = []
    for manager in living:
        seen = {member.name for member in manager.core.group.kin()} | {manager.name}
        broken += [f"{manager.name} does not see {name} alive" for name in sorted(names - seen)]
    return broken


def oversold(managers: Iterable[SimManager]) -> list[str]:
    """Managers that count more seats than the cap."""
    return [
        f"{manager.name} counts {manager.core.registry.used} seats of {manager.core.max_nodes}"
        for manager in managers
        if manager.alive and manager.core.max_nodes is not None
        if manager.core.registry.used > manager.core.max_nodes
    ]


def connected_twice(managers: Iterable[SimManager]) -> list[str]:
    """Ids that two managers serve at once."""
    served = Counter(id_ for manager in managers if manager.alive for id_ in manager.core.served())
    return [f"{id_} is served by {count} managers" for id_, count in sorted(served.items()) if count > 1]


def unhealed(managers: Iterable[SimManager]) -> list[str]:
    """All that must hold once faults have stopped and time has passed."""
    managers = list(managers)
    return (
        disagreements(managers) + dead_while_alive(managers) + oversold(managers) + connected_twice(managers)
    )
