"""The membership state machine: SWIM (Das, Gupta, Motivala 2002) as memberlist speaks it."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, inf, log2
from random import Random
from typing import assert_never

from gossip.broadcasts import Broadcasts, transmit_limit
from gossip.config import GossipConfig
from gossip.effects import (
    CannotRefute,
    MemberChanged,
    NameConflict,
    OpenStream,
    OtherGroup,
    Output,
    PeerFailed,
    Rejected,
    Resolve,
    Send,
)
from gossip.incarnations import is_plausible
from gossip.members import Member, Members, takes_new_address
from gossip.messages import (
    OUR_VERSIONS,
    Ack,
    Address,
    Alive,
    Dead,
    Incarnation,
    IndirectPing,
    MemberState,
    Message,
    Nack,
    NodeName,
    Ping,
    PushPull,
    State,
    StreamMessage,
    Suspect,
    User,
    Versions,
)
from gossip.probe import Prober
from gossip.rejoin import Rejoin
from gossip.suspicion import Suspicion, confirmations_wanted, suspicion_bounds
from gossip.wire import COMPOUND_OVERHEAD, INCARNATION_LIMIT, PART_OVERHEAD, PARTS_MAX, encode_message

_CONFLICTS_KEPT = 256
_ABSURD = "absurd_incarnation"


@dataclass(frozen=True, slots=True)
class _Join:
    address: Address
    peer: str | None


@dataclass(frozen=True, slots=True)
class _ConflictCheck:
    address: Address


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


class Swim:
    """One member's view of the group: no socket, no clock, no entropy of its own.

    Carry out the effects it returns, in order, and call `tick` no later than
    `next_deadline()`; calling it early or twice does no harm.
    """

    def __init__(
        self,
        *,
        name: NodeName,
        address: Address,
        meta: bytes,
        incarnation: Incarnation,
        came_later: Callable[[bytes], bool],
        group_of: Callable[[bytes], str | None],
        tokens: Iterator[int],
        wall: Callable[[float], float],
        peers: tuple[str, ...],
        config: GossipConfig,
        random: Random,
        now: float,
        remembered: tuple[str, ...] = (),
    ) -> None:
        """`remembered`: addresses of members from before we started.

        `came_later(meta)`: whether we started after the process of our own name with that `meta`.

        `group_of(meta)`: the other group that a member with that `meta` belongs to; None for one of ours, and
        for an agent, which belongs to none. `wall(now)` gives seconds since 1970.
        """
        me = Member(name, address, meta, OUR_VERSIONS, incarnation, State.ALIVE, now)
        self.name = name
        self.members = Members(me, random)
        self.rejoin = Rejoin(peers, config, random, now, remembered)
        self.broadcasts = Broadcasts()
        self.leaving = False
        self._me = me
        self._config = config
        self._random = random
        self._came_later = came_later
        self._group_of = group_of
        self._tokens = tokens
        self._wall = wall
        self._streams: dict[int, _Join | _ConflictCheck] = {}
        self.prober = Prober(
            members=self.members, send=self._send, tokens=tokens, config=config, random=random, now=now
        )
        self._gossiped = -inf
        self._push_pull_at = now + config.push_pull_interval * random.uniform(1, 2)
        self._suspicions_end = inf
        """No suspicion ends before; by how many could confirm, which `_confirmers` was then."""
        self._confirmers = 0
        self._asked = -inf
        """When we last asked somebody whether it is at an absurd incarnation."""
        self._cannot_refute = False
        self._conflicts: OrderedDict[tuple[NodeName, Address], None] = OrderedDict()

    # What arrives

    def receive(self, message: Message, sender: Address, now: float) -> list[Output]:
        """One message of a packet from `sender`; user messages are not for us."""
        match message:
            case Ping():
                return self.prober.ping(message, sender)
            case IndirectPing():
                return self.prober.indirect_ping(message, sender, now)
            case Ack(number):
                return self.prober.ack(number, now)
            case Nack(number):
                self.prober.nack(number)
                return []
            case Alive():
                return self._alive(message, now)
            case Suspect():
                return self._suspect(message, now)
            case Dead():
                return self._dead(message, now)
            case _:
                return [Rejected("unexpected_message")]

    def ping_received(self, message: StreamMessage) -> Ack | None:
        """The answer to a ping by TCP; None for anything else, and for a ping that is meant for another."""
        match message:
            case Ping(number, target) if target in ("", self.name):
                return Ack(number)
            case _:
                return None

    def table_received(self, table: PushPull, now: float) -> tuple[PushPull, list[Output]]:
        """A push/pull: our own table in answer, and what follows from theirs.

        Merged before answered, unlike memberlist: what it says of us is refuted in this very answer.
        """
        output = self._merge(table, now)
        return PushPull(table.join, self._table()), output

    def owns_stream(self, token: int) -> bool:
        """Whether `stream_answered(token, …)` is for us."""
        return token in self._streams or self.prober.owns_stream(token)

    def stream_answered(self, token: int, answer: StreamMessage | None, now: float) -> list[Output]:
        """The outcome of an `OpenStream`; None where there was no answer."""
        if self.prober.owns_stream(token):
            return self.prober.stream_answered(token, answer, now)
        match self._streams.pop(token):
            case _ConflictCheck(address):
                lives = isinstance(answer, Ack)
                return [NameConflict(self.name, address, ours=True)] if lives else []
            case _Join(address, peer):
                incarnation = self._me.incarnation
                output = self._merge(answer, now, said_by=address) if isinstance(answer, PushPull) else []
                if self._me.incarnation != incarnation:
                    # It holds us for gone, and may not be among those whom we gossip to.
                    output.append(Send(address, (self._me.alive(),)))
                if peer is not None:
                    ok = isinstance(answer, PushPull)
                    why = "nothing answers there" if answer is None else "what answers there is no member"
                    if (complaint := self.rejoin.answered(peer, address, ok, why, now)) is not None:
                        output.append(PeerFailed(peer, complaint))
                return output
            case _ as never:
                assert_never(never)

    def resolved(self, peer: str, addresses: list[Address], now: float) -> list[Output]:
        """`Resolve(peer)` gave these; empty where the name is not known (yet)."""
        strangers = [address for address in addresses if self.members.at(address) is None]
        self.rejoin.resolved(peer, strangers, bool(addresses), now)
        output: list[Output] = [self._join(address, peer) for address in strangers]
        if (complaint := self.rejoin.complaint(peer)) is not None:
            output.append(PeerFailed(peer, complaint))
        return output

    # Time

    def next_deadline(self) -> float:
        """The latest time at which `tick` wants to be called."""
        deadlines = [self.prober.next_deadline(), self._push_pull_at]
        if not self.leaving:
            deadlines.append(self.rejoin.next_deadline(bool(self.members.lost)))
        if self.broadcasts:
            deadlines.append(self._gossip_at())
        if self._confirmers_now() != self._confirmers:
            self._find_first_end()
        deadlines.append(self._suspicions_end)
        return min(deadlines)

    def tick(self, now: float) -> list[Output]:
        """Whatever has become due by `now`."""
        if (late := self.prober.late(now)) > self._config.lag_tolerated:
            self._excuse(late)
        output, silent = self.prober.tick(now, leaving=self.leaving)
        if silent is not None:
            output += self._suspect(Suspect(silent.name, silent.incarnation, self.name), now)
        output += self._tick_suspicions(now)
        output += self._tick_rejoin(now)
        if self._push_pull_at <= now:
            output += self._push_pull(now)
        if self.broadcasts and self._gossip_at() <= now:
            output += self._gossip(now)
        return output

    def depart(self) -> list[Output]:
        """We are gone: say so to everyone at once, and let them tell it on. Repeat it against losses."""
        self.leaving = True
        dead = Dead(self.name, self._me.incarnation, self.name)
        if self._me.state is not State.LEFT:
            self._me.state = State.LEFT
            self.broadcasts.queue(("member", self.name), dead)
        return [Send(member.address, (dead,)) for member in self.members.present()]

    def announce(self) -> None:
        """Tell everyone that we are here."""
        self._broadcast(self._me.alive())

    def _excuse(self, late: float) -> None:
        """We were away for `late` seconds (a busy loop, a stopped process): nobody is blamed for that time.

        What the others sent meanwhile waits in our sockets, so we listen before we judge.
        """
        self.prober.excuse(late)
        for member in self.members.suspects.values():
            assert member.suspicion is not None
            member.suspicion.started += late
        self._suspicions_end += late

    # Claims

    def _alive(self, claim: Alive, now: float, *, first_hand: bool = False) -> list[Output]:
        if claim.node == self.name:
            return self._alive_about_us(claim, now, first_hand=first_hand)
        if not understands_us(claim.versions):
            return [Rejected("versions")]
        if (group := self._group_of(claim.meta)) is not None:
            return self._stranger(claim, group)
        member = self.members.get(claim.node)
        if member is not None:
            if claim.address != member.address:
                if not takes_new_address(member, claim):
                    return self._conflict(claim) if member.present else []
            elif claim.incarnation <= member.incarnation:
                return []
        if not self._is_plausible(claim.incarnation, member, now, first_hand=first_hand):
            return self._ask_whether(claim, now)
        if member is None:
            return self._newcomer(claim, now)
        before = member.state
        news = before is not State.ALIVE or claim.meta != member.meta or claim.address != member.address
        if claim.address != member.address:
            self.members.move(member, claim.address)
        member.meta, member.versions, member.incarnation = claim.meta, claim.versions, claim.incarnation
        if before is not State.ALIVE:
            self.members.change(member, State.ALIVE, now)
        self._broadcast(claim)
        why = "came back" if before in (State.DEAD, State.LEFT) else "refuted" if news else "said so"
        return [MemberChanged(claim.node, before, State.ALIVE, why)] if news else []

    def _newcomer(self, claim: Alive, now: float) -> list[Output]:
        if len(self.members) >= self._config.members_max:
            gone = self.members.longest_gone()
            if gone is None:
                return [Rejected("too_many_members")]
            self.members.forget(gone.name)
        member = Member(
            claim.node, claim.address, claim.meta, claim.versions, claim.incarnation, State.ALIVE, now
        )
        self.members.add(member)
        self._broadcast(claim)
        return [MemberChanged(claim.node, None, State.ALIVE, "joined")]

    def _alive_about_us(self, claim: Alive, now: float, *, first_hand: bool) -> list[Output]:
        if self.leaving:
            return []
        if claim.address != self._me.address:
            return self._conflict(claim)
        if claim.incarnation < self._me.incarnation:
            return []
        if claim.incarnation == self._me.incarnation and claim.meta == self._me.meta:
            return []
        return self._refute(claim.incarnation, now, first_hand=first_hand)

    def _is_plausible(
        self, claimed: Incarnation, member: Member | None, now: float, *, first_hand: bool = False
    ) -> bool:
        known = 0 if member is None else member.incarnation
        return is_plausible(claimed, known, self._wall(now), first_hand=first_hand)

    def _ask_whether(self, claim: Alive, now: float) -> list[Output]:
        """Forged, or by a clock that is wrong, its or ours: whoever is there may say so itself."""
        output: list[Output] = [Rejected(_ABSURD)]
        if not self.leaving and now - self._asked >= self._config.probe_interval:
            # One at a time: who forges thousands makes us no flood of connections.
            self._asked = now
            output.append(self._exchange(claim.address, None, join=False))
        return output

    def _stranger(self, claim: Alive, group: str) -> list[Output]:
        """A manager of another group, by an address that changed hands or an agent in both: never let in."""
        said = (claim.node, claim.address) in self._conflicts
        self._remember((claim.node, claim.address))
        output: list[Output] = [Rejected("other_group")]
        return output if said else [*output, OtherGroup(claim.node, claim.address, group)]

    def _remember(self, said: tuple[NodeName, Address]) -> None:
        """That the operator has been told, about as many as may be."""
        self._conflicts[said] = None
        while len(self._conflicts) > _CONFLICTS_KEPT:
            self._conflicts.popitem(last=False)

    def _conflict(self, claim: Alive) -> list[Output]:
        """Two processes of one name. Where it is ours and we came later, make sure that the other lives."""
        key = (claim.node, claim.address)
        known = key in self._conflicts
        self._remember(key)
        output: list[Output] = [] if known else [NameConflict(claim.node, claim.address, ours=False)]
        holder = self.members.get(claim.node)
        if holder is not None and holder is not self._me:
            # Nobody passes the claim on, so the one whom all know would never hear that it came later.
            output.append(Send(holder.address, (claim,)))
        checking = any(check == _ConflictCheck(claim.address) for check in self._streams.values())
        if claim.node == self.name and self._came_later(claim.meta) and not checking:
            token = next(self._tokens)
            self._streams[token] = _ConflictCheck(claim.address)
            output.append(OpenStream(token, claim.address, Ping(self.prober.next_number(), self.name), 2.0))
        return output

    def _suspect(self, claim: Suspect, now: float, *, first_hand: bool = False) -> list[Output]:
        if claim.node == self.name:
            return self._refute_if_current(claim.incarnation, now, first_hand=first_hand)
        member = self.members.get(claim.node)
        if member is None or claim.incarnation < member.incarnation:
            return []
        if not self._is_plausible(claim.incarnation, member, now):
            return [Rejected(_ABSURD)]
        if member.suspicion is not None:
            if member.suspicion.confirm(claim.accuser):
                self._suspicions_end = min(self._suspicions_end, self._suspicion_ends(member))
                self._broadcast(claim)
            return []
        if member.state is not State.ALIVE:
            return []
        shortest, longest = suspicion_bounds(
            len(self.members),
            self._config.suspicion_mult,
            self._config.suspicion_max_mult,
            self._config.probe_interval,
        )
        most = max(0, self._config.suspicion_mult - 2)
        suspicion = Suspicion(claim.incarnation, now, most, shortest, longest, {claim.accuser})
        member.incarnation = claim.incarnation
        self.members.change(member, State.SUSPECT, now, suspicion)
        self._suspicions_end = min(self._suspicions_end, self._suspicion_ends(member))
        self._broadcast(claim)
        if claim.accuser != self.name:
            self.prober.accused = claim.node
        return [MemberChanged(claim.node, State.ALIVE, State.SUSPECT, f"no answer to {claim.accuser}")]

    def _confirmers_now(self) -> int:
        """How many confirmations a suspicion can get and waits for."""
        return confirmations_wanted(self.members.alive, self._config.suspicion_mult)

    def _suspicion_ends(self, member: Member) -> float:
        """When `member` is given up: the sooner the more confirm it, and soonest where nobody could."""
        assert member.suspicion is not None
        return member.suspicion.deadline(self._confirmers_now())

    def _find_first_end(self) -> None:
        self._confirmers = self._confirmers_now()
        self._suspicions_end = min(map(self._suspicion_ends, self.members.suspects.values()), default=inf)

    def _tick_suspicions(self, now: float) -> list[Output]:
        if self._confirmers_now() == self._confirmers and now < self._suspicions_end:
            return []
        output: list[Output] = []
        for member in list(self.members.suspects.values()):
            if self._suspicion_ends(member) <= now:
                output += self._dead(Dead(member.name, member.incarnation, self.name), now)
        self._find_first_end()
        return output

    def _dead(self, claim: Dead, now: float, *, first_hand: bool = False) -> list[Output]:
        if claim.node == self.name:
            return self._refute_if_current(claim.incarnation, now, first_hand=first_hand)
        member = self.members.get(claim.node)
        if member is None or claim.incarnation < member.incarnation or not member.present:
            return []
        if not self._is_plausible(claim.incarnation, member, now):
            return [Rejected(_ABSURD)]
        before = member.state
        left = claim.accuser == claim.node
        member.incarnation = claim.incarnation
        self.members.change(member, State.LEFT if left else State.DEAD, now)
        self._broadcast(claim)
        why = "left" if left else f"no refutation reached {claim.accuser}"
        return [MemberChanged(claim.node, before, member.state, why)]

    def left_by_intent(self, name: NodeName, now: float) -> list[Output]:
        """An operator's word (Serf's force-leave) about a member that is dead: it is not expected back."""
        member = self.members.get(name)
        if member is None or member.state is not State.DEAD:
            return []
        self.members.change(member, State.LEFT, now)
        return [MemberChanged(name, State.DEAD, State.LEFT, "declared gone, by itself or by an operator")]

    def _refute_if_current(self, incarnation: Incarnation, now: float, *, first_hand: bool) -> list[Output]:
        if self.leaving or incarnation < self._me.incarnation:
            return []
        return self._refute(incarnation, now, first_hand=first_hand)

    def _refute(self, accused: Incarnation, now: float, *, first_hand: bool) -> list[Output]:
        incarnation = max(self._me.incarnation, accused) + 1
        plausible = self._is_plausible(accused, self._me, now, first_hand=first_hand)
        if not plausible or incarnation >= INCARNATION_LIMIT:
            # Who is honest does not take it either; it matters where somebody has.
            said, self._cannot_refute = self._cannot_refute, self._cannot_refute or first_hand
            return [Rejected(_ABSURD), *([CannotRefute(accused)] if first_hand and not said else [])]
        self._me.incarnation = incarnation
        self.prober.awareness.add(1)
        self._broadcast(self._me.alive())
        return []

    # Telling others

    def _broadcast(self, message: Alive | Suspect | Dead) -> None:
        self.broadcasts.queue(("member", message.node), message)

    def pass_on(self, digest: str, message: User) -> bool:
        """Tell others what is none of our business; false where it cannot be."""
        return self.broadcasts.pass_on(digest, message, self._room())

    def _room(self) -> int:
        """For the messages of a packet that has more than one."""
        return self._config.packet_bytes_max - COMPOUND_OVERHEAD

    def _limit(self) -> int:
        return transmit_limit(len(self.members), self._config.retransmit_mult)

    def _send(self, address: Address, message: Message) -> Send:
        """`message`, and what news fits beside it where a member lives: strangers would use it up."""
        if not self.broadcasts or self.members.at(address) is None:
            return Send(address, (message,))
        room = self._room() - PART_OVERHEAD - len(encode_message(message))
        news = self.broadcasts.take(room, PART_OVERHEAD, self._limit(), PARTS_MAX - 1)
        return Send(address, (message, *news))

    def _gossip_at(self) -> float:
        gap = self._config.gossip_fresh_gap if self.broadcasts.has_fresh else self._config.gossip_interval
        return self._gossiped + gap

    def _gossip(self, now: float) -> list[Output]:
        self._gossiped = now
        candidates = [
            m
            for m in self.members.others()
            if m.present or (m.state is State.DEAD and now - m.changed < self._config.gossip_to_dead)
        ]
        output: list[Output] = []
        for member in self.members.sample(self._config.gossip_nodes, candidates):
            # What is told to the dead is told to nobody.
            counted = member.present
            news = self.broadcasts.take(
                self._room(), PART_OVERHEAD, self._limit(), PARTS_MAX, counted=counted
            )
            if not news:
                break
            output.append(Send(member.address, tuple(news)))
        return output

    # Whole tables

    def _table(self) -> tuple[MemberState, ...]:
        return tuple(member.entry() for member in self.members)

    def _push_pull(self, now: float) -> list[Output]:
        present = len(self.members.present()) + 1
        stretch = 1 if present <= 32 else ceil(log2(present) - 5) + 1
        self._push_pull_at = now + self._config.push_pull_interval * stretch
        alive = [m for m in self.members.present() if m.state is State.ALIVE]
        if self.leaving or not alive:
            return []
        return [self._exchange(self._random.choice(alive).address, None, join=False)]

    def _exchange(self, address: Address, peer: str | None, *, join: bool) -> OpenStream:
        token = next(self._tokens)
        self._streams[token] = _Join(address, peer)
        return OpenStream(token, address, PushPull(join, self._table()), self._config.stream_timeout)

    def _join(self, address: Address, peer: str) -> OpenStream:
        return self._exchange(address, peer, join=True)

    def _merge(self, other: PushPull, now: float, said_by: Address | None = None) -> list[Output]:
        """`said_by`: where we asked for `other`, so that what it says of itself and of us is first-hand."""
        output: list[Output] = []
        for entry in other.members:
            first_hand = said_by is not None and (entry.address == said_by or entry.name == self.name)
            match entry.state:
                case State.ALIVE:
                    claim = Alive(entry.name, entry.incarnation, entry.address, entry.meta, entry.versions)
                    output += self._alive(claim, now, first_hand=first_hand)
                case State.LEFT:
                    left = Dead(entry.name, entry.incarnation, entry.name)
                    output += self._dead(left, now, first_hand=first_hand)
                case State.SUSPECT | State.DEAD:
                    # Second-hand death is only a suspicion: whoever lives can still refute it.
                    accused = Suspect(entry.name, entry.incarnation, self.name)
                    output += self._suspect(accused, now, first_hand=first_hand)
        return output

    # Coming back

    def _tick_rejoin(self, now: float) -> list[Output]:
        if self.leaving:
            return []
        output: list[Output] = [Resolve(peer) for peer in self.rejoin.due_peers(now)]
        member = self.rejoin.due_lost(self.members.lost, now)
        if member is not None and self.members.at(member.address) is None:
            # Where another runs now, it may be we ourselves, there is nobody to look for.
            output.append(self._exchange(member.address, None, join=True))
        gone = self.members.longest_gone()
        while gone is not None and now - gone.changed > self._config.gone_kept:
            self.members.forget(gone.name)
            gone = self.members.longest_gone()
        return output
