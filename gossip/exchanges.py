"""Whole tables by TCP: with a random member from time to time, and with whom we want to meet or doubt."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import ceil, inf, log2
from random import Random

from gossip.claims import Claims
from gossip.config import GossipConfig
from gossip.effects import JoinTried, MemberChanged, OpenStream, Output, PeerFailed, Send
from gossip.members import Members
from gossip.messages import Address, MemberState, PushPull, State, StreamMessage
from gossip.rejoin import Rejoin

_GREETED_MAX = 32
_INQUIRY_EVERY = 2.0
_INQUIRY_MEMBERS_MAX = 64
"""In larger groups a table costs more than waiting for what is gossiped."""


@dataclass(frozen=True, slots=True)
class _Exchange:
    """`peer`: as an operator named it, where it is a configured one."""

    address: Address
    peer: str | None
    about_suspects: bool = False
    operators: bool = False
    """Whether an operator waits for the outcome."""


class Exchanges:
    """The push/pulls that we begin, and those that we answer."""

    def __init__(
        self,
        *,
        members: Members,
        claims: Claims,
        rejoin: Rejoin,
        group_of: Callable[[bytes], str | None],
        tokens: Iterator[int],
        config: GossipConfig,
        random: Random,
        now: float,
    ) -> None:
        self._members = members
        self._me = members.me
        self._claims = claims
        self._rejoin = rejoin
        self._group_of = group_of
        self._tokens = tokens
        self._config = config
        self._random = random
        self._streams: dict[int, _Exchange] = {}
        self._push_pull_at = now + config.push_pull_interval * random.uniform(1, 2)
        self._inquire_at = now

    def begin(self, address: Address, peer: str | None = None, *, join: bool) -> OpenStream:
        """One with whoever is at `address`."""
        token = next(self._tokens)
        self._streams[token] = _Exchange(address, peer)
        timeout = self._config.join_timeout if join else self._config.stream_timeout
        return OpenStream(token, address, PushPull(join, self._table()), timeout)

    def join(self, address: Address) -> tuple[int, Output]:
        """One that an operator wants: `JoinTried` of its token follows."""
        if address == self._me.address:
            token = next(self._tokens)
            return token, JoinTried(token, (), "that is this manager itself")
        stream = self.begin(address, join=True)
        self._streams[stream.token] = _Exchange(address, None, operators=True)
        return stream.token, stream

    def requested(self, table: PushPull, now: float) -> tuple[PushPull, list[Output]]:
        """The answer to `table`, and what follows from it.

        Merged before answered, unlike memberlist: what it says of us is refuted in this very answer.
        """
        output = self._merge(table, now)
        return PushPull(table.join, self._table()), output

    def owns_stream(self, token: int) -> bool:
        """Whether `stream_answered(token, …)` is for us."""
        return token in self._streams

    def stream_answered(
        self, token: int, answer: StreamMessage | None, now: float, why: str = ""
    ) -> list[Output]:
        """The outcome of an exchange that we began."""
        exchange = self._streams.pop(token)
        address = exchange.address
        incarnation = self._me.incarnation
        output: list[Output] = []
        if isinstance(answer, PushPull):
            if exchange.about_suspects:
                # Good news alone: who only heard of an accusation does not confirm it.
                good = (entry for entry in answer.members if entry.state in (State.ALIVE, State.LEFT))
                answer = replace(answer, members=tuple(good))
            output = self._merge(answer, now, said_by=address)
            output += self._greet(output)
        if self._me.incarnation != incarnation:
            # It holds us for gone, and may not be among those whom we gossip to.
            output.append(Send(address, (self._me.alive(),)))
        if exchange.peer is not None:
            ok = isinstance(answer, PushPull)
            if not why:
                why = "nothing answers there" if answer is None else "what answers there is no member"
            complaint = self._rejoin.answered(exchange.peer, address, ok, why, now)
            if complaint is not None and not self._members.is_gone(address):
                output.append(PeerFailed(exchange.peer, complaint))
        if exchange.operators:
            output.append(self._tried(token, address, answer, why))
        return output

    def _tried(self, token: int, address: Address, answer: StreamMessage | None, why: str) -> JoinTried:
        if not isinstance(answer, PushPull):
            return JoinTried(token, (), why or "what answers there is no member")
        for entry in answer.members:
            if entry.address == address and (group := self._group_of(entry.meta)) is not None:
                return JoinTried(token, (), f"{entry.name} there is a manager of another group, {group!r}")
        present = (self._members.get(entry.name) for entry in answer.members)
        names = {member.name for member in present if member is not None and member.present}
        if not (names := names - {self._me.name}):
            return JoinTried(token, (), "whoever answers there is not taken in: the log says why")
        return JoinTried(token, tuple(sorted(names)), "")

    def next_deadline(self) -> float:
        """When the next exchange with a random member is due."""
        return min(self._push_pull_at, self._inquire_at if self._members.suspects else inf)

    def tick(self, now: float) -> list[Output]:
        """Those with a random member that are due."""
        return self._push_pull(now) + self._inquire(now)

    def _push_pull(self, now: float) -> list[Output]:
        if now < self._push_pull_at:
            return []
        present = len(self._members.present()) + 1
        stretch = 1 if present <= 32 else ceil(log2(present) - 5) + 1
        self._push_pull_at = now + self._config.push_pull_interval * stretch
        alive = [m for m in self._members.present() if m.state is State.ALIVE]
        if self._claims.leaving or not alive:
            return []
        return [self.begin(self._random.choice(alive).address, join=False)]

    def _inquire(self, now: float) -> list[Output]:
        """Ask somebody what it knows of those who do not answer: it may have heard them refute, or move."""
        if now < self._inquire_at or not self._members.suspects:
            return []
        self._inquire_at = now + _INQUIRY_EVERY
        alive = [m for m in self._members.present() if m.state is State.ALIVE]
        if self._claims.leaving or not alive or len(self._members) > _INQUIRY_MEMBERS_MAX:
            return []
        token, address = next(self._tokens), self._random.choice(alive).address
        self._streams[token] = _Exchange(address, None, about_suspects=True)
        # Of ourselves alone: a whole table would accuse our suspects once more.
        ourselves = PushPull(False, (self._me.entry(),))
        return [OpenStream(token, address, ourselves, self._config.join_timeout)]

    def _greet(self, output: list[Output]) -> list[Output]:
        """Tell those whom we have just met that we are here: what is gossiped may not find them all."""
        met = [
            member
            for item in output
            if isinstance(item, MemberChanged) and item.before not in (State.ALIVE, State.SUSPECT)
            if (member := self._members.get(item.name)) is not None and member.present
        ]
        if self._me.state is not State.ALIVE:
            return []
        some = self._members.sample(_GREETED_MAX, met)
        return [Send(member.address, (self._me.alive(),)) for member in some]

    def _table(self) -> tuple[MemberState, ...]:
        return tuple(member.entry() for member in self._members)

    def _merge(self, other: PushPull, now: float, said_by: Address | None = None) -> list[Output]:
        """`said_by`: where we asked for `other`, so that what it says of itself and of us is first-hand."""
        output: list[Output] = []
        for entry in other.members:
            first_hand = said_by is not None and (entry.address == said_by or entry.name == self._me.name)
            output += self._claims.entry(entry, now, first_hand=first_hand)
        return output
