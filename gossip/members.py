"""The membership table, and which of two claims prevails (SWIM § 4.2, with memberlist's states)."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from gossip.messages import Address, Alive, Incarnation, MemberState, NodeName, State, Versions
from gossip.suspicion import Suspicion

_PRESENT = frozenset({State.ALIVE, State.SUSPECT})


@dataclass(slots=True)
class Member:
    """One entry. `changed` is when its state last changed, in our seconds."""

    name: NodeName
    address: Address
    meta: bytes
    versions: Versions
    incarnation: Incarnation
    state: State
    changed: float
    suspicion: Suspicion | None = None
    round_trip: float | None = None
    """Of our last ping that it answered itself, in seconds."""
    mapped: bool = False
    """How its address is written (`Alive.mapped`)."""
    roundabout: int = 0
    """Our last pings in a row that it answered by TCP or through others alone."""

    @property
    def present(self) -> bool:
        """Whether it counts as running: nobody has declared it gone."""
        return self.state in _PRESENT

    def entry(self) -> MemberState:
        """Its line in a push/pull."""
        return MemberState(
            self.name, self.address, self.meta, self.incarnation, self.state, self.versions, self.mapped
        )

    def alive(self) -> Alive:
        """The claim that we repeat about it."""
        return Alive(self.name, self.incarnation, self.address, self.meta, self.versions, self.mapped)


def takes_new_address(known: Member, claim: Alive) -> bool:
    """Whether `claim`, from another address than the known one, is the same member moved.

    One that left, is dead or does not answer may be anywhere, where it says something newer: else a late
    echo of an earlier life elsewhere would bring it back. Peers of memberlist's default never take a dead one
    back, which locks a replaced host out for as long as its name is known. One that runs is another process.
    """
    return known.state is not State.ALIVE and claim.incarnation > known.incarnation


class Members:
    """The table by name, and a probe order over it in which each member comes once per cycle.

    What every packet asks (who is suspected, who is lost, who lives where) does not cost more with the size
    of the table, which strangers may fill.
    """

    def __init__(self, me: Member, random: Random) -> None:
        self.me = me
        self.alive = 0
        """How many others nobody suspects."""
        self.suspects: dict[NodeName, Member] = {}
        self.lost: dict[NodeName, Member] = {}
        """Those who were declared dead, the longest dead first."""
        self._random = random
        self._by_name: dict[NodeName, Member] = {me.name: me}
        self._by_address: dict[Address, Member] = {}
        self._addresses_known = False
        self._gone: dict[NodeName, Member] = {}
        self._lately_gone: dict[NodeName, Member] = {}
        self._present: list[Member] | None = None
        """As `present` gives them; None where that has changed."""
        self._order: list[NodeName] = []
        self._next = 0

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def size(self) -> int:
        """How large the group is: peers too count who is gone for some time, and then no more."""
        return len(self._by_name) - len(self._gone) + len(self._lately_gone)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._by_name.values())

    def get(self, name: NodeName) -> Member | None:
        return self._by_name.get(name)

    def add(self, member: Member) -> None:
        """Enter a newcomer, which is alive, at a random place of the cycle."""
        self._by_name[member.name] = member
        self.alive += 1
        self._present = None
        self._by_address[member.address] = member
        self._order.append(member.name)
        other = self._random.randrange(len(self._order))
        self._order[-1], self._order[other] = self._order[other], self._order[-1]

    def change(self, member: Member, state: State, now: float, suspicion: Suspicion | None = None) -> None:
        """`member`, which is not we ourselves, is in `state` from `now` on."""
        if member.present != (state in _PRESENT):
            self._present = None
        self.alive += (state is State.ALIVE) - (member.state is State.ALIVE)
        for state_of, index in ((State.SUSPECT, self.suspects), (State.DEAD, self.lost)):
            index.pop(member.name, None)
            if state is state_of:
                index[member.name] = member
        for gone in (self._gone, self._lately_gone):
            gone.pop(member.name, None)
        if state in (State.DEAD, State.LEFT):
            self._gone[member.name] = self._lately_gone[member.name] = member
            self._addresses_known = False
        else:
            self._by_address[member.address] = member
        member.state, member.changed, member.suspicion = state, now, suspicion

    def move(self, member: Member, address: Address) -> None:
        """`member` has another address."""
        member.address = address
        self._addresses_known = False

    def is_gone(self, address: Address) -> bool:
        """Whether a member was there, of which it is known that it is dead or left."""
        return any(member.address == address for member in self._gone.values())

    def longest_gone(self) -> Member | None:
        """Of those who are dead or left, the one that is so for the longest time."""
        return next(iter(self._gone.values()), None)

    def count_no_more(self, gone_before: float) -> None:
        """Whoever went before that is no part of `size` any more."""
        while (first := next(iter(self._lately_gone.values()), None)) is not None:
            if first.changed > gone_before:
                return
            del self._lately_gone[first.name]

    def forget(self, name: NodeName) -> None:
        """Strike out a member that is gone."""
        del self._by_name[name], self._gone[name]
        for index in (self.lost, self._lately_gone):
            index.pop(name, None)
        at = self._order.index(name)
        del self._order[at]
        if at < self._next:
            self._next -= 1

    def others(self) -> list[Member]:
        """All but ourselves, in the order in which we met them."""
        return [member for member in self._by_name.values() if member is not self.me]

    def present(self) -> list[Member]:
        """The others that count as running, in the order in which we met them; not to be changed."""
        if self._present is None:
            self._present = [member for member in self.others() if member.present]
        return self._present

    def at(self, address: Address) -> Member | None:
        """The member that counts as running there; it may be we ourselves."""
        if not self._addresses_known:
            self._by_address = {m.address: m for m in self._by_name.values() if m.present}
            self._addresses_known = True
        member = self._by_address.get(address)
        return member if member is not None and member.present else None

    def next_to_probe(self) -> Member | None:
        """The next running member of the cycle, which is shuffled anew each time it is through."""
        for _ in range(len(self._order) + 1):
            if self._next >= len(self._order):
                self._random.shuffle(self._order)
                self._next = 0
                if not self._order:
                    return None
            member = self._by_name[self._order[self._next]]
            self._next += 1
            if member.present:
                return member
        return None

    def sample(self, count: int, candidates: list[Member]) -> list[Member]:
        """At most `count` of `candidates`, each equally likely; all of them where they are few."""
        return self._random.sample(candidates, min(count, len(candidates)))
