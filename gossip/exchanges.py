"""Whole tables by TCP: with a random member from time to time, and with whom we want to meet or doubt."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, log2
from random import Random

from gossip.claims import Claims
from gossip.config import GossipConfig
from gossip.effects import OpenStream, Output, PeerFailed, Send
from gossip.members import Members
from gossip.messages import Address, MemberState, PushPull, State, StreamMessage
from gossip.rejoin import Rejoin


@dataclass(frozen=True, slots=True)
class _Exchange:
    """`peer`: as an operator named it, where it is a configured one."""

    address: Address
    peer: str | None


class Exchanges:
    """The push/pulls that we begin, and those that we answer."""

    def __init__(
        self,
        *,
        members: Members,
        claims: Claims,
        rejoin: Rejoin,
        tokens: Iterator[int],
        config: GossipConfig,
        random: Random,
        now: float,
    ) -> None:
        self._members = members
        self._me = members.me
        self._claims = claims
        self._rejoin = rejoin
        self._tokens = tokens
        self._config = config
        self._random = random
        self._streams: dict[int, _Exchange] = {}
        self._push_pull_at = now + config.push_pull_interval * random.uniform(1, 2)

    def begin(self, address: Address, peer: str | None = None, *, join: bool) -> OpenStream:
        """One with whoever is at `address`."""
        token = next(self._tokens)
        self._streams[token] = _Exchange(address, peer)
        return OpenStream(token, address, PushPull(join, self._table()), self._config.stream_timeout)

    def requested(self, table: PushPull, now: float) -> tuple[PushPull, list[Output]]:
        """The answer to `table`, and what follows from it.

        Merged before answered, unlike memberlist: what it says of us is refuted in this very answer.
        """
        output = self._merge(table, now)
        return PushPull(table.join, self._table()), output

    def owns_stream(self, token: int) -> bool:
        """Whether `stream_answered(token, …)` is for us."""
        return token in self._streams

    def stream_answered(self, token: int, answer: StreamMessage | None, now: float) -> list[Output]:
        """The outcome of an exchange that we began."""
        exchange = self._streams.pop(token)
        address = exchange.address
        incarnation = self._me.incarnation
        output = self._merge(answer, now, said_by=address) if isinstance(answer, PushPull) else []
        if self._me.incarnation != incarnation:
            # It holds us for gone, and may not be among those whom we gossip to.
            output.append(Send(address, (self._me.alive(),)))
        if exchange.peer is not None:
            ok = isinstance(answer, PushPull)
            why = "nothing answers there" if answer is None else "what answers there is no member"
            if (complaint := self._rejoin.answered(exchange.peer, address, ok, why, now)) is not None:
                output.append(PeerFailed(exchange.peer, complaint))
        return output

    def next_deadline(self) -> float:
        """When the next exchange with a random member is due."""
        return self._push_pull_at

    def tick(self, now: float) -> list[Output]:
        """One with a random member, if it is due."""
        if now < self._push_pull_at:
            return []
        present = len(self._members.present()) + 1
        stretch = 1 if present <= 32 else ceil(log2(present) - 5) + 1
        self._push_pull_at = now + self._config.push_pull_interval * stretch
        alive = [m for m in self._members.present() if m.state is State.ALIVE]
        if self._claims.leaving or not alive:
            return []
        return [self.begin(self._random.choice(alive).address, join=False)]

    def _table(self) -> tuple[MemberState, ...]:
        return tuple(member.entry() for member in self._members)

    def _merge(self, other: PushPull, now: float, said_by: Address | None = None) -> list[Output]:
        """`said_by`: where we asked for `other`, so that what it says of itself and of us is first-hand."""
        output: list[Output] = []
        for entry in other.members:
            first_hand = said_by is not None and (entry.address == said_by or entry.name == self._me.name)
            output += self._claims.entry(entry, now, first_hand=first_hand)
        return output
