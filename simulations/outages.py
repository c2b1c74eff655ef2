"""What must hold of turns at every moment (rules T1 to T4): no turn comes back before its node does.

`rollout_faults.py` counts who is out; this looks at what each founder says of it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from manager.rollout.turns import PURPOSES
from simulations.nodes import SimNode
from simulations.processes import SimManager


@dataclass(slots=True)
class TurnsWatch:
    """`fail(text)` raises."""

    managers: list[SimManager]
    nodes: list[SimNode]
    fail: Callable[[str], NoReturn]
    given: Callable[[str], None] | None = None
    """Called with the id of each node that is given a turn."""
    _versions: dict[SimManager, tuple[int, int, int]] = field(default_factory=dict)
    _given: dict[tuple[SimManager, str], set[str]] = field(default_factory=dict)
    """By founder: `turn/<id>`, and what else a node may be out for."""
    _forgotten: set[str] = field(default_factory=set)
    """Nodes whose founder had their turn back because it had forgotten them."""

    def turned(self, manager: SimManager) -> None:
        """`manager` has handled an input. Turns that it gives, and ends, stand on its page."""
        own, founders = manager.core.group.ledger.own, manager.core.founders
        version = manager.starts, own.generation, own.version
        if founders is None or manager.name not in founders.names or self._versions.get(manager) == version:
            return
        self._versions[manager] = version
        before = self._given.get((manager, manager.name), set())
        given = {key for key, _ in own.items() if key.startswith(PURPOSES)}
        for key in sorted(given - before):
            id_ = key.partition("/")[2]
            self._forgotten.discard(id_)
            if self.given is not None:
                self.given(id_)
        if manager.disk is not None and manager.disk.set_back:
            given |= before  # what was given by a store that is lost, nobody ends
        self._given[manager, manager.name] = given
        for key in sorted(before - given):
            self._who_is_out_keeps_its_turn(manager, key.partition("/")[2])

    def went(self, node: SimNode) -> None:
        """The gateway of `node` goes out of service."""
        if not self._has_a_turn(node.id) and self.counts(node.id):
            self._who_goes_out_has_a_turn(node)

    def _who_goes_out_has_a_turn(self, node: SimNode) -> None:
        """A founder counts each node that goes out, before it does (T1)."""
        self.fail(f"{node.name} goes out of service, and has no turn of any founder")

    def counts(self, id_: str) -> bool:
        """A node that is forgotten may be out still, and counts no more: its turn comes back (T2)."""
        known = any(m.alive and m.core.registry.view(id_) is not None for m in self.managers)
        return known and id_ not in self._forgotten

    def _who_is_out_keeps_its_turn(self, manager: SimManager, id_: str) -> None:
        """No turn comes back while its node is out by it: not by a clock, nor by a lost connection (T2).

        That of a node which is forgotten does.
        """
        if manager.core.registry.view(id_) is None:
            self._forgotten.add(id_)
            return
        for node in self.nodes:
            if node.id == id_ and node.alive and node.gateway.out and not self._has_a_turn(id_):
                self.fail(f"{manager.name} has the turn of {node.name} back, which is out of service")

    def _has_a_turn(self, id_: str) -> bool:
        return any(purpose + id_ in given for given in self._given.values() for purpose in PURPOSES)
