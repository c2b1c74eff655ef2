"""Faults for a group under policy `strict`: those of any other, and what its rights must survive besides.

Left out is what no counting survives, and what the policy says so of: disks of nodes that are copied or set
back. Stores of founders that went back in time, and two processes of one name, are in some seeds.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random

from manager.disk.saved import Saved
from simulations.faults import Fire
from simulations.nodes import SimNode
from simulations.plan import FEW_PEERS_KINDS, Plan
from simulations.processes import STOP_SECONDS_MAX, SimManager
from simulations.rollout_faults import AT_TURN_KINDS, ROLLOUT_KINDS, RolloutFaults

NOT_SURVIVED = frozenset({"old_disk", "copy_disk"})
NOT_HERE = frozenset(FEW_PEERS_KINDS)
"""Every manager is configured with all the others, and power cuts are drawn by a kind of their own."""
BACK_KINDS = ("old_store", "twin_manager")
"""What lets a founder spend rights a second time: found at the first contact, and over then (R5)."""
RIGHTS_KINDS = (
    "expel",
    "forget",
    "suspend_node",
    "suspend_manager",
    "set_node_clock",
    "leave_and_return",
    "power_cut",
)
"""More, under policy `strict`."""
BACK_SHARE = 0.25
"""Of the seeds."""
ROLLOUTS_SHARE = 0.5
"""Of the others."""
AT_TURN_SHARE = 0.3
"""Of those with rollouts."""
CONSERVE_SHARE = 0.3
"""Of the seeds: in a split managers hand budgets over, and the sum of all sides holds (Q6)."""
_SAID_AGAIN = 2.0


def strict_plan(seed: int) -> Plan:
    """The plan of `seed` under policy `strict`: that of another seed, with rights."""
    plan = Plan.draw(seed, disks=True)
    random = Random(f"{seed}/plan of rights")
    share = random.choice((0.1, 0.25, 0.5, 1.0))
    kinds = tuple(kind for kind in plan.kinds if kind not in (*NOT_SURVIVED, *NOT_HERE, *BACK_KINDS))
    kinds += tuple(kind for kind in RIGHTS_KINDS if random.random() < share)
    at_a_time = 0
    if Random(f"{seed}/stores that go back").random() < BACK_SHARE:
        kinds += BACK_KINDS
    elif (rollouts := Random(f"{seed}/rollouts")).random() < ROLLOUTS_SHARE:
        # Not beside stores that go back: what they gave a second time is reported, and cannot be prevented.
        kinds += ROLLOUT_KINDS
        at_a_time = rollouts.choice((1, 1, 2, 3))
        if Random(f"{seed}/at a turn").random() < AT_TURN_SHARE:
            kinds += AT_TURN_KINDS
    names = [f"m{at}" for at in range(1, plan.managers + 1)]
    founders = names[: random.choice((len(names), len(names), len(names), max(1, len(names) - 1)))]
    if random.random() < 0.15:
        founders.append("never")
    life = random.choice((6.0, 20.0, 40.0))
    nodes = max(plan.nodes, random.choice((2, 5, 8)))
    config = replace(
        plan.config,
        policy="strict",
        founders=tuple(founders),
        ticket_life=life,
        ephemeral_life=random.choice((5.0, life)),
        margin=random.choice((5.0, 20.0)),
        limits_mode="conserve" if Random(f"{seed}/conserve").random() < CONSERVE_SHARE else "available",
        max_nodes=random.choice((None, 1, 2, 4, 8, nodes, max(1, nodes - 1), nodes + 2)),
    )
    return replace(
        plan,
        nodes=nodes,
        config=config,
        kinds=kinds or (random.choice(RIGHTS_KINDS),),
        drift=min(plan.drift, 0.01),
        stranger=False,
        at_a_time=at_a_time,
        few_peers=False,
    )


class StrictFire(RolloutFaults, Fire):
    """A cluster whose managers hold rights."""

    def __init__(self, plan: Plan) -> None:
        self._lost: set[str] = set()
        """Founders whose store is lost: nobody meets them again."""
        super().__init__(plan)
        self._faults |= {
            kind: getattr(self, f"_{kind}") for kind in (*RIGHTS_KINDS, *ROLLOUT_KINDS, *AT_TURN_KINDS)
        }

    def heal(self) -> None:
        """Founders that lost their store, and those that never came, are expelled."""
        super().heal()
        if self.plan.at_a_time:
            self._abort_rollouts()
        for manager in self.managers:
            if manager.name in self._lost and not manager.gone:
                self._end_for_good(manager, 0.0)
        if "never" in self.plan.config.founders:
            self._say_expel("never")
        for manager in self.managers:
            # Again, for who was told may have lost that with its own store.
            for name in manager.names if manager.gone else manager.names[:-1]:
                if name in self.plan.config.founders:
                    self._say_expel(name)
            # Who is on its way out comes back as well: a founder that is away keeps its rights.
            self.world.after(STOP_SECONDS_MAX + 1.0, _start(self, manager))

    def _stays_away(self, manager: SimManager) -> bool:
        return manager.gone

    def _is_ephemeral(self, at: int) -> bool:
        return at % 3 == 0

    def _start_again(self, manager: SimManager) -> None:
        if not manager.gone:
            super()._start_again(manager)

    # Stores that go back, and second processes

    def _old_store(self) -> str:
        manager = self._manager()
        if manager.gone or manager.conflicting or manager.disk is None or manager.disk.full:
            return ""
        manager.kill()
        # One that is lost is another founder's, whom nobody meets; then that is expelled.
        loses = self._may_go(manager) and not self._lost
        went_back = manager.disk.go_back(may_be_lost=loses)
        if not manager.disk.saved.pages:
            self._lost.add(manager.name)
        manager.restart()
        return f"{manager.name}, restarted {'with an earlier state' if went_back else ''}"

    def _twin_manager(self) -> str:
        """A second process of a name, on a copy of the state directory."""
        first = self.managers[0]
        if self._twins or self._moves or self.plan.managers == 1 or first.gone or first.name in self._lost:
            return ""
        assert first.disk is not None
        self._twins += 1
        host = f"10.0.1.{self._twins}"
        self._add_manager(first.name, host, disk=first.disk.copy(f"{host}/{first.name}"))
        return f"{first.name} at {host}"

    # What an operator vouches for

    def _expel(self) -> str:
        manager = self._manager()
        if not self._may_go(manager):
            return ""
        delay = self.random.choice((0.0, 5.0, 20.0))
        self._end_for_good(manager, delay)
        return f"{manager.name}, said after {delay:.0f} s"

    def _may_go(self, manager: SimManager) -> bool:
        founders = set(self.plan.config.founders)
        left = [m for m in self.managers if not m.gone and m.name in founders and m.name not in self._lost]
        twins = self._twins and manager.name == self.managers[0].name
        may = manager.name in founders and not manager.gone and len(left) > 2
        return may and not self._moves and not twins

    def _end_for_good(self, manager: SimManager, delay: float) -> None:
        self._moves = 3  # whoever moves now might be at an address that nobody knows
        manager.kill()
        manager.gone = True
        self.world.after(delay, lambda: self._say_expel(manager.name))

    def _is_gone(self, manager: SimManager) -> None:
        """A founder that has left for good is expelled by an operator; or it comes back after all."""
        if manager.name not in self.plan.config.founders:
            manager.gone = True
        elif self._may_go(manager) and self.world.now < self._ends:
            self._end_for_good(manager, self.random.choice((0.0, 5.0, 20.0)))
        else:
            self._start_again(manager)

    def _may_lose_its_name(self, manager: SimManager) -> bool:
        """A founder that does has lost its rights with it, and is expelled under the former one."""
        if manager.name not in self.plan.config.founders:
            return True
        if not self._may_go(manager):
            return False
        former = manager.name
        self.world.after(self.random.choice((0.0, 5.0, 20.0)), lambda: self._say_expel(former))
        return True

    def _say_expel(self, name: str) -> None:
        """Tell some manager, until one has taken it."""
        living = [m for m in self.managers if m.alive]
        names = Counter(m.name for m in self.managers if not m.gone and not m.conflicting)
        heard = [m for m in living if m.core.founders is not None and name in m.core.founders.known.expelled]
        if any(names[m.name] == 1 for m in heard):
            return
        # What one of two processes of a name was told may end with it.
        if living and not heard:
            self.random.choice(living).operate(lambda core, now: core.operator.expel(name, now))
        self.world.after(_SAID_AGAIN, lambda: self._say_expel(name))

    def _forget(self) -> str:
        """A node is gone for good, with its disk, and an operator says so."""
        node = self._node()
        managers = [m for m in self.managers if m.alive]
        if node is None or not managers or not node.id or len(self.nodes) < 3:
            return ""
        if node.alive:
            node.power_off()
        node.gone = True
        manager, id_ = self.random.choice(managers), node.id
        self.world.after(
            self.random.choice((0.5, 20.0)),
            lambda: manager.operate(lambda core, now: core.operator.forget_node(id_, now)),
        )
        return f"{node.name} at {manager.name}"

    # Clocks and power

    def _suspend_node(self) -> str:
        node = self._node()
        if node is None:
            return ""
        loop = node.loop
        loop.suspend()
        return f"{node.name} for {self._for_a_while(loop.resume):.1f} s"

    def _suspend_manager(self) -> str:
        manager = self._manager()
        loop = manager.loop
        loop.suspend()
        return f"{manager.name} for {self._for_a_while(loop.resume):.1f} s"

    def _set_node_clock(self) -> str:
        node = self._node()
        if node is None:
            return ""
        by = self.random.choice((-86400.0, -10.0, -1.0, 1.0, 10.0))
        node.skew += by
        return f"{node.name} by {by:+.0f} s"

    def _leave_and_return(self) -> str:
        """A node leaves at its manager, and shows its ticket to another one."""
        node = self._node()
        if node is None or not node.alive:
            return ""
        node.stop()
        seconds = self.random.choice((0.1, 0.5, 2.0, 10.0))
        self.world.after(seconds, lambda: None if node.alive else node.start())
        return f"{node.name}, back after {seconds:.1f} s"

    def _power_cut(self) -> str:
        """All managers, and half of the nodes, lose their power; sometimes one founder's disk is lost too."""
        for manager in self.managers:
            manager.power_off()
        for node in list(self.nodes):
            if node.alive and self.random.random() < 0.5:
                node.power_off()
                self.world.after(self.random.uniform(0.0, 10.0), _start_node(node))
        lost = self.random.choice(self.managers)
        text = ""
        if self.random.random() < 0.5 and self._may_go(lost) and not self._lost and lost.disk is not None:
            self._lost.add(lost.name)
            lost.disk.saved, lost.disk.set_back = Saved(), True
            text = f", and {lost.name} its disk"
        for manager in self.managers:
            self.world.after(self.random.uniform(0.0, 5.0), _start(self, manager))
        return f"all managers{text}"


def _start(fire: StrictFire, manager: SimManager) -> Callable[[], None]:
    return lambda: fire._start_again(manager)


def _start_node(node: SimNode) -> Callable[[], None]:
    return lambda: None if node.alive else node.start()
