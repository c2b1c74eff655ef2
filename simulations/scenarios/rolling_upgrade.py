"""Managers are stopped and started again one by one: no node is removed or loses its seat, nobody is dead.

Each is told to stop, sends its nodes to the others and leaves; the new process comes back after a few seconds
without any state.
"""

from dataclasses import replace

from simulations.cluster import DEFAULT
from simulations.report import Report, Size
from simulations.story import Story

SIZE = Size(managers=3, minutes=1.0)


def run(managers: int, nodes: int, seed: int, minutes: float) -> Report:
    """`minutes` is the time from one manager to the next."""
    story = Story("rolling-upgrade", seed, managers, replace(DEFAULT, max_nodes=nodes))
    with story.told():
        story.seat(nodes)
        ids = story.ids()
        away = 5.0

        def nobody_is_lost() -> None:
            for manager in story.managers:
                if manager.alive and not manager.core.fresh:
                    lost = {
                        state: n for state, n in story.shown(manager).items() if state in ("removed", "down")
                    }
                    story.expect(not lost, f"{manager.name} shows {lost}")

        for manager in story.managers:
            manager.stop()
            story.each(away, 0.05, nobody_is_lost)
            story.expect(not manager.alive, f"{manager.name} did not stop within {away} s")
            manager.restart()
            story.each(max(1.0, minutes * 60 - away), 0.25, nobody_is_lost)
            story.settle(20.0, f"all agree after the upgrade of {manager.name}")
            story.say("upgraded", manager.name)
        story.see("afterwards")
        for line in story.given_up():
            story.expect(False, f"a manager that was stopped in good order: {line}")
        story.expect(story.ids() == ids, "a node has another id than before")
        for manager in story.managers:
            used = manager.core.registry.used
            story.expect(used == nodes, f"{manager.name} counts {used} seats of {nodes}")
    return story.report
