"""What happens to nodes. Each fault says what it did, or nothing where it could not."""

from collections.abc import Callable

from simulations.ground import NODES_MAX, Ground
from simulations.nodes import Disk, SimNode


class NodeFaults(Ground):
    """Deaths, pauses, and disks that are lost, old or copied."""

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
