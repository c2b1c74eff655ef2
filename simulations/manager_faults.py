"""What happens to managers and their disks. Each fault says what it did, or nothing where it could not."""

from functools import partial

from simulations.ground import NODES_MAX, Ground
from simulations.processes import NODE_PORT


class ManagerFaults(Ground):
    """Deaths, starts, pauses, clocks, second processes, other hosts, what an operator says, and disks."""

    def _kill_manager(self) -> str:
        manager = self._manager()
        manager.kill()
        if self.random.random() < 0.7:
            self._for_a_while(lambda: self._start_again(manager))
        return manager.name

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

    def _forget_unheard(self) -> str:
        """A manager is gone until its page goes, and another one does not hear that it does (L6)."""
        running = [m for m in self.managers[1:] if m.alive and m.group_name == self.managers[0].group_name]
        if len(running) < 2 or self._twins or self._moves:
            return ""
        gone, deaf = self.random.sample(running, 2)
        gone.kill()
        due, late = self.plan.config.page_retention, self.random.uniform(8.0, 12.0)

        def cut() -> None:
            if self.world.now < self._ends:
                self.watch.break_links()
                others = [m.host for m in self.managers if m.host != deaf.host]
                self.world.after(late, self.network.partition([deaf.host], others))

        self.world.after(due + 2.0, cut)
        self.world.after(due + 2.0 + late + self.random.uniform(0.0, 10.0), lambda: self._start_again(gone))
        return f"{gone.name}, and {deaf.name} is cut off for {late:.1f} s after {due:.0f} s"

    def _blackout(self) -> str:
        """Managers lose each other and then all their power; the first is back late, if at all."""
        hosts = [manager.host for manager in self.managers]
        if len(hosts) < 2 or self.world.now < self._dark_until:
            return ""
        self.random.shuffle(hosts)
        at = self.random.randrange(1, len(hosts))
        whole = self.network.partition(hosts[:at], hosts[at:])
        dark, dawn = self.random.uniform(25.0, 40.0), self.random.uniform(5.0, 20.0)

        def cut_power() -> None:
            if self.world.now >= self._ends:
                return
            self.watch.disturb()
            for manager in self.managers:
                manager.power_off()
                if manager is not self.managers[0]:
                    self.world.after(self.random.uniform(0.0, 5.0), partial(self._start_again, manager))
                elif self.random.random() < 0.4:
                    self._for_a_while(partial(self._start_again, manager))

        self._dark_until = self.world.now + dark + dawn
        self.world.after(dark, cut_power)
        self.world.after(dark + dawn, whole)
        sides = f"{' '.join(hosts[:at])} | {' '.join(hosts[at:])}"
        return f"{sides} for {dark + dawn:.1f} s, without power after {dark:.1f} s"

    _dark_until = 0.0

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
