"""Which claims about members are taken, and what follows: SWIM's rules, as memberlist extends them."""

from collections.abc import Callable
from math import inf

from gossip.config import GossipConfig
from gossip.conflicts import Conflicts
from gossip.effects import CameBack, CannotRefute, MemberChanged, OpenStream, Output, Rejected, StoodAside
from gossip.hearing import Hearing
from gossip.incarnations import is_plausible
from gossip.members import Member, Members, takes_new_address
from gossip.messages import (
    OUR_VERSIONS,
    Address,
    Alive,
    Dead,
    Incarnation,
    MemberState,
    NodeName,
    State,
    Suspect,
    Versions,
)
from gossip.probe import Prober
from gossip.suspects import Suspects
from gossip.telling import Teller
from gossip.wire import INCARNATION_LIMIT

_ABSURD = "absurd_incarnation"


def understands_us(versions: Versions) -> bool:
    """Whether a member of these versions can be in a group with us, and in one with agents."""
    v, us = versions, OUR_VERSIONS
    return (
        v.protocol_min <= us.protocol <= v.protocol_max
        and v.delegate_min <= us.delegate_max
        and v.delegate_max >= us.delegate_min
        and us.protocol_min <= v.protocol <= us.protocol_max
        and us.delegate_min <= v.delegate <= us.delegate_max
    )


class Claims:
    """Takes or drops what is said of members, we ourselves among them, and has it told on.

    `first_hand` of a claim: the member itself says so, or of us one that we asked.
    """

    def __init__(
        self,
        *,
        members: Members,
        teller: Teller,
        prober: Prober,
        hearing: Hearing,
        conflicts: Conflicts,
        group_of: Callable[[bytes], str | None],
        wall: Callable[[float], float],
        ask: Callable[[Address], OpenStream],
        config: GossipConfig,
    ) -> None:
        """`ask(address)`: an exchange with whoever is there, for its own word. Others: see `Swim`."""
        self.leaving = False
        """Whether we are about to go: then nothing that is said of us is refuted."""
        self.suspects = Suspects(members, config)
        self._members = members
        self._me = members.me
        self._teller = teller
        self._prober = prober
        self._hearing = hearing
        self._conflicts = conflicts
        self._group_of = group_of
        self._wall = wall
        self._ask = ask
        self._config = config
        self._asked = -inf
        """When we last asked somebody whether it is at an absurd incarnation."""
        self._cannot_refute = False

    # That somebody is there

    def alive(self, claim: Alive, now: float, *, first_hand: bool = False) -> list[Output]:
        if claim.node == self._me.name:
            return self._alive_about_us(claim, now, first_hand=first_hand)
        if not understands_us(claim.versions):
            return [Rejected("versions")]
        if self._is_where_we_are(claim):
            return []
        if (group := self._group_of(claim.meta)) is not None:
            return self._stranger(claim, group, now)
        member = self._members.get(claim.node)
        if member is not None:
            if claim.address != member.address:
                if not takes_new_address(member, claim):
                    return self._conflicts.second_address(claim, now) if member.present else []
            elif claim.incarnation <= member.incarnation:
                return []
        if not self._is_plausible(claim.incarnation, member, now, first_hand=first_hand):
            return self._ask_whether(claim, now)
        return self._newcomer(claim, now) if member is None else self._newer(claim, member, now)

    def _is_where_we_are(self, claim: Alive) -> bool:
        """Whether it tells of our former self, or of who had our address before: we would ask ourselves."""
        return claim.address == self._me.address

    def _stranger(self, claim: Alive, group: str, now: float) -> list[Output]:
        output = self._conflicts.other_group(claim, group, now)
        member = self._members.get(claim.node)
        if (
            member is not None
            and claim.address == member.address
            and claim.incarnation > member.incarnation
            and self._is_plausible(claim.incarnation, member, now)
        ):
            # Whoever was ours there is no more, although somebody answers by its name when it is probed.
            output += self.dead(Dead(member.name, member.incarnation, self._me.name), now)
        return output

    def _newer(self, claim: Alive, member: Member, now: float) -> list[Output]:
        before = member.state
        other = claim.meta != member.meta or claim.address != member.address
        news = before is not State.ALIVE or other
        if not other:
            self._hearing.other_refuted(now)
            self.suspects.answered(member, now)
        if claim.address != member.address:
            self._members.move(member, claim.address)
        member.meta, member.versions, member.incarnation = claim.meta, claim.versions, claim.incarnation
        member.mapped = claim.mapped
        if before is not State.ALIVE:
            self._members.change(member, State.ALIVE, now)
        self._teller.tell(claim)
        why = "came back" if before in (State.DEAD, State.LEFT) else "refuted" if news else "said so"
        return [MemberChanged(claim.node, before, State.ALIVE, why)] if news else []

    def _newcomer(self, claim: Alive, now: float) -> list[Output]:
        if len(self._members) >= self._config.members_max:
            gone = self._members.longest_gone()
            if gone is None:
                return [Rejected("too_many_members")]
            self._members.forget(gone.name)
        member = Member(
            claim.node,
            claim.address,
            claim.meta,
            claim.versions,
            claim.incarnation,
            State.ALIVE,
            now,
            mapped=claim.mapped,
        )
        self._members.add(member)
        self._teller.tell(claim)
        return [MemberChanged(claim.node, None, State.ALIVE, "joined")]

    def _ask_whether(self, claim: Alive, now: float) -> list[Output]:
        """Forged, or by a clock that is wrong, its or ours: whoever is there may say so itself."""
        output: list[Output] = [Rejected(_ABSURD)]
        if not self.leaving and now - self._asked >= self._config.probe_interval:
            # One at a time: who forges thousands makes us no flood of connections.
            self._asked = now
            output.append(self._ask(claim.address))
        return output

    # That somebody does not answer, or is gone

    def suspect(self, claim: Suspect, now: float, *, first_hand: bool = False) -> list[Output]:
        if claim.node == self._me.name:
            return self._accused(claim, now, first_hand=first_hand)
        member = self._members.get(claim.node)
        if member is None or claim.incarnation < member.incarnation:
            return []
        if not self._is_plausible(claim.incarnation, member, now):
            return [Rejected(_ABSURD)]
        if member.suspicion is not None:
            if self.suspects.confirm(member, claim.accuser):
                self._teller.tell(claim)
            return []
        if member.state is not State.ALIVE:
            return []
        member.incarnation = claim.incarnation
        self.suspects.begin(member, claim.incarnation, claim.accuser, now)
        self._teller.tell(claim)
        if claim.accuser != self._me.name and self._config.accused_first:
            self._prober.give_second_opinion(claim.node, now)
        why = f"no answer to {claim.accuser}"
        output: list[Output] = [MemberChanged(claim.node, State.ALIVE, State.SUSPECT, why)]
        if (elsewhere := self._conflicts.moved(member, now)) is not None:
            output += self.alive(elsewhere, now)
        return output

    def tick_suspicions(self, now: float) -> list[Output]:
        """Give up the suspects that have not answered in time."""
        output: list[Output] = []
        for member in self.suspects.over(now):
            output += self.dead(Dead(member.name, member.incarnation, self._me.name), now)
        return output

    def dead(self, claim: Dead, now: float, *, first_hand: bool = False) -> list[Output]:
        if claim.node == self._me.name:
            return self._accused(claim, now, first_hand=first_hand)
        member = self._members.get(claim.node)
        if member is None or claim.incarnation < member.incarnation or not member.present:
            return []
        if not self._is_plausible(claim.incarnation, member, now):
            return [Rejected(_ABSURD)]
        before = member.state
        left = claim.accuser == claim.node
        member.incarnation = claim.incarnation
        self._members.change(member, State.LEFT if left else State.DEAD, now)
        self._teller.tell(claim)
        why = "left" if left else f"no refutation reached {claim.accuser}"
        return [MemberChanged(claim.node, before, member.state, why)]

    def left_by_intent(self, name: NodeName, now: float) -> list[Output]:
        """An operator's word (Serf's force-leave) about a member that is dead: it is not expected back."""
        member = self._members.get(name)
        if member is None or member.state is not State.DEAD:
            return []
        self._members.change(member, State.LEFT, now)
        return [MemberChanged(name, State.DEAD, State.LEFT, "declared gone, by itself or by an operator")]

    def prune(self, name: NodeName) -> None:
        """An operator's word about a member that left: it is no longer listed either."""
        member = self._members.get(name)
        if member is not None and member is not self._me and member.state is State.LEFT:
            self._members.forget(name)

    # A line of another's table

    def entry(self, entry: MemberState, now: float, *, first_hand: bool) -> list[Output]:
        """What `entry` says, as a claim."""
        match entry.state:
            case State.ALIVE:
                claim = Alive(
                    entry.name,
                    entry.incarnation,
                    entry.address,
                    entry.meta,
                    entry.versions,
                    entry.mapped,
                )
                return self.alive(claim, now, first_hand=first_hand)
            case State.LEFT:
                left = Dead(entry.name, entry.incarnation, entry.name)
                return self.dead(left, now, first_hand=first_hand)
            case State.SUSPECT | State.DEAD:
                # Second-hand death is only a suspicion: whoever lives can still refute it.
                accused = Suspect(entry.name, entry.incarnation, self._me.name)
                return self.suspect(accused, now, first_hand=first_hand)

    # Of ourselves

    def _alive_about_us(self, claim: Alive, now: float, *, first_hand: bool) -> list[Output]:
        if self.leaving:
            return []
        if claim.address != self._me.address:
            if (group := self._group_of(claim.meta)) is not None:
                # A namesake, of whom an agent in both groups tells: neither is in the other's way.
                return self._conflicts.other_group(claim, group, now)
            return self._conflicts.second_address(claim, now)
        if claim.incarnation < self._me.incarnation:
            return []
        if claim.incarnation == self._me.incarnation and claim.meta == self._me.meta:
            return []
        return self._refute(claim.incarnation, now, first_hand=first_hand)

    def _accused(self, claim: Suspect | Dead, now: float, *, first_hand: bool) -> list[Output]:
        if self.leaving or claim.incarnation < self._me.incarnation:
            return []
        if self._hearing.accused(claim.accuser, now):
            return [StoodAside()]
        return self._refute(claim.incarnation, now, first_hand=first_hand)

    def tick_aside(self, now: float) -> list[Output]:
        """Say that we are there, where we stood aside and are heard again."""
        if self.leaving or not self._hearing.heard_again(now):
            return []
        return [CameBack(), *self._refute(self._me.incarnation, now, first_hand=True)]

    def _refute(self, accused: Incarnation, now: float, *, first_hand: bool) -> list[Output]:
        if self._hearing.aside:
            return []
        incarnation = max(self._me.incarnation, accused) + 1
        plausible = self._is_plausible(accused, self._me, now, first_hand=first_hand)
        if not plausible or incarnation >= INCARNATION_LIMIT:
            # Who is honest does not take it either; it matters where somebody has.
            said, self._cannot_refute = self._cannot_refute, self._cannot_refute or first_hand
            return [Rejected(_ABSURD), *([CannotRefute(accused)] if first_hand and not said else [])]
        self._me.incarnation = incarnation
        self._prober.awareness.add(1)
        self._teller.tell(self._me.alive())
        return []

    def _is_plausible(
        self, claimed: Incarnation, member: Member | None, now: float, *, first_hand: bool = False
    ) -> bool:
        known = 0 if member is None else member.incarnation
        return is_plausible(claimed, known, self._wall(now), first_hand=first_hand)
