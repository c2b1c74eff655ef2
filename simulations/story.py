"""What every scenario has: a cluster that is watched, a report that fills, and what is asked of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import sha256

from gossip.config import LAN, GossipConfig
from gossip.messages import State
from manager.terms import ManagerConfig
from simulations.checkers import last_events, misplaced, oversold
from simulations.cluster import DEFAULT, Cluster
from simulations.nodes import SimNode
from simulations.processes import SimManager
from simulations.report import Report, Row, Sample
from simulations.watch import Broken, Watch
from simulations.world import Deadline

SAMPLE_EVERY = 1.0
RUNNING = ("active", "unreachable")

PLAYED_TO: ContextVar[Callable[[float], None]] = ContextVar("PLAYED_TO", default=lambda now: None)
"""Told from time to time how many seconds of a story are played, for whoever waits for its end."""


class Story:
    """A group of managers in which something happens. What always holds is watched all the time."""

    def __init__(
        self,
        name: str,
        seed: int,
        managers: int,
        config: ManagerConfig = DEFAULT,
        gossip: GossipConfig = LAN,
        *,
        disks: bool = False,
        watch: type[Watch] = Watch,
    ) -> None:
        self.report = Report(name, seed)
        self.cluster = Cluster(seed, managers, config, gossip, watch=watch, disks=disks)
        self.world = self.cluster.world
        self.network = self.cluster.network
        self.managers = self.cluster.managers
        self.random = self.world.random("story")
        self._ended: dict[str, float] = {}
        self._held: dict[tuple[str, str], State] = {}
        self.world.after(0.0, self._sample)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Carry the story out; what breaks ends it, and stands in the report."""
        try:
            took = self.world.run_until(self.cluster.formed, 10.0, "the managers form one group")
            self.say("formed", f"{len(self.managers)} managers in {took * 1000:.0f} ms")
            yield
        except (AssertionError, Deadline) as error:
            named = f"{error.checker}: " if isinstance(error, Broken) else ""
            self.report.broken.append(f"{named}{error}")
        self.report.last = last_events([*self.managers, *self.cluster.nodes], self.report.broken)
        self.report.trace, self.report.events = self.world.trace, self.world.events
        self.report.spoken = sorted(
            (at, manager.name, text) for manager in self.managers for at, text in manager.lines
        )

    # What is written down

    def say(self, phase: str, text: str) -> None:
        """A row of the table."""
        self.report.rows.append(Row(self.world.now, phase, text))

    def see(self, phase: str) -> None:
        """A row for each manager: the seats it counts, and the nodes by state."""
        for manager in self.managers:
            if not manager.alive:
                continue
            registry = manager.core.registry
            states: dict[str, int] = {}
            for view in registry.views():
                states[view.state.value] = states.get(view.state.value, 0) + 1
            nodes = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "no node"
            cap = manager.core.max_nodes
            seats = f"{registry.used}" if cap is None else f"{registry.used} of {cap}"
            over = f", {registry.over} over the limit" if registry.over else ""
            self.say(phase, f"{manager.name}: {seats} seats{over}; {nodes}")

    def expect(self, holds: bool, otherwise: str) -> None:
        """Something that the story promises."""
        if not holds:
            self.report.broken.append(f"at {self.world.now:.3f} s: {otherwise}")

    def having(self, content: bytes) -> int:
        """How many gateways have this configuration on their disk."""
        hash_ = sha256(content).hexdigest()
        return sum(node.gateway.on_disk == hash_ for node in self.cluster.nodes)

    # What happens

    def seat(self, nodes: int, within: float = 30.0) -> list[SimNode]:
        """More nodes come, and all are let in."""
        added = self.cluster.add_nodes(nodes)
        self.world.run_until(lambda: all(node.joined for node in added), within, "every node is let in")
        self.settle(10.0, "all managers agree on every node")
        return added

    def settle(self, within: float, what: str) -> float:
        """Let time pass until nothing is amiss; gives the seconds that took."""
        return self.cluster.settle(within, what)

    def heal(self) -> None:
        """The network is whole again, and all managers agree."""
        self.network.heal()
        took = self.settle(60.0, "all managers agree after the heal")
        self.say("healed", f"all agree after {took:.1f} s")

    def only_given_up(self, manager: SimManager, others: list[SimManager]) -> dict[str, int]:
        """How often each of `others` gave `manager` up, which it may; one of themselves it may not."""
        times: dict[str, int] = {}
        for other in others:
            times[other.name] = sum(f"member {manager.name} is dead" in text for _, text in other.lines)
            for third in others:
                gone = any(f"member {third.name} is dead" in text for _, text in other.lines)
                self.expect(not gone, f"{other.name} gave up {third.name}, which was well")
        self.say("meanwhile", f"{manager.name} was given up, times by manager: {times}")
        return times

    def split(self, left: list[SimManager], right: list[SimManager]) -> None:
        """Part the managers, each side with half of the nodes."""
        nodes = [node.host for node in self.cluster.nodes]
        half = len(nodes) // 2
        sides = [m.host for m in left] + nodes[:half], [m.host for m in right] + nodes[half:]
        self.network.partition(*sides)
        self.say("split", f"{len(left)} managers | {len(right)} managers")

    def set_cap(self, manager: SimManager, cap: int) -> None:
        """An operator tells `manager`."""
        self.disturb()
        manager.set_max_nodes(cap)

    def disturb(self) -> None:
        """Something is about to happen after which the cap need not hold at once."""
        if self.cluster.watch is not None:
            self.cluster.watch.disturb()

    def each(self, seconds: float, step: float, look: Callable[[], None]) -> None:
        """Let `seconds` pass, and look every `step` seconds."""
        ends = self.world.now + seconds
        while self.world.now < ends:
            self.world.run_for(min(step, ends - self.world.now))
            look()

    # What is asked

    def sides(self, majority: int) -> tuple[list[SimManager], list[SimManager]]:
        """The first `majority` managers, and the rest."""
        return self.managers[:majority], self.managers[majority:]

    def ids(self) -> dict[str, str]:
        """The id of each node that runs, by its name."""
        return {node.name: node.id for node in self.cluster.nodes if node.alive}

    def shown(self, manager: SimManager) -> dict[str, int]:
        """How many nodes `manager` shows, by state."""
        states: dict[str, int] = {}
        for view in manager.core.registry.views():
            states[view.state.value] = states.get(view.state.value, 0) + 1
        return states

    def surplus_is_one(self) -> None:
        """All managers mark the same nodes, and no one counts more seats than the cap."""
        marked = {
            tuple(sorted(v.id for v in m.core.registry.views() if v.record.over_limit))
            for m in self.managers
            if m.alive
        }
        self.expect(len(marked) <= 1, "the managers do not mark the same nodes as surplus")
        for line in oversold(self.managers):
            self.expect(False, line)

    def all_in_place(self) -> None:
        """Every node that runs is active, or refused as the cap says, and no other is shown as if it ran."""
        for line in misplaced(self.managers, self.cluster.nodes):
            self.expect(False, line)

    def given_up(self) -> list[str]:
        """Lines of all logs in which somebody is held for dead."""
        return [
            f"{manager.name} at {at:.1f} s: {text}"
            for manager in self.managers
            for at, text in manager.lines
            if " is dead: " in text
        ]

    def _sample(self) -> None:
        self.world.after(SAMPLE_EVERY, self._sample)
        now = self.world.now
        PLAYED_TO.get()(now)
        for manager in self.managers:
            if not manager.alive:
                self._ended.setdefault(manager.name, now)
                continue
            self._ended.pop(manager.name, None)
            core = manager.core
            states = self.shown(manager)
            self.report.samples.append(
                Sample(
                    now,
                    manager.name,
                    len(core.group.kin()) + 1,
                    core.registry.used,
                    core.registry.over,
                    core.max_nodes,
                    states.get("active", 0),
                    states.get("unreachable", 0),
                )
            )
        self._detect(now)

    def _detect(self, now: float) -> None:
        for manager in self.managers:
            for member in manager.core.group.swim.members if manager.alive else ():
                before = self._held.get((manager.name, member.name))
                self._held[manager.name, member.name] = member.state
                if before is not member.state is State.DEAD and member.name in self._ended:
                    self.report.detections.append(now - self._ended[member.name])
