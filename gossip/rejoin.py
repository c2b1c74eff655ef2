"""Whom to try to meet (again): configured peers and lost members, for as long as we live.

memberlist joins once and afterwards talks to live members only, so a split that outlives its memory of
the dead never heals. Here every configured peer that is no live member is tried at growing intervals up
to `peer_retry_max`, its name looked up afresh each time, and the lost members in turn.

What that costs does not grow with the number of peers: else a whole group that is started, or that meets
again, would do nothing but exchange tables, each with each. Whoever was met last time is looked up on
occasion, when something else is to be done, and not at all where it is given by an address at which it is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from math import inf
from random import Random

from gossip.config import GossipConfig
from gossip.members import Member
from gossip.messages import Address, NodeName

_LOST_RECENTLY = 60.0
_LOST_LONG_AGO_FACTOR = 3.0
_COMPLAIN_AFTER = 3
"""Failures in a row, about two seconds: managers that are started together find each other sooner."""
_FIRST_AT_ONCE = 8
_FIRST_GAP = 0.1
"""At the start so many are tried at once, as many more after each gap: by then others have told of most. So
it is with the addresses that one name stands for."""
_AGAIN_AT_ONCE = 4
"""Of those at which nobody answered. Whoever is met tells of the others."""
_LOOKED_UP_EVERY = 0.5
"""Of all that are met together one is looked up so often, at the least."""


@dataclass(slots=True)
class _Peer:
    next_at: float
    address: Address | None
    """Where it is given by one, and not by a name."""
    failures: int = 0
    awaited: set[Address] = field(default_factory=set)
    """Addresses of the present attempt that have not answered or failed yet."""
    met: bool = False
    """Whether an address of the present attempt answered."""
    tried: bool = False
    """Whether one whole attempt is over."""
    said: bool = False
    """Whether its failure has been reported since it last answered."""
    why: str = ""
    forget_at: float = inf
    """When to give up one that was only remembered."""


class Rejoin:
    """Decides when to try whom; the caller carries it out and reports back."""

    def __init__(
        self,
        peers: tuple[str, ...],
        config: GossipConfig,
        random: Random,
        now: float,
        remembered: tuple[str, ...] = (),
    ) -> None:
        """`remembered`: where members were before we started; each is tried until it answers, for a day."""
        self._config = config
        self._random = random
        forget_at = now + config.gone_kept
        self._peers = {peer: _Peer(now, _literal(peer), forget_at=forget_at) for peer in remembered}
        self._peers |= {peer: _Peer(now, _literal(peer)) for peer in peers}
        for at, state in enumerate(self._peers.values()):
            state.next_at += at // _FIRST_AT_ONCE * _FIRST_GAP
        self._next_at = now
        """When the first is due, of those that may be tried."""
        self._unmet_at = now
        """The same of those that were not met last time."""
        self._lost_at = now
        self._turn = 0

    def due_peers(self, now: float, is_there: Callable[[Address], bool]) -> list[str]:
        """Peers to look up now; each is due again only after its attempt is over.

        `is_there`: whether a member, or we ourselves, runs at an address.
        """
        if now < self._next_at:
            return []
        due = [peer for peer, state in self._peers.items() if state.next_at <= now and not state.failures]
        again = [peer for peer, state in self._peers.items() if state.next_at <= now and state.failures]
        again.sort(key=lambda peer: self._peers[peer].next_at)
        due += again[: self._room()]
        unknown = []
        for peer in due:
            state = self._peers[peer]
            if state.address is not None and is_there(state.address):
                state.met = False
                self._end(peer, state, ok=True, why="", now=now)
            else:
                state.next_at = inf
                unknown.append(peer)
        self._find_next()
        return unknown

    def _room(self) -> int:
        """How many of those at which nobody answered may be tried again now."""
        return _AGAIN_AT_ONCE - sum(s.failures > 0 and s.next_at == inf for s in self._peers.values())

    def _find_next(self) -> None:
        room = self._room() > 0
        self._next_at = self._unmet_at = inf
        for state in self._peers.values():
            if room or not state.failures:
                self._next_at = min(self._next_at, state.next_at)
                if not state.tried or state.failures:
                    self._unmet_at = min(self._unmet_at, state.next_at)

    def resolved(self, peer: str, strangers: list[Address], found: bool, now: float) -> list[Address]:
        """`peer` resolves to these that are neither ours nor a live member's: gives those to try now.

        A name may stand for many. Whoever is met tells of the others, and else the next attempt draws anew.
        """
        state = self._peers[peer]
        if len(strangers) > _FIRST_AT_ONCE:
            strangers = self._random.sample(strangers, _FIRST_AT_ONCE)
        state.awaited = set(strangers)
        state.met = False
        if not strangers:
            self._over(peer, state, ok=found, why="its name does not resolve", now=now)
        return strangers

    def answered(self, peer: str, address: Address, ok: bool, why: str, now: float) -> str | None:
        """The outcome at one address. Gives the reason worth telling the operator, if there is one now."""
        state = self._peers[peer]
        state.awaited.discard(address)
        state.met = state.met or ok
        if not state.awaited:
            self._over(peer, state, ok=state.met, why=why, now=now)
        return self.complaint(peer)

    def complaint(self, peer: str) -> str | None:
        """Why `peer`, which an operator named, cannot be joined; once until it can."""
        state = self._peers.get(peer)
        if state is None or state.forget_at < inf or state.failures < _COMPLAIN_AFTER or state.said:
            return None
        state.said = True
        return state.why

    def _over(self, peer: str, state: _Peer, *, ok: bool, why: str, now: float) -> None:
        self._end(peer, state, ok=ok, why=why, now=now)
        self._find_next()

    def _end(self, peer: str, state: _Peer, *, ok: bool, why: str, now: float) -> None:
        if state.forget_at < inf and (ok or state.forget_at <= now):
            # It is a member now, which is looked for as one when it is lost; or it never came.
            del self._peers[peer]
            return
        state.tried = True
        if ok:
            state.failures = 0
            state.said = False
            wait = max(self._config.peer_retry_max, _LOOKED_UP_EVERY * len(self._peers))
        else:
            state.failures += 1
            state.why = why
            wait = min(self._config.peer_retry_max, 0.5 * 2 ** min(state.failures - 1, 10))
        state.next_at = now + wait * self._random.uniform(0.5, 1.0)

    @property
    def all_tried(self) -> bool:
        """Whether every configured peer has been tried at least once, with whatever outcome."""
        return all(state.tried for state in self._peers.values())

    @property
    def knows_others(self) -> bool:
        """Whether some configured peer is, or may turn out to be, somebody else."""
        return any(not state.tried or state.failures or state.met for state in self._peers.values())

    @property
    def remembered(self) -> list[str]:
        """Where members were before we started, and nobody has answered yet."""
        return [peer for peer, state in self._peers.items() if state.forget_at < inf]

    def unmet(self) -> list[str]:
        """Configured peers of which nothing is known, since nobody has answered there yet, or any more."""
        return [peer for peer, state in self._peers.items() if not state.tried or state.failures]

    def due_lost(self, lost: Mapping[NodeName, Member], now: float) -> Member | None:
        """The lost member whose turn it is, if one is due."""
        if not lost or now < self._lost_at:
            return None
        self._turn += 1
        member = lost[next(islice(lost, self._turn % len(lost), None))]
        factor = 1.0 if now - member.changed < _LOST_RECENTLY else _LOST_LONG_AGO_FACTOR
        self._lost_at = now + self._config.rejoin_interval * factor * self._random.uniform(0.75, 1.25)
        return member

    def next_deadline(self, any_lost: bool) -> float:
        return min(self._unmet_at, self._lost_at if any_lost else inf)


def _literal(peer: str) -> Address | None:
    host, _, port = peer.rpartition(":")
    try:
        return Address.of(host.strip("[]"), int(port))
    except ValueError:
        return None
