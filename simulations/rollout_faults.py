"""Rollouts, restarts and cordons that operators ask of whichever manager they reach, under drawn faults.

Turns are counted by founders, so on all sides of every split together no more nodes are taken out than
`max_unavailable`, which is one number for a whole run.
"""

from collections.abc import Callable
from functools import partial

from manager.core import Manager
from manager.effects import ManagerEffect
from manager.rollout.configs import Manner
from manager.rollout.orders import Action
from simulations.gateway import INVALID, SICK
from simulations.ground import Ground
from simulations.nodes import Disk, SimNode
from simulations.watch import Broken

KIND = "nginx"
ROLLOUT_KINDS = ("push", "push", "steer", "restart_gateway", "cordon", "hit_in_turn", "hit_in_turn")
AT_TURN_KINDS = ("kill_at_turn", "kill_at_turn")
"""More, in some of the seeds with rollouts."""
WAVES = (("100%",), ("1", "100%"), ("1", "50%", "100%"))


class RolloutFaults(Ground):
    """`plan.at_a_time` nodes at the most may be out, 0 where there are no rollouts."""

    _pushed = 0

    def _add_node(self, disk: Disk | None = None, seeds: tuple[str, ...] = ()) -> SimNode:
        node = super()._add_node(disk, seeds)
        if self.plan.at_a_time:
            node.manage(KIND, b"first")
            node.gateway.went = partial(self._goes_out, node)
        return node

    def _goes_out(self, node: SimNode) -> None:
        self._no_more_out_than_may_be()
        self.watch.outages.went(node)

    def _no_more_out_than_may_be(self) -> None:
        """Called at each moment at which a gateway goes out of service.

        The turn of a node that is forgotten comes back (T2), which here may be while it is still out.
        """
        counts = self.watch.outages.counts
        out = sorted(n.name for n in self.nodes if n.alive and n.gateway.out and counts(n.id))
        if len(out) > self.plan.at_a_time:
            text = f"{', '.join(out)} are out of service at once, by rollouts of {self.plan.at_a_time}"
            raise Broken("no_more_out_than_may_be", f"at {self.world.now:.3f} s: {text}")

    def _tell(self, action: Callable[[Manager, float], list[ManagerEffect]]) -> str:
        """Some manager that is asked; whatever it refuses is not done."""
        manager = self._manager()
        if not manager.alive:
            return ""
        manager.operate(action)
        return manager.name

    def _push(self) -> str:
        self._pushed += 1
        bad = self.random.choice((b"", b"", b"", SICK, INVALID))
        content = bad + f"version {self._pushed}".encode()
        manner = Manner(
            waves=self.random.choice(WAVES), max_unavailable=self.plan.at_a_time, pause=1.0, heal=False
        )
        asked = self._tell(
            lambda core, now: core.operator.push_config(KIND, content, "operator", manner, now, force=True)
        )
        return f"{content.decode()} at {asked}" if asked else ""

    def _steer(self) -> str:
        action = self.random.choice(("pause", "resume", "resume", "promote", "abort"))
        asked = self._tell(lambda core, now: core.operator.steer_rollout(KIND, action, "operator", now))
        return f"{action} at {asked}" if asked else ""

    def _restart_gateway(self) -> str:
        return self._order(Action.RESTART)

    def _cordon(self) -> str:
        return self._order(self.random.choice((Action.CORDON, Action.DRAIN, Action.UNCORDON)))

    def _order(self, action: Action) -> str:
        node = self._node()
        if node is None or not node.id:
            return ""
        id_ = node.id
        asked = self._tell(lambda core, now: core.operator.order_node(id_, action, "operator", now)[1])
        return f"{action.value} {node.name} at {asked}" if asked else ""

    def _hit_in_turn(self) -> str:
        """Whoever is out of service sleeps, or is not heard, for longer than its turn would last."""
        out = [node for node in self.nodes if node.alive and node.gateway.out]
        if not out:
            return ""
        node = self.random.choice(out)
        if self.random.random() < 0.5:
            node.loop.suspend()
            undo: Callable[[], None] = node.loop.resume
        else:
            undo = self.network.partition([node.host], [m.host for m in self.managers])
        seconds = self.plan.config.unreachable_after + self.random.uniform(1.0, 30.0)

        def over() -> None:
            self.watch.disturb()
            undo()

        self.world.after(seconds, over)
        return f"{node.name} for {seconds:.1f} s"

    def _kill_at_turn(self) -> str:
        """The manager of the next node that is given a turn dies, and the node goes to another one."""
        self.watch.outages.given = self._kill_manager_of
        return "the manager of who is given the next turn"

    def _kill_manager_of(self, id_: str) -> None:
        def kill() -> None:
            manager = next((m for m in self.managers if m.alive and id_ in m.core.served()), None)
            if manager is not None:
                self.watch.disturb()
                manager.kill()
                self._for_a_while(lambda: self._start_again(manager))

        self.watch.outages.given = None
        if self.world.now < self._ends:
            self.world.after(self.random.choice((0.0, 0.005, 0.05)), kill)

    def _abort_rollouts(self) -> None:
        """So that the group comes to rest."""
        for manager in self.managers:
            manager.operate(lambda core, now: core.operator.steer_rollout(KIND, "abort", "operator", now))
