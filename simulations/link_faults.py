"""What breaks between hosts. Each fault says what it did, or nothing where it could not."""

from dataclasses import replace

from simulations.ground import Ground
from simulations.network import DATAGRAM_BYTES_MAX, Carrier


class LinkFaults(Ground):
    """Cuts of every shape, and bad weather."""

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

    def _long_split(self) -> str:
        """Two sides give each other up, for so long that neither tells the other anything any more."""
        hosts = [manager.host for manager in self.managers]
        if len(hosts) < 2 or self.world.now < self._split_until:
            return ""
        self.random.shuffle(hosts)
        at = self.random.randrange(1, len(hosts))
        nodes = {node.host: self.random.random() < 0.5 for node in self.nodes}
        left = hosts[:at] + [host for host, ours in nodes.items() if ours]
        right = hosts[at:] + [host for host, ours in nodes.items() if not ours]
        seconds = self.random.uniform(50.0, 90.0)
        self._split_until = self.world.now + seconds
        self.world.after(seconds, self.network.partition(left, right))
        return f"{' '.join(left)} | {' '.join(right)} for {seconds:.1f} s"

    _split_until = 0.0

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

    def _small_mtu(self) -> str:
        self.network.mtu = self.random.choice((1252, 548))

        def whole() -> None:
            self.network.mtu = DATAGRAM_BYTES_MAX

        mtu = self.network.mtu
        return f"no datagram above {mtu} bytes for {self._for_a_while(whole):.1f} s"

    def _bad_weather(self) -> str:
        links = self.network.links
        links.loss = self.random.choice((0.0, 0.0, 0.1, 0.3))
        links.copies = self.random.choice((0.0, 0.1, 0.5))
        links.late = self.random.choice((0.0, 0.0, 0.1, 0.3))
        links.late_max = self.random.choice((0.5, 3.0, 15.0))
        return f"loss {links.loss}, copies {links.copies}, late {links.late}"
