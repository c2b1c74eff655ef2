"""Bugs of who meets whom that others shipped (the report beside each), put back one at a time."""

from typing import Any

from gossip.claims import Claims
from gossip.effects import OpenStream, Output
from gossip.exchanges import Exchanges
from gossip.members import Member
from gossip.messages import Address, PushPull, State
from gossip.probe import Prober
from gossip.rejoin import Rejoin
from gossip.swim import Swim
from manager.disk.keeper import Keeper
from simulations.mutants.patch import Patch


def only_the_living_are_remembered(patch: Patch) -> None:
    """After an outage of all, who was down before it is looked for by nobody (libnetwork#2134)."""

    def members(self: Keeper) -> list[str]:
        others = self._group.swim.members.others()
        return [str(member.address) for member in others if member.state is State.ALIVE]

    patch(Keeper, "_members", members)


def former_name_is_believed(patch: Patch) -> None:
    """A member under a new name takes its old self, where it runs itself, for another (foca#34)."""
    patch(Claims, "_is_where_we_are", lambda *_: False)


def silent_helper_accuses(patch: Patch) -> None:
    """Who answered in time is suspected all the same, where a helper did not (ringpop-node#59)."""
    right = Prober.ack

    def ack(self: Prober, number: int, now: float, **how: Any) -> list[Output]:
        probe = self._probe
        output = right(self, number, now, **how)
        if probe is not None and probe.number == number and probe.nacks_due:
            self._probe = probe
        return output

    patch(Prober, "ack", ack)


def merge_waits_for_ever(patch: Patch) -> None:
    """A merge whose other side has ended stays under way, and no other begins (hazelcast#4156)."""
    begin, answered, resolved, due = (
        Exchanges.begin,
        Exchanges.stream_answered,
        Swim.resolved,
        Rejoin.due_lost,
    )

    def under_way(rejoin: Rejoin) -> set[Address]:
        those: set[Address] = vars(rejoin).setdefault("_under_way", set())
        return those

    def begins(self: Exchanges, address: Address, *rest: Any, **how: Any) -> OpenStream:
        if any(member.address == address for member in self._members.lost.values()):
            under_way(self._rejoin).add(address)
        return begin(self, address, *rest, **how)

    def ends(self: Exchanges, token: int, answer: Any, *rest: Any) -> list[Output]:
        if isinstance(answer, PushPull):
            under_way(self._rejoin).discard(self._streams[token].address)
        return answered(self, token, answer, *rest)

    def found(self: Swim, peer: str, addresses: list[Address], now: float) -> list[Output]:
        others = [address for address in addresses if address not in under_way(self.rejoin)]
        return resolved(self, peer, others, now)

    def looks(self: Rejoin, lost: Any, now: float) -> Member | None:
        member = due(self, lost, now)
        return None if member is not None and member.address in under_way(self) else member

    patch(Exchanges, "begin", begins)
    patch(Exchanges, "stream_answered", ends)
    patch(Swim, "resolved", found)
    patch(Rejoin, "due_lost", looks)
