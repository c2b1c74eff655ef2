"""The membership state machine: SWIM (Das, Gupta, Motivala 2002) as memberlist speaks it."""

from collections.abc import Callable, Iterator
from math import inf
from random import Random

from gossip.claims import Claims
from gossip.config import GossipConfig
from gossip.conflicts import Conflicts
from gossip.effects import OpenStream, Output, PeerFailed, Rejected, Resolve, Send
from gossip.exchanges import Exchanges
from gossip.hearing import Hearing
from gossip.members import Member, Members
from gossip.messages import (
    OUR_VERSIONS,
    Ack,
    Address,
    Alive,
    Dead,
    Incarnation,
    IndirectPing,
    Message,
    Nack,
    NodeName,
    Ping,
    PushPull,
    State,
    StreamMessage,
    Suspect,
    User,
)
from gossip.probe import Prober
from gossip.reach import Reach
from gossip.rejoin import Rejoin
from gossip.telling import Teller


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
        self._me = me
        self._config = config
        self._teller = Teller(self.members, config)
        self.broadcasts = self._teller.broadcasts
        self._hearing = Hearing(self.members, stands_aside=config.stands_aside)
        self.prober = Prober(
            members=self.members,
            hearing=self._hearing,
            send=self._teller.send,
            tokens=tokens,
            config=config,
            random=random,
            now=now,
        )
        self._ticked = now
        self._judges_at = now
        """Before that we only listen: we were called late."""
        self._conflicts = Conflicts(
            members=self.members,
            came_later=came_later,
            tokens=tokens,
            next_number=self.prober.next_number,
        )
        self._claims = Claims(
            members=self.members,
            teller=self._teller,
            prober=self.prober,
            hearing=self._hearing,
            conflicts=self._conflicts,
            group_of=group_of,
            wall=wall,
            ask=self._ask,
            config=config,
        )
        self.reach = Reach(members=self.members, tokens=tokens, next_number=self.prober.next_number)
        self._exchanges = Exchanges(
            members=self.members,
            claims=self._claims,
            rejoin=self.rejoin,
            group_of=group_of,
            tokens=tokens,
            config=config,
            random=random,
            now=now,
        )

    @property
    def leaving(self) -> bool:
        """Whether we are about to go, and neither probe nor refute any more."""
        return self._claims.leaving

    @leaving.setter
    def leaving(self, leaving: bool) -> None:
        self._claims.leaving = leaving

    # What arrives

    def receive(self, message: Message, sender: Address, now: float) -> list[Output]:
        """One message of a packet from `sender`; user messages are not for us."""
        match message:
            case Ping():
                return self.prober.ping(message, sender)
            case IndirectPing():
                return self.prober.indirect_ping(message, sender, now)
            case Ack(number):
                reached = self.reach.ack(number, now)
                return self.prober.ack(number, now) if reached is None else reached
            case Nack(number):
                self.prober.nack(number)
                return []
            case Alive():
                return self._claims.alive(message, now)
            case Suspect(node, incarnation) | Dead(node, incarnation) if (
                node == self.name and incarnation < self._me.incarnation and not self.leaving
            ):
                # Our refutation has not come to whoever says so.
                return (
                    []
                    if self._hearing.aside or self.members.at(sender) is None
                    else [Send(sender, (self._me.alive(),))]
                )
            case Suspect():
                return self._claims.suspect(message, now)
            case Dead():
                return self._claims.dead(message, now)
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
        """A push/pull: our own table in answer, and what follows from theirs."""
        return self._exchanges.requested(table, now)

    def owns_stream(self, token: int) -> bool:
        """Whether `stream_answered(token, …)` is for us."""
        parts = (self.prober, self.reach, self._conflicts, self._exchanges)
        return any(part.owns_stream(token) for part in parts)

    def stream_answered(
        self, token: int, answer: StreamMessage | None, now: float, why: str = ""
    ) -> list[Output]:
        """The outcome of an `OpenStream`; None where there was no answer, and `why`, where that is known."""
        if self.reach.owns_stream(token):
            return self.reach.stream_answered(token, answer, why, now)
        if self.prober.owns_stream(token):
            return self.prober.stream_answered(token, answer, now)
        if self._conflicts.owns_stream(token):
            output, accusation = self._conflicts.stream_answered(token, answer)
            return output if accusation is None else output + self._claims.suspect(accusation, now)
        return self._exchanges.stream_answered(token, answer, now, why)

    def join(self, address: Address) -> tuple[int, Output]:
        """What an operator wants joined, once: `JoinTried` of its token follows."""
        return self._exchanges.join(address)

    def resolved(self, peer: str, addresses: list[Address], now: float) -> list[Output]:
        """`Resolve(peer)` gave these; empty where the name is not known (yet)."""
        ours = self._me.address
        strangers = [a for a in dict.fromkeys(addresses) if a != ours and self.members.at(a) is None]
        strangers = self.rejoin.resolved(peer, strangers, bool(addresses), now)
        output: list[Output] = [self._exchanges.begin(address, peer, join=True) for address in strangers]
        if (complaint := self.rejoin.complaint(peer)) is not None:
            output.append(PeerFailed(peer, complaint))
        return output

    def left_by_intent(self, name: NodeName, now: float) -> list[Output]:
        """An operator's word (Serf's force-leave) about a member that is dead: it is not expected back."""
        return self._claims.left_by_intent(name, now)

    def prune(self, name: NodeName) -> None:
        """The same word about one that left, where it is no longer to be listed."""
        self._claims.prune(name)

    # Time

    def next_deadline(self) -> float:
        """The latest time at which `tick` wants to be called."""
        return min(
            self._awake_until(),
            max(self._judges_at, min(self.prober.next_deadline(), self._claims.suspects.next_deadline())),
            self._exchanges.next_deadline(),
            self.reach.next_deadline(),
            self._teller.next_deadline(),
            inf if self.leaving else self.rejoin.next_deadline(bool(self.members.lost)),
        )

    def tick(self, now: float) -> list[Output]:
        """Whatever has become due by `now`."""
        late = now - min(self.prober.probe_at, self._awake_until())
        if late > self._config.lag_tolerated:
            self._excuse(late, now)
        self._ticked = now
        self._forget_the_gone(now)
        output = self._judge(now) if self._judges_at <= now else []
        output += self._tick_rejoin(now)
        output += self._exchanges.tick(now)
        output += self.reach.tick(now)
        output += self._teller.tick(now)
        return output

    def _awake_until(self) -> float:
        """When to call us at the latest, so that we know how long we were away: probes may be far apart."""
        return self._ticked + self._config.probe_interval

    def _excuse(self, late: float, now: float) -> None:
        """We were called `late` seconds late (a busy loop, a stopped process): nobody is blamed for them.

        What the others sent meanwhile waits in our sockets, so we listen before we judge. Once, where it is
        less than a probe's time: whoever is so late with every call still judges, more slowly. Whoever is
        later than that leaves it to the others.
        """
        if late >= self._config.probe_interval or self._judges_at <= self._ticked:
            self._judges_at = now + self._config.lag_tolerated
        self.prober.excuse(late, self._judges_at)
        self._claims.suspects.excuse(late, now)
        self._hearing.begin_anew()

    def _judge(self, now: float) -> list[Output]:
        """Probe, and give up whoever has not answered in time."""
        output, silent = self.prober.tick(now, leaving=self.leaving)
        if silent is not None and not self._hearing.aside:
            output += self._claims.suspect(Suspect(silent.name, silent.incarnation, self.name), now)
        output += self._claims.suspects.remind(now)
        output += self._claims.tick_aside(now)
        return output + self._claims.tick_suspicions(now)

    def _tick_rejoin(self, now: float) -> list[Output]:
        if self.leaving:
            return []
        peers = self.rejoin.due_peers(now, lambda address: self.members.at(address) is not None)
        output: list[Output] = [Resolve(peer) for peer in peers]
        member = self.rejoin.due_lost(self.members.lost, now)
        if member is not None and self.members.at(member.address) is None:
            # Where another runs now, it may be we ourselves, there is nobody to look for.
            output.append(self._exchanges.begin(member.address, join=True))
        return output

    def _forget_the_gone(self, now: float) -> None:
        self.members.count_no_more(now - self._config.gossip_to_dead)
        gone = self.members.longest_gone()
        while gone is not None and now - gone.changed > self._config.gone_kept:
            self.members.forget(gone.name)
            gone = self.members.longest_gone()

    def _ask(self, address: Address) -> OpenStream:
        return self._exchanges.begin(address, join=False)

    # What others are told

    def announce(self) -> None:
        """Tell everyone that we are here."""
        self._teller.tell(self._me.alive())

    def depart(self) -> list[Output]:
        """We are gone: say so to everyone at once, and let them tell it on. Repeat it against losses."""
        self.leaving = True
        dead = Dead(self.name, self._me.incarnation, self.name)
        if self._me.state is not State.LEFT:
            self._me.state = State.LEFT
            self._teller.tell(dead)
        return [Send(member.address, (dead,)) for member in self.members.present()]

    def pass_on(self, digest: str, message: User) -> bool:
        """Tell others what is none of our business; false where it cannot be."""
        return self._teller.pass_on(digest, message)
