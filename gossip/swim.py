"""The membership state machine: SWIM (Das, Gupta, Motivala 2002) as memberlist speaks it."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, inf, log2
from random import Random
from typing import assert_never

from gossip.awareness import Awareness
from gossip.broadcasts import Broadcasts, transmit_limit
from gossip.config import GossipConfig
from gossip.effects import (
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
    Versions,
)
from gossip.rejoin import Rejoin
from gossip.suspicion import Suspicion, confirmations_wanted, suspicion_bounds
from gossip.wire import COMPOUND_OVERHEAD, INCARNATION_LIMIT, PART_OVERHEAD, PARTS_MAX, encode_message

_RELAYS_MAX = 256
_CONFLICTS_KEPT = 256


@dataclass(slots=True)
class _Probe:
    """One round: who is asked, and until when."""

    number: int
    target: NodeName
    ends: float
    asks_others_at: float
    nacks_due: int = 0
    """Helpers that were asked for a nack and have not sent one."""
    helped: bool = False
    """Whether any helper that sends nacks was asked."""


@dataclass(slots=True)
class _Relay:
    """A ping that we sent for somebody else."""

    requester: Address
    number: int
    expires: float
    nack: bool


@dataclass(frozen=True, slots=True)
class _Join:
    address: Address
    peer: str | None


@dataclass(frozen=True, slots=True)
class _FallbackPing:
    number: int


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
        peers: tuple[str, ...],
        config: GossipConfig,
        random: Random,
        now: float,
    ) -> None:
        """`came_later(meta)`: whether we started after the process of our own name with that `meta`.

        `group_of(meta)`: the other group that a member with that `meta` belongs to; None for one of ours, and
        for an agent, which belongs to none.
        """
        me = Member(name, address, meta, OUR_VERSIONS, incarnation, State.ALIVE, now)
        self.name = name
        self.members = Members(me, random)
        self.rejoin = Rejoin(peers, config, random, now)
        self.broadcasts = Broadcasts()
        self.leaving = False
        self._me = me
        self._config = config
        self._random = random
        self._came_later = came_later
        self._group_of = group_of
        self._tokens = tokens
        self._streams: dict[int, _Join | _FallbackPing | _ConflictCheck] = {}
        self._number = random.randrange(2**31)
        self.awareness = Awareness(config.awareness_max)
        self._probe: _Probe | None = None
        self._probe_first: NodeName | None = None
        self._probe_at = now + random.uniform(0, config.probe_interval)
        self._relays: dict[int, _Relay] = {}
        self._gossiped = -inf
        self._push_pull_at = now + config.push_pull_interval * random.uniform(1, 2)
        self._conflicts: OrderedDict[tuple[NodeName, Address], None] = OrderedDict()

    # What arrives

    def receive(self, message: Message, sender: Address, now: float) -> list[Output]:
        """One message of a packet from `sender`; user messages are not for us."""
        match message:
            case Ping():
                return self._ping(message, sender)
            case IndirectPing():
                return self._indirect_ping(message, sender, now)
            case Ack(number):
                return self._ack(number, now)
            case Nack(number):
                if self._probe is not None and self._probe.number == number and self._probe.nacks_due:
                    self._probe.nacks_due -= 1
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
        return token in self._streams

    def stream_answered(self, token: int, answer: StreamMessage | None, now: float) -> list[Output]:
        """The outcome of an `OpenStream`; None where there was no answer."""
        match self._streams.pop(token):
            case _FallbackPing(number):
                return self._ack(number, now) if answer == Ack(number) else []
            case _ConflictCheck(address):
                lives = isinstance(answer, Ack)
                return [NameConflict(self.name, address, ours=True)] if lives else []
            case _Join(address, peer):
                incarnation = self._me.incarnation
                output = self._merge(answer, now) if isinstance(answer, PushPull) else []
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
        deadlines = [self._probe_at, self._push_pull_at, self.rejoin.next_deadline(bool(self._lost()))]
        if self._probe is not None:
            deadlines += [self._probe.asks_others_at, self._probe.ends]
        if self.broadcasts:
            deadlines.append(self._gossip_at())
        deadlines += [relay.expires for relay in self._relays.values()]
        deadlines += [self._suspicion_ends(member) for member in self._suspects()]
        return min(deadlines)

    def tick(self, now: float) -> list[Output]:
        """Whatever has become due by `now`."""
        # The probe timer is the one that is always there: the others come and go with what arrives.
        late = now - self._probe_at
        if late > self._config.lag_tolerated:
            self._excuse(late)
        output = self._tick_probe(now)
        output += self._tick_suspicions(now)
        output += self._tick_relays(now)
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

    # Probing

    def _next_number(self) -> int:
        self._number = (self._number + 1) % 2**32
        return self._number

    def _tick_probe(self, now: float) -> list[Output]:
        output: list[Output] = []
        probe = self._probe
        if probe is not None and probe.ends <= now:
            output += self._no_answer(probe, now)
        elif probe is not None and probe.asks_others_at <= now:
            output += self._ask_others(probe)
        if self._probe_at <= now:
            self._probe_at = now + self.awareness.stretch(self._config.probe_interval)
            if not self.leaving and (target := self._next_target()) is not None:
                output += self._start_probe(target, now)
        return output

    def _next_target(self) -> Member | None:
        """Whoever somebody else has just accused, for that wants a second opinion; else the next in turn."""
        name, self._probe_first = self._probe_first, None
        accused = None if name is None else self.members.get(name)
        return accused if accused is not None and accused.present else self.members.next_to_probe()

    def _excuse(self, late: float) -> None:
        """We were away for `late` seconds (a busy loop, a stopped process): nobody is blamed for that time.

        What the others sent meanwhile waits in our sockets, so we listen before we judge.
        """
        self.awareness.add(1 + int(late / self._config.probe_interval))
        if self._probe is not None:
            self._probe.ends += late
            self._probe.asks_others_at += late
        for relay in self._relays.values():
            relay.expires += late
        for member in self._suspects():
            assert member.suspicion is not None
            member.suspicion.started += late

    def _start_probe(self, target: Member, now: float) -> list[Output]:
        number = self._next_number()
        self._probe = _Probe(
            number,
            target.name,
            ends=now + self.awareness.stretch(self._config.probe_interval),
            asks_others_at=now + self._config.probe_timeout,
        )
        ping = Ping(number, target.name, self._me.address, self.name)
        if target.state is State.SUSPECT:
            # Lifeguard's buddy system: the suspect learns at once that it has to refute.
            return [Send(target.address, (ping, Suspect(target.name, target.incarnation, self.name)))]
        return [self._send(target.address, ping)]

    def _ask_others(self, probe: _Probe) -> list[Output]:
        probe.asks_others_at = inf
        target = self.members.get(probe.target)
        if target is None or not target.present:
            return []
        helpers = [m for m in self.members.present() if m.state is State.ALIVE and m is not target]
        output: list[Output] = []
        for helper in self.members.sample(self._config.indirect_checks, helpers):
            nack = helper.versions.protocol_max >= 4
            probe.nacks_due += nack
            probe.helped = probe.helped or nack
            request = IndirectPing(
                probe.number, target.name, target.address, nack, self._me.address, self.name
            )
            output.append(self._send(helper.address, request))
        if target.versions.protocol_max >= 3:
            token = next(self._tokens)
            self._streams[token] = _FallbackPing(probe.number)
            ping = Ping(probe.number, target.name, self._me.address, self.name)
            patience = self.awareness.stretch(self._config.probe_interval) - self._config.probe_timeout
            output.append(OpenStream(token, target.address, ping, patience))
        return output

    def _no_answer(self, probe: _Probe, now: float) -> list[Output]:
        self._probe = None
        target = self.members.get(probe.target)
        if target is None or not target.present:
            return []
        # Helpers that did not even send a nack speak against us: their answers may be what we miss.
        self.awareness.add(probe.nacks_due if probe.helped else 1)
        return self._suspect(Suspect(target.name, target.incarnation, self.name), now)

    def _ack(self, number: int, now: float) -> list[Output]:
        if self._probe is not None and self._probe.number == number:
            self._probe = None
            self.awareness.add(-1)
        relay = self._relays.pop(number, None)
        if relay is None or relay.expires <= now:
            return []
        return [self._send(relay.requester, Ack(relay.number))]

    def _ping(self, ping: Ping, sender: Address) -> list[Output]:
        if ping.target not in ("", self.name):
            return [Rejected("ping_for_another")]
        return [self._send(self._answer_to(ping.source, sender), Ack(ping.number))]

    def _indirect_ping(self, request: IndirectPing, sender: Address, now: float) -> list[Output]:
        target = self.members.get(request.target)
        if target is None or target.address != request.address or target is self._me:
            # Anything else would let strangers aim our pings.
            return [Rejected("indirect_ping_for_stranger")]
        if len(self._relays) >= _RELAYS_MAX:
            return [Rejected("too_many_indirect_pings")]
        number = self._next_number()
        requester = self._answer_to(request.source, sender)
        self._relays[number] = _Relay(
            requester, request.number, now + self._config.probe_timeout, request.nack
        )
        return [self._send(target.address, Ping(number, target.name, self._me.address, self.name))]

    def _tick_relays(self, now: float) -> list[Output]:
        output: list[Output] = []
        for number in [n for n, relay in self._relays.items() if relay.expires <= now]:
            relay = self._relays.pop(number)
            if relay.nack:
                output.append(self._send(relay.requester, Nack(relay.number)))
        return output

    def _answer_to(self, source: Address | None, sender: Address) -> Address:
        """Where an answer goes: as asked only where that is a member or the sender: we are no reflector."""
        if source is not None and (source == sender or self.members.at(source) is not None):
            return source
        return sender

    # Claims

    def _alive(self, claim: Alive, now: float) -> list[Output]:
        if claim.node == self.name:
            return self._alive_about_us(claim)
        if not understands_us(claim.versions):
            return [Rejected("versions")]
        if (group := self._group_of(claim.meta)) is not None:
            return self._stranger(claim, group)
        member = self.members.get(claim.node)
        if member is None:
            if len(self.members) >= self._config.members_max:
                return [Rejected("too_many_members")]
            member = Member(
                claim.node, claim.address, claim.meta, claim.versions, claim.incarnation, State.ALIVE, now
            )
            self.members.add(member)
            self._broadcast(claim)
            return [MemberChanged(claim.node, None, State.ALIVE, "joined")]
        if claim.address != member.address:
            if not takes_new_address(member, claim):
                return self._conflict(claim)
        elif claim.incarnation <= member.incarnation:
            return []
        before = member.state
        news = before is not State.ALIVE or claim.meta != member.meta or claim.address != member.address
        member.suspicion = None
        member.address, member.meta, member.versions = claim.address, claim.meta, claim.versions
        member.incarnation = claim.incarnation
        self.members.addresses_changed()
        if before is not State.ALIVE:
            member.state, member.changed = State.ALIVE, now
        self._broadcast(claim)
        why = "came back" if before in (State.DEAD, State.LEFT) else "refuted" if news else "said so"
        return [MemberChanged(claim.node, before, State.ALIVE, why)] if news else []

    def _alive_about_us(self, claim: Alive) -> list[Output]:
        if self.leaving:
            return []
        if claim.address != self._me.address:
            return self._conflict(claim)
        if claim.incarnation < self._me.incarnation:
            return []
        if claim.incarnation == self._me.incarnation and claim.meta == self._me.meta:
            return []
        return self._refute(claim.incarnation)

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
        checking = any(check == _ConflictCheck(claim.address) for check in self._streams.values())
        if claim.node == self.name and self._came_later(claim.meta) and not checking:
            token = next(self._tokens)
            self._streams[token] = _ConflictCheck(claim.address)
            output.append(OpenStream(token, claim.address, Ping(self._next_number(), self.name), 2.0))
        return output

    def _suspect(self, claim: Suspect, now: float) -> list[Output]:
        if claim.node == self.name:
            return self._refute_if_current(claim.incarnation)
        member = self.members.get(claim.node)
        if member is None or claim.incarnation < member.incarnation:
            return []
        if member.suspicion is not None:
            if member.suspicion.confirm(claim.accuser):
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
        member.state, member.changed, member.incarnation = State.SUSPECT, now, claim.incarnation
        member.suspicion = Suspicion(claim.incarnation, now, most, shortest, longest, {claim.accuser})
        self._broadcast(claim)
        if claim.accuser != self.name:
            self._probe_first = claim.node
        return [MemberChanged(claim.node, State.ALIVE, State.SUSPECT, f"no answer to {claim.accuser}")]

    def _suspects(self) -> list[Member]:
        return [member for member in self.members if member.suspicion is not None]

    def _suspicion_ends(self, member: Member) -> float:
        """When `member` is given up: the sooner the more confirm it, and soonest where nobody could."""
        assert member.suspicion is not None
        confirmers = sum(other.state is State.ALIVE and other is not self._me for other in self.members)
        return member.suspicion.deadline(confirmations_wanted(confirmers, self._config.suspicion_mult))

    def _tick_suspicions(self, now: float) -> list[Output]:
        output: list[Output] = []
        for member in self._suspects():
            if self._suspicion_ends(member) <= now:
                output += self._dead(Dead(member.name, member.incarnation, self.name), now)
        return output

    def _dead(self, claim: Dead, now: float) -> list[Output]:
        if claim.node == self.name:
            return [] if self.leaving else self._refute_if_current(claim.incarnation)
        member = self.members.get(claim.node)
        if member is None or claim.incarnation < member.incarnation or not member.present:
            return []
        before = member.state
        left = claim.accuser == claim.node
        member.suspicion = None
        member.incarnation = claim.incarnation
        member.state, member.changed = State.LEFT if left else State.DEAD, now
        self._broadcast(claim)
        why = "left" if left else f"no refutation reached {claim.accuser}"
        return [MemberChanged(claim.node, before, member.state, why)]

    def left_by_intent(self, name: NodeName, now: float) -> list[Output]:
        """An operator's word (Serf's force-leave) about a member that is dead: it is not expected back."""
        member = self.members.get(name)
        if member is None or member.state is not State.DEAD:
            return []
        member.state, member.changed = State.LEFT, now
        return [MemberChanged(name, State.DEAD, State.LEFT, "declared gone by an operator")]

    def _refute_if_current(self, incarnation: Incarnation) -> list[Output]:
        if self.leaving or incarnation < self._me.incarnation:
            return []
        return self._refute(incarnation)

    def _refute(self, accused: Incarnation) -> list[Output]:
        incarnation = max(self._me.incarnation, accused) + 1
        if incarnation >= INCARNATION_LIMIT:
            return [Rejected("absurd_incarnation")]
        self._me.incarnation = incarnation
        self.awareness.add(1)
        self._broadcast(self._me.alive())
        return []

    # Telling others

    def _broadcast(self, message: Alive | Suspect | Dead) -> None:
        self.broadcasts.queue(("member", message.node), message)

    def _limit(self) -> int:
        return transmit_limit(len(self.members), self._config.retransmit_mult)

    def _send(self, address: Address, message: Message) -> Send:
        """`message`, and what news fits beside it."""
        if not self.broadcasts:
            return Send(address, (message,))
        room = (
            self._config.packet_bytes_max - COMPOUND_OVERHEAD - PART_OVERHEAD - len(encode_message(message))
        )
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
            room = self._config.packet_bytes_max - COMPOUND_OVERHEAD
            news = self.broadcasts.take(room, PART_OVERHEAD, self._limit(), PARTS_MAX)
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

    def _merge(self, other: PushPull, now: float) -> list[Output]:
        output: list[Output] = []
        for entry in other.members:
            match entry.state:
                case State.ALIVE:
                    claim = Alive(entry.name, entry.incarnation, entry.address, entry.meta, entry.versions)
                    output += self._alive(claim, now)
                case State.LEFT:
                    output += self._dead(Dead(entry.name, entry.incarnation, entry.name), now)
                case State.SUSPECT | State.DEAD:
                    # Second-hand death is only a suspicion: whoever lives can still refute it.
                    output += self._suspect(Suspect(entry.name, entry.incarnation, self.name), now)
        return output

    # Coming back

    def _lost(self) -> list[Member]:
        return [m for m in self.members.others() if m.state is State.DEAD]

    def _tick_rejoin(self, now: float) -> list[Output]:
        if self.leaving:
            return []
        output: list[Output] = [Resolve(peer) for peer in self.rejoin.due_peers(now)]
        member = self.rejoin.due_lost(self._lost(), now)
        if member is not None:
            output.append(self._exchange(member.address, None, join=True))
        for member in self.members.others():
            if not member.present and now - member.changed > self._config.gone_kept:
                self.members.forget(member.name)
        return output
