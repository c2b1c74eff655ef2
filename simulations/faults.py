"""What breaks, and when: drawn from the seed, swarm style (Groce et al. 2012).

Each run draws which kinds of fault it has and how hard they are; a run with few kinds gets deeper into
each than one that has them all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from gossip.config import LAN
from manager.terms import ManagerConfig
from node.protocol import Limit
from simulations.disk import ManagerDisk
from simulations.network import Carrier, Links, Network
from simulations.processes import GOSSIP_PORT, NODE_PORT, Disk, SimManager, SimNode
from simulations.watch import Watch
from simulations.world import World

KINDS = (
    "partition",
    "lonely_link",
    "one_way",
    "no_udp",
    "no_tcp",
    "clog",
    "flip_flop",
    "far_link",
    "bad_weather",
    "kill_manager",
    "restart_manager",
    "stop_manager",
    "power_manager",
    "pause_manager",
    "slow_manager",
    "set_clock",
    "twin_manager",
    "move_manager",
    "kill_node",
    "stop_node",
    "power_node",
    "pause_node",
    "slow_node",
    "old_disk",
    "lose_disk",
    "copy_disk",
    "new_node",
    "set_cap",
)

DISK_KINDS = ("full_disk", "slow_disk", "old_store")
"""More, where managers have disks."""

RARE_KINDS = ("stutter_manager", "orphan_node")
"""More, each drawn by a chance of its own as those of disks are: all else of a seed stays as it was."""

NODES_MAX = 20

_OF_LINKS = frozenset({"partition", "lonely_link", "one_way", "no_udp", "no_tcp", "clog", "flip_flop"}) | {
    "far_link",
    "bad_weather",
}

UNDISTURBING = frozenset({"kill_manager", "restart_manager", "stop_manager", "kill_node", "power_node"}) | {
    "stop_node",
    "pause_node",
    "slow_node",
    "new_node",
}
"""Whatever of these happens, the managers that live are connected, and keep to the cap (rule A1)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run, as it was drawn."""

    seed: int
    managers: int
    nodes: int
    kinds: tuple[str, ...]
    calm: float
    """Seconds before, with whole links, in which nodes come and go, and managers crash."""
    fire: float
    """Seconds for which things break."""
    gap: float
    """Seconds between two faults, on average."""
    lasting: float
    """Seconds for which one that ends by itself lasts, on average."""
    config: ManagerConfig
    links: Links
    drift: float
    """The clocks of hosts run faster or slower by at most this share."""
    skew: float
    """Wall clocks are off by at most so many seconds."""
    stranger: bool
    """Whether a member of another group is in this one's gossip."""
    tombstones: int
    """The owner of a page collects when it has more."""
    disks: bool
    """Whether managers keep their state, or start anew each time."""

    @classmethod
    def draw(cls, seed: int, *, disks: bool = False) -> "Plan":
        """The plan of `seed`, for managers with `disks` or without."""
        random = Random(f"{seed}/plan")
        share = random.choice((0.1, 0.25, 0.5, 1.0))
        kinds = tuple(kind for kind in KINDS if random.random() < share)
        heartbeat = random.choice((1.0, 1.0, 5.0))
        nodes = random.choice((0, 1, 2, 3, 4, 5, 8, 8, 12, 12))
        unreachable = 3 * heartbeat
        window = random.choice((1.0, 5.0, 15.0, 60.0))
        config = ManagerConfig(
            heartbeat=heartbeat,
            unreachable_after=unreachable,
            grace=random.choice((2.0, 5.0, 15.0, 60.0)),
            rejoin_window=window,
            retry_after=random.choice((3.0, 15.0)),
            forget_after=window + random.choice((0.5, 5.0, 30.0, 30 * 86400.0)),
            max_nodes=random.choice((None, 1, 2, 4, 8, max(1, nodes), max(1, nodes - 1), nodes + 2)),
            limits={"public": Limit(1000.0), "scarce": Limit(2.0)},
        )
        slow = random.choice((0.002, 0.002, 0.05, 0.2))
        if disks:
            # By a chance of its own: all else is as without disks.
            disk_random = Random(f"{seed}/plan of disks")
            kinds += tuple(kind for kind in DISK_KINDS if disk_random.random() < share)
        kinds += tuple(kind for kind in RARE_KINDS if Random(f"{seed}/{kind}").random() < share / 2)
        return cls(
            seed=seed,
            managers=random.choice((1, 2, 2, 3, 3, 3, 3, 4, 4, 5)),
            nodes=nodes,
            kinds=kinds or (random.choice(KINDS),),
            fire=random.choice((30.0, 60.0, 120.0)),
            gap=random.choice((1.0, 3.0, 8.0)),
            lasting=random.choice((2.0, 10.0, 20.0, 40.0)),
            config=config,
            links=Links(
                delay_max=slow,
                copies=random.choice((0.0, 0.0, 0.1, 0.5)),
                late=random.choice((0.0, 0.0, 0.05, 0.3)),
                loss=random.choice((0.0, 0.0, 0.05, 0.3)),
            ),
            drift=random.choice((0.0, 0.0, 0.01, 0.1)),
            skew=random.choice((0.0, 1.0, 300.0)),
            stranger=random.random() < 0.2,
            tombstones=random.choice((1, 2, 2, 4096)),
            calm=random.choice((0.0, 15.0, 30.0)),
            disks=disks,
        )

    def text(self) -> str:
        """A line for people."""
        return (
            f"{self.managers} managers{' with disks' if self.disks else ''}, {self.nodes} nodes, "
            f"cap {self.config.max_nodes}, "
            f"{self.fire:.0f} s of {', '.join(self.kinds)}"
        )


class Fire:
    """A cluster, and what breaks in it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.world = World(plan.seed)
        self.random = self.world.random("faults")
        self.network = Network(self.world, replace(plan.links))
        self.managers: list[SimManager] = []
        self.nodes: list[SimNode] = []
        self.story: list[str] = []
        """What broke, a line each."""
        self.watch = Watch(self.world, self.managers, self.nodes, lambda: self.network.whole)
        self._gossip = replace(LAN, tombstones_max=plan.tombstones)
        hosts = [f"10.0.0.{at}" for at in range(1, plan.managers + 1)]
        self._peers = tuple(f"{host}:{GOSSIP_PORT}" for host in hosts)
        self._seeds = tuple(f"{host}:{NODE_PORT}" for host in hosts)
        for at, host in enumerate(hosts, start=1):
            self._add_manager(f"m{at}", host)
        if plan.stranger:
            self._add_manager("stranger", "10.0.9.9", group_name="another")
        for _ in range(plan.nodes):
            self._add_node()
        self._twins = 0
        self._moves = 0
        self._ends = plan.calm + plan.fire
        self._faults: dict[str, Callable[[], str]] = {
            kind: getattr(self, f"_{kind}") for kind in (*KINDS, *DISK_KINDS, *RARE_KINDS)
        }

    def burn(self) -> None:
        """Let things break for as long as the plan says."""
        links = self.plan.links
        self.network.links = Links(delay_max=min(links.delay_max, 0.05), copies=links.copies)
        self._break(sorted(UNDISTURBING), self.plan.calm)
        self.watch.disturb()
        self.network.links = replace(self.plan.links)
        self._break(self.plan.kinds, self._ends)

    def _break(self, kinds: Sequence[str], until: float) -> None:
        while self.world.now < until:
            self.world.run_for(self.random.expovariate(1 / self.plan.gap))
            kind = self.random.choice(kinds)
            if kind not in UNDISTURBING:
                self.watch.disturb()
            if kind in _OF_LINKS:
                self.watch.break_links()
            told = self._faults[kind]()
            if told:
                self.story.append(f"{self.world.now:9.3f} s  {kind}: {told}")

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

    def _stays_away(self, manager: SimManager) -> bool:
        """Whether one that does not run is gone for good: a third, of those that nobody needs to meet."""
        first = manager is self.managers[0]
        kin = [m for m in self.managers if m.group_name == manager.group_name and m.alive]
        return bool(kin) and not (first or self._moves or self._twins) and self.random.random() < 0.33

    # Who

    def _add_manager(self, name: str, host: str, group_name: str = "krakend") -> None:
        drift, skew = self.plan.drift, self.plan.skew
        manager = SimManager(
            self.network,
            name,
            host,
            self._peers,
            self.plan.config,
            self._gossip,
            group_name=group_name,
            rate=1.0 + self.random.uniform(-drift, drift),
            skew=self.random.uniform(-skew, skew),
            observer=self.watch,
            disk=ManagerDisk(self.world, f"{host}/{name}") if self.plan.disks else None,
        )
        self.managers.append(manager)

    def _add_node(self, disk: Disk | None = None, seeds: tuple[str, ...] = ()) -> SimNode:
        at = len(self.nodes)
        rate = 1.0 + self.random.uniform(-self.plan.drift, self.plan.drift)
        node = SimNode(
            self.network,
            f"n{at + 1}",
            f"10.1.{at // 250}.{at % 250 + 1}",
            seeds or self._seeds,
            disk,
            rate=rate,
        )
        self.nodes.append(node)
        return node

    def _manager(self) -> SimManager:
        return self.random.choice(self.managers)

    def _node(self) -> SimNode | None:
        return self.random.choice(self.nodes) if self.nodes else None

    def _hosts(self) -> list[str]:
        return [manager.host for manager in self.managers] + [node.host for node in self.nodes]

    def _two_hosts(self) -> tuple[str, str]:
        """Two managers, or a manager and a node."""
        left = self._manager().host
        others = [host for host in self._hosts() if host != left]
        near = [m.host for m in self.managers if m.host != left]
        if near and self.random.random() < 0.6:
            others = near
        return left, self.random.choice(others or [left])

    def _for_a_while(self, undo: Callable[[], None]) -> float:
        seconds = self.random.expovariate(1 / self.plan.lasting)

        def over() -> None:
            self.watch.disturb()
            undo()

        self.world.after(seconds, over)
        return seconds

    # The network

    def _partition(self) -> str:
        hosts = self._hosts()
        self.random.shuffle(hosts)
        at = self.random.randrange(1, len(hosts)) if len(hosts) > 1 else 0
        shape = self.random.choice(("halves", "halves", "alone", "bridge", "ring"))
        if shape == "alone":
            # A manager without anybody: neither managers nor nodes.
            alone = self._manager().host
            hosts, at = [alone, *(host for host in hosts if host != alone)], min(1, len(hosts) - 1)
        elif shape == "bridge" and len(self.managers) > 2:
            # One manager stays in touch with both sides.
            bridge = self._manager().host
            hosts = [host for host in hosts if host != bridge]
            at = min(at, len(hosts) - 1)
        elif shape == "ring" and len(self.managers) > 3:
            return self._ring_of_majorities()
        seconds = self._for_a_while(self.network.partition(hosts[:at], hosts[at:]))
        return f"{' '.join(hosts[:at])} | {' '.join(hosts[at:])} for {seconds:.1f} s"

    def _ring_of_majorities(self) -> str:
        """Each manager reaches its neighbours in a ring, and nobody else: each sees another majority."""
        ring = [manager.host for manager in self.managers]
        self.random.shuffle(ring)
        size = len(ring)
        undo = [
            self.network.cut(ring[a], ring[b])
            for a in range(size)
            for b in range(a + 1, size)
            if min(b - a, size - b + a) > max(1, size // 4)
        ]

        def whole() -> None:
            for one in undo:
                one()

        return f"ring {' '.join(ring)} for {self._for_a_while(whole):.1f} s"

    def _lonely_link(self) -> str:
        left, right = self._two_hosts()
        return f"{left} - {right} for {self._for_a_while(self.network.cut(left, right)):.1f} s"

    def _one_way(self) -> str:
        left, right = self._two_hosts()
        if self.random.random() < 0.5:
            left, right = right, left
        seconds = self._for_a_while(self.network.cut(left, right, one_way=True))
        return f"{left} > {right} for {seconds:.1f} s"

    def _without(self, carrier: Carrier) -> str:
        left, right = self._two_hosts()
        if self.random.random() < 0.3:
            undo = [self.network.cut(left, host, carriers=(carrier,)) for host in self._hosts()]

            def whole() -> None:
                for one in undo:
                    one()

            seconds = self._for_a_while(whole)
            return f"{carrier} at {left} for {seconds:.1f} s"
        undo_one = self.network.cut(left, right, carriers=(carrier,))
        return f"{carrier} {left} - {right} for {self._for_a_while(undo_one):.1f} s"

    def _no_udp(self) -> str:
        return self._without("udp")

    def _no_tcp(self) -> str:
        return self._without("tcp")

    def _clog(self) -> str:
        left, right = self._two_hosts()
        seconds = self.random.uniform(0.5, 12.0)
        ways = self.random.choice(([(left, right)], [(right, left)], [(left, right), (right, left)]))
        for way in ways:
            self.network.clog(*way, seconds)
        self.world.after(seconds + 0.1, self.watch.disturb)
        return f"{' and '.join(f'{a} > {b}' for a, b in ways)} for {seconds:.1f} s"

    def _flip_flop(self) -> str:
        left, right = self._two_hosts()
        half = self.random.choice((2.0, 10.0, 20.0))
        ends = min(self._ends, self.world.now + self.random.uniform(2, 6) * half)

        def flip() -> None:
            self.watch.disturb()
            if self.world.now < ends:
                undo = self.network.cut(left, right)
                self.world.after(half, undo)
                self.world.after(2 * half, flip)

        flip()
        return f"{left} - {right}, {half:.0f} s each"

    def _far_link(self) -> str:
        left, right = self._two_hosts()
        least = self.random.choice((0.005, 0.05, 0.15))
        links = replace(self.network.links, delay_min=least, delay_max=2 * least, tail=least)
        seconds = self._for_a_while(self.network.set_link(left, right, links))
        return f"{left} - {right}, {least * 1000:.0f} ms and more, for {seconds:.1f} s"

    def _bad_weather(self) -> str:
        links = self.network.links
        links.loss = self.random.choice((0.0, 0.0, 0.1, 0.3))
        links.copies = self.random.choice((0.0, 0.1, 0.5))
        links.late = self.random.choice((0.0, 0.0, 0.1, 0.3))
        links.late_max = self.random.choice((0.5, 3.0, 15.0))
        return f"loss {links.loss}, copies {links.copies}, late {links.late}"

    # Managers

    def _kill_manager(self) -> str:
        manager = self._manager()
        manager.kill()
        if self.random.random() < 0.7:
            self._for_a_while(lambda: self._start_again(manager))
        return manager.name

    def _start_again(self, manager: SimManager) -> None:
        if not manager.alive and not manager.conflicting:
            manager.restart()

    def _restart_manager(self) -> str:
        manager = self._manager()
        if manager.conflicting:
            return ""
        set_back = self.random.random() < 0.3
        if set_back:
            manager.set_back = True
            manager.skew -= self.random.choice((2.0, 60.0, 86400.0))
        manager.restart()
        if self.random.random() < 0.3:
            # A supervisor starts it anew at once: two processes within one second.
            self.world.after(self.random.uniform(0.05, 0.8), manager.restart)
        # Who asks a manager that has just started finds one that knows nothing yet.
        first = f"{manager.host}:{NODE_PORT}"
        few = (
            self.random.choice((0, 0, 2)) if len(self.nodes) < NODES_MAX and manager.name != "stranger" else 0
        )
        for _ in range(few):
            self._add_node(seeds=(first,))
        return (
            f"{manager.name}{', its clock set back' if set_back else ''}{', newcomers wait' if few else ''}"
        )

    def _stop_manager(self) -> str:
        manager = self._manager()
        if not manager.alive:
            return ""
        manager.stop()
        if self.random.random() < 0.7:
            self._for_a_while(lambda: self._start_again(manager))
        return manager.name

    def _power_manager(self) -> str:
        manager = self._manager()
        manager.power_off()
        seconds = self._for_a_while(lambda: self._start_again(manager))
        return f"{manager.name} for {seconds:.1f} s"

    def _pause_manager(self) -> str:
        manager = self._manager()
        loop = manager.loop
        loop.pause()
        return f"{manager.name} for {self._for_a_while(loop.resume):.1f} s"

    def _slow_manager(self) -> str:
        manager = self._manager()
        loop = manager.loop
        loop.slow = (0.3, self.random.uniform(0.3, 3.0))
        return f"{manager.name} for {self._for_a_while(loop.hurry):.1f} s"

    def _stutter_manager(self) -> str:
        """It stands still again and again, and hardly goes on between (Lifeguard's anomaly)."""
        manager = self._manager()
        loop = manager.loop
        still, between = self.random.choice((2.0, 9.0, 30.0)), self.random.choice((0.001, 0.02))
        ends = min(self._ends, self.world.now + still * self.random.uniform(3, 8))

        def stand() -> None:
            if self.world.now < ends:
                loop.pause_within()
                self.world.after(still, go_on)

        def go_on() -> None:
            self.watch.disturb()
            loop.resume()
            self.world.after(between, stand)

        stand()
        return f"{manager.name}, {still:.0f} s each, {between * 1000:.0f} ms between, until {ends:.1f} s"

    def _set_clock(self) -> str:
        manager = self._manager()
        if not manager.alive:
            return ""
        by = self.random.choice((-86400.0, -60.0, -1.0, 1.0, 60.0, 86400.0))
        manager.set_clock(manager.skew + by)
        return f"{manager.name} by {by:+.0f} s"

    def _twin_manager(self) -> str:
        if self._twins >= 2 or self._moves or self.plan.managers == 1:
            return ""  # twins of a manager that is alone would not know of each other
        self._twins += 1
        # Always of the first: were all at addresses that no peer list has, they would never meet.
        manager = self.managers[0]
        self._add_manager(manager.name, f"10.0.1.{self._twins}")
        return f"{manager.name} at {self.managers[-1].host}"

    def _move_manager(self) -> str:
        manager = self._manager()
        # The first stays: were all at addresses that no peer list has, they would never meet.
        if manager is self.managers[0] or self._twins or manager.name == "stranger" or self._moves >= 3:
            return ""
        self._moves += 1
        former = manager.host
        manager.move(f"10.0.2.{self._moves}")
        return f"{manager.name} from {former} to {manager.host}"

    def _set_cap(self) -> str:
        manager = self._manager()
        if not manager.alive or manager.name == "stranger":
            return ""
        cap = self.random.choice((1, 2, 3, 5, 8, 12))
        manager.set_max_nodes(cap)
        return f"{cap} at {manager.name}"

    # Their disks

    def _full_disk(self) -> str:
        manager = self._manager()
        disk = manager.disk
        if disk is None or disk.full:
            return ""
        disk.full = True

        def free() -> None:
            disk.full = False
            self._start_again(manager)

        return f"{manager.name} for {self._for_a_while(free):.1f} s"

    def _slow_disk(self) -> str:
        manager = self._manager()
        disk = manager.disk
        if disk is None:
            return ""
        disk.slow = self.random.uniform(0.05, 3.0)

        def fast() -> None:
            disk.slow = 0.01

        return f"{manager.name} for {self._for_a_while(fast):.1f} s"

    def _old_store(self) -> str:
        manager = self._manager()
        if manager.conflicting or manager.disk is None or manager.disk.full:
            return ""
        manager.kill()
        went_back = manager.disk.go_back()
        manager.restart()
        return f"{manager.name}, restarted {'with an earlier state' if went_back else ''}"

    # Nodes

    def _kill_node(self) -> str:
        return self._end_node(SimNode.kill)

    def _power_node(self) -> str:
        return self._end_node(SimNode.power_off)

    def _stop_node(self) -> str:
        return self._end_node(SimNode.stop)

    def _end_node(self, end: Callable[[SimNode], None]) -> str:
        node = self._node()
        if node is None or not node.alive:
            return ""
        end(node)
        seconds = self.random.choice((0.0, 0.1, 1.0, 5.0, self.random.expovariate(1 / self.plan.lasting)))
        if self.random.random() < 0.6:
            self.world.after(seconds, lambda: None if node.alive else node.start())
        return f"{node.name}, back after {seconds:.1f} s"

    def _orphan_node(self) -> str:
        """A manager dies; a node of it moves, ends there, and is long gone when the manager returns."""
        managers = [m for m in self.managers if m.alive and m.core.served()]
        if not managers or len(self.managers) < 2:
            return ""
        manager = self.random.choice(managers)
        id_ = self.random.choice(manager.core.served())
        manager.kill()

        def end() -> None:
            for node in self.nodes:
                if node.id == id_ and node.alive and node.joined:
                    node.stop()

        moved = self.random.uniform(3.0, 6.0)
        self.world.after(moved, end)
        away = moved + self.plan.config.rejoin_window + self.random.uniform(5.0, 15.0)
        self.world.after(away, lambda: self._start_again(manager))
        return f"{id_} of {manager.name}, which is away for {away:.1f} s"

    def _pause_node(self) -> str:
        node = self._node()
        if node is None:
            return ""
        loop = node.loop
        loop.pause()
        return f"{node.name} for {self._for_a_while(loop.resume):.1f} s"

    def _slow_node(self) -> str:
        node = self._node()
        if node is None:
            return ""
        loop = node.loop
        loop.slow = (0.3, self.random.uniform(0.3, 3.0))
        return f"{node.name} for {self._for_a_while(loop.hurry):.1f} s"

    def _old_disk(self) -> str:
        node = self._node()
        if node is None or not node.disk.earlier:
            return ""
        if node.alive:
            node.kill()
        state = self.random.choice(node.disk.earlier)
        node.set_disk_back(state)
        self.world.after(self.random.choice((0.0, 3.0)), lambda: None if node.alive else node.start())
        return f"{node.name} goes back to incarnation {state.incarnation}"

    def _lose_disk(self) -> str:
        node = self._node()
        if node is None or node.copied:
            return ""
        if node.alive:
            node.kill()
        node.disk = Disk()
        self.world.after(self.random.choice((0.0, 3.0)), lambda: None if node.alive else node.start())
        return f"{node.name} comes back without its state"

    def _copy_disk(self) -> str:
        node = self._node()
        if node is None or node.disk.state is None or sum(n.copied for n in self.nodes) > 6:
            return ""
        disk = Disk(node.disk.state, [node.disk.state], {node.disk.state.id})
        node.copied = True
        copy = self._add_node(disk)
        copy.copied = True
        return f"{node.name} to {copy.name}"

    def _new_node(self) -> str:
        if len(self.nodes) >= NODES_MAX:
            return ""
        return " ".join(self._add_node().name for _ in range(self.random.choice((1, 1, 3, 6))))
