"""What breaks, and when, as the plan of a seed says."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations

from simulations.link_faults import LinkFaults
from simulations.manager_faults import ManagerFaults
from simulations.network import Links
from simulations.node_faults import NodeFaults
from simulations.operator_faults import OperatorFaults
from simulations.plan import (
    DISK_KINDS,
    DISKLESS_KINDS,
    DOCUMENT_KINDS,
    FEW_PEERS_KINDS,
    KINDS,
    OF_LINKS,
    RARE_KINDS,
    RETENTION_KINDS,
    UNDISTURBING,
    Plan,
)
from simulations.processes import SimManager

WHISPER_LOSS = 0.8


class Fire(LinkFaults, ManagerFaults, NodeFaults, OperatorFaults):
    """A cluster, and what breaks in it."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._met: set[frozenset[str]] = set()
        self._faults: dict[str, Callable[[], str]] = {
            kind: getattr(self, f"_{kind}")
            for kind in (
                *KINDS,
                *DISK_KINDS,
                *DISKLESS_KINDS,
                *RARE_KINDS,
                *DOCUMENT_KINDS,
                *RETENTION_KINDS,
                *FEW_PEERS_KINDS,
            )
        }

    def burn(self) -> None:
        """Let things break for as long as the plan says."""
        if self.plan.few_peers:
            self._note_meetings()
        links = self.plan.links
        self.network.links = Links(delay_max=min(links.delay_max, 0.05), copies=links.copies)
        self._break(sorted(UNDISTURBING), self.plan.calm)
        self.watch.disturb()
        self.network.links = replace(self.plan.links)
        if self.plan.whispers:
            self._whisper()
        self._break(self.plan.kinds, self._ends)

    def _break(self, kinds: Sequence[str], until: float) -> None:
        while self.world.now < until:
            self.world.run_for(self.random.expovariate(1 / self.plan.gap))
            kind = self.random.choice(kinds)
            if kind not in UNDISTURBING:
                self.watch.disturb()
            if kind in OF_LINKS:
                self.watch.break_links()
            told = self._faults[kind]()
            if told:
                self.story.append(f"{self.world.now:9.3f} s  {kind}: {told}")

    def _whisper(self) -> None:
        """Of what one manager sends to others most is lost, until all is healed; by a chance of its own."""
        manager = self.world.random("whisper").choice(self.managers)
        links = replace(self.plan.links, loss=WHISPER_LOSS)
        for other in self.managers:
            if other is not manager:
                self.network.set_link(manager.host, other.host, links, one_way=True)
        self.watch.break_links()
        told = f"{WHISPER_LOSS:.0%} of what {manager.name} sends to managers is lost"
        self.story.append(f"{self.world.now:9.3f} s  whisper: {told}")

    def heal(self) -> None:
        """Nothing breaks any longer: whole links, everything runs, at full speed. Clocks stay as they are."""
        self.watch.disturb()
        self.story.append(f"{self.world.now:9.3f} s  all is healed")
        links = self.network.links
        self.network.heal()
        links.loss = links.late = links.copies = 0.0
        links.delay_max = min(links.delay_max, 0.05)
        for loop in [m.loop for m in self.managers] + [n.loop for n in self.nodes]:
            loop.hurry()
            loop.resume()
        for manager in self.managers:
            if manager.disk is not None:
                manager.disk.full, manager.disk.slow = False, 0.01
            named = any(m.alive and m.name == manager.name for m in self.managers)
            if not manager.alive and not named and not manager.conflicting and not self._stays_away(manager):
                manager.restart()
        for node in self.nodes:
            # Half of those that do not run are gone for good.
            if not node.alive and self.random.random() < 0.5:
                node.start()

    def _note_meetings(self) -> None:
        for manager in self.managers:
            if manager.alive:
                self._met |= {frozenset((manager.name, other.name)) for other in manager.core.group.kin()}
        self.world.after(1.0, self._note_meetings)

    def _is_needed(self) -> bool:
        """Whether the others would not find each other without the first, of whom alone they were told."""
        others = [manager.name for manager in self.managers[1:]]
        return any(frozenset(pair) not in self._met for pair in combinations(others, 2))

    def _stays_away(self, manager: SimManager) -> bool:
        """Whether one that does not run is gone for good: a third, of those that nobody needs to meet."""
        first = manager is self.managers[0]
        if first and self.plan.few_peers and len(self.managers) > 2:
            return not self._is_needed() and self.random.random() < 0.67
        kin = [m for m in self.managers if m.group_name == manager.group_name and m.alive]
        return bool(kin) and not (first or self._moves or self._twins) and self.random.random() < 0.33
