"""What operators do, rightly or not, and what strangers send. Each says what was done, or nothing.

Whatever a manager refuses is not done. None of it may cost anybody what was promised.
"""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gossip.messages import Address, Alive, Dead, IndirectPing, Message, Ping, Suspect, Versions
from gossip.wire import encode_packet
from manager.limits.sharing import ALGORITHMS, Sharing
from manager.subscription.documents import Document, sign
from node.protocol import Limit
from simulations.ground import Ground
from simulations.plan import ISSUER
from simulations.processes import GOSSIP_PORT, SimManager
from simulations.world import WALL_AT_START

NOT_TRUSTED = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\1")
NOWHERE = "10.0.8.8"
"""A stranger's host: nothing that it sends is a member's, and nobody listens there."""
ABSURD = 2**31
"""Above every clock's incarnation by more than is believed, and below what is believed of a member itself."""
DAYS = (-400.0, -40.0, 40.0, 400.0)


class OperatorFaults(Ground):
    """Documents, limits, joins by hand, leaves for good, clocks of another year, forged packets."""

    _serial = 0

    def _document(self) -> str:
        """A subscription is installed: mostly a newer one that is right."""
        manager = self._manager()
        if not self.plan.config.issuers or not manager.alive or manager.name == "stranger":
            return ""
        chance, now = self.random, WALL_AT_START + self.world.now
        again = self._serial > 0 and chance.random() < 0.15
        self._serial += not again
        expires = chance.choice((None, None, None, 5.0, 20.0))
        document = Document(
            group=chance.choice(("krakend",) * 9 + ("another",)),
            serial=self._serial,
            max_nodes=chance.choice((None, 1, 2, 3, 5, 8, 12)),
            issued=now - 2 * 86400.0,
            not_before=now + chance.choice((-86400.0,) * 5 + (10.0,)),
            expires=None if expires is None else now + expires,
            overage=chance.choice(("none", "none", "1.5x", "2x", "always")),
            revoked=chance.random() < 0.05,
        )
        trusted = chance.random() < 0.9
        text = self._issued = sign(document, ISSUER if trusted else NOT_TRUSTED)
        if trusted and document.group == "krakend":
            self.watch.granted(text)
        manager.operate(lambda core, now: core.operator.install(text, "an operator", now))
        return f"serial {document.serial} for {document.max_nodes} nodes at {manager.name}"

    _issued = ""

    def _from_issuer(self) -> str:
        """What the issuer's URL gives, if it answers at all."""
        return self._issued if self.random.random() < 0.5 else ""

    def _ask_issuer(self) -> str:
        manager = self._manager()
        if not manager.alive or manager.name == "stranger":
            return ""
        manager.operate(lambda core, now: core.operator.ask_issuer(now))
        return manager.name

    def _set_limit(self) -> str:
        manager = self._manager()
        if not manager.alive or manager.name == "stranger":
            return ""
        chance = self.random
        name = chance.choice(("public", "scarce", "third", "third", "x" * 101))
        limit = chance.choice((None, Limit(1000.0), Limit(3.0), Limit(90.0, 60.0), Limit(1.0, 10.0)))
        shared = self.plan.config.sharing.get(name, Sharing(lease=2.5, reuse_last=0.0, safe=0.1))
        sharing = Sharing(chance.choice(ALGORITHMS), shared.lease, shared.reuse_last, shared.safe)
        if name in self.plan.config.limits and limit is None:
            return ""  # a file's limit: it would be back with the next start
        manager.operate(lambda core, now: core.operator.set_limit(name, limit, sharing, now))
        return f"{name[:10]} {limit and limit.max_rate} ({sharing.algorithm}) at {manager.name}"

    def _join_by_hand(self) -> str:
        """`kcm join`: another manager, or an address where there is none."""
        manager = self._manager()
        host = self.random.choice([m.host for m in self.managers] + [NOWHERE])
        manager.operate(lambda core, now: core.operator.join(Address(host, GOSSIP_PORT), now)[1])
        return f"{host} at {manager.name}" if manager.alive else ""

    def _leave_for_good(self) -> str:
        """`kcm leave`; half of them are started again after all."""
        manager = self._manager()
        kin = [m for m in self.managers if m.alive and m.group_name == manager.group_name]
        # The first stays: were all at addresses that no peer list has, they would never meet.
        if manager is self.managers[0] or manager not in kin or len(kin) < 2 or self._moves or self._twins:
            return ""
        manager.operate(lambda core, now: core.go(now, for_good=True))
        back = self.random.random() < 0.5
        after = self.random.expovariate(1 / self.plan.lasting)

        def end() -> None:
            if back:
                self._start_again(manager)
            elif not manager.alive:
                self._is_gone(manager)

        self.world.after(5.0 + after, end)
        return f"{manager.name}, {f'back after {after:.1f} s' if back else 'and stays away'}"

    def _is_gone(self, manager: SimManager) -> None:
        """It has left for good, and runs nowhere."""
        manager.gone = True

    def _declare_gone(self) -> str:
        """`kcm force-leave`, with `--prune` or without, of a manager that does not run."""
        living = [m for m in self.managers if m.alive]
        away = [m for m in self.managers if not any(n.name == m.name and n.alive for n in self.managers)]
        if not living or not away:
            return ""
        asked, name = self.random.choice(living), self.random.choice(away).name
        prune = self.random.random() < 0.7
        if prune:
            self.watch.pruned.add(name)
        asked.operate(lambda core, now: core.operator.force_leave(name, "an operator", now, prune=prune))
        return f"{name} at {asked.name}{', pruned' if prune else ''}"

    def _another_year(self) -> str:
        """A manager starts, and its clock is months or years off."""
        manager = self._manager()
        if manager.conflicting or manager.gone:
            return ""
        days = self.random.choice(DAYS)
        manager.set_back = manager.set_back or days < 0
        manager.skew += days * 86400.0
        manager.restart()
        return f"{manager.name} by {days:+.0f} days"

    def _rename_manager(self) -> str:
        """The host gets another name, and its manager is set up anew there."""
        manager = self._manager()
        if manager.conflicting or manager.gone or manager.name == "stranger" or self._twins:
            return ""
        if not self._may_lose_its_name(manager):
            return ""
        former, self._renamed = manager.name, self._renamed + 1
        manager.rename(f"r{self._renamed}")
        return f"{former} to {manager.name}"

    _renamed = 0

    def _may_lose_its_name(self, manager: SimManager) -> bool:
        return True

    def _forge(self) -> str:
        """A packet that no member sends: whatever it says is not believed."""
        target, victim = self._manager(), self._manager()
        where = Address(victim.host, GOSSIP_PORT)
        message, what = self.random.choice(_forgeries(victim, where))
        data = encode_packet([message])
        self.network.send((NOWHERE, GOSSIP_PORT), (target.host, GOSSIP_PORT), data)
        return f"{what} {victim.name} to {target.name}"


def _forgeries(victim: SimManager, where: Address) -> list[tuple[Message, str]]:
    me, name = victim.core.group.swim.members.me, victim.name
    nowhere, odd = Address(NOWHERE, GOSSIP_PORT), Versions(6, 9, 7, 2, 5, 5)
    return [
        (Suspect(name, ABSURD, "nobody"), "suspects"),
        (Dead(name, ABSURD, "nobody"), "holds for dead"),
        (Dead(name, ABSURD, name), "lets leave"),
        (Alive(name, ABSURD, where, me.meta), "is ahead of"),
        (Alive("nobody", ABSURD, where, me.meta), "takes the place of"),
        (Alive(name, me.incarnation, where, me.meta, odd), "speaks otherwise than"),
        (Suspect(name, max(0, me.incarnation - 1000), "nobody"), "suspected"),
        (Suspect("nobody", 5, name), "suspects nobody, as"),
        (Ping(7, "nobody", nowhere, "nobody"), "looks for nobody at"),
        (IndirectPing(7, name, nowhere, nack=True, source=nowhere), "aims a ping of"),
    ]
