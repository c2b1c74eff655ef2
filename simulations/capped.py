"""Policy `available`: no seat is given above the cap while nothing is amiss (rule A1)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from manager.registry import NodeView
from simulations.processes import SimManager
from simulations.world import World

CALM_AFTER = 2.0
"""Seconds for which nothing was amiss, before the cap is held to hold."""


@dataclass(frozen=True, slots=True)
class Calm:
    """How the managers are at one time."""

    now: bool
    """They run, are awake and reconciled, and see each other."""
    connected: bool
    """The network is whole, and whoever runs is awake."""
    settled: bool
    """They have been calm for long enough and hold the same pages. Not asked once the cap must hold."""


class CapWatch:
    """`managers` may grow; `whole()`: whether the network is; `fail(text)` raises."""

    def __init__(
        self,
        world: World,
        managers: Sequence[SimManager],
        whole: Callable[[], bool],
        fail: Callable[[str], NoReturn],
    ) -> None:
        self._world = world
        self._managers = managers
        self._whole = whole
        self._fail = fail
        self._calm_since = 0.0
        self.holds = False
        """Whether it must: all were calm for long enough, knew the same, and nobody was above it."""

    def disturb(self) -> None:
        """Something happened after which the cap need not hold at once: an operator lowered it."""
        self.holds, self._calm_since = False, self._world.now

    def look(self) -> Calm:
        """How the managers are, and whether the cap must hold from now on."""
        kin = [m for m in self._managers if m.group_name == self._managers[0].group_name]
        whole, now = self._whole(), self._world.now
        calm = whole and all(
            m.alive
            and not m.loop.busy
            and m.core.group.reconciled | (len(kin) == 1)
            and not m.core.fresh
            and len(m.core.group.kin()) == len(kin) - 1
            for m in kin
        )
        connected = whole and not any(m.loop.busy for m in kin if m.alive)
        if not connected:
            self.holds = False
        if not calm:
            self._calm_since = now
        if self.holds or now - self._calm_since < CALM_AFTER:
            return Calm(calm, connected, settled=False)
        equal = len({m.core.group.ledger.fingerprint for m in kin}) == 1
        self.holds = equal and all(self._room(m) >= 0 for m in kin)
        return Calm(calm, connected, settled=equal)

    def _room(self, manager: SimManager) -> int:
        cap = manager.core.cap
        if cap is None or manager.core.registry.used <= cap or manager.core.founders is not None:
            return 0
        cap += manager.core.config.surge_seats
        # When the grace of a dead manager's nodes ends, each judges from when it saw that one go.
        alive = {manager.name, *(member.name for member in manager.core.group.kin())}
        seats = [v for v in manager.core.registry.views() if v.seat and v.manager in alive]
        return cap - sum(map(self._still_seated, seats))

    def _still_seated(self, view: NodeView) -> bool:
        """Not once its manager has given the seat up: who hears first may have given it away already."""
        says = [
            m.core.registry.own_record(view.id) for m in self._managers if m.alive and m.name == view.manager
        ]
        return not says or any(record is None or record.seat for record in says)

    def no_seat_above_the_cap(self, manager: SimManager) -> None:
        """While all managers are connected, awake and reconciled no seat is given above the cap (A1)."""
        core = manager.core
        if self._room(manager) < 0 and core.group.reconciled and not core.fresh and self._whole():
            used, cap = manager.core.registry.used, manager.core.cap
            self._fail(f"{manager.name} counts {used} seats of {cap}, and nothing was amiss")
