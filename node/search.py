"""Which manager a node is with, and which it tries next, and when: the pure core, a part of the session.

Another manager is tried at once after a session that was one; after one that was none it backs off.
Moving is said by the close code (rule I5).
"""

import logging
from collections.abc import Iterable
from random import Random

from node.backoff import full_jitter
from node.candidates import Candidates
from node.effects import Close, Connect, Effect, Log, LookUp
from node.endings import in_words
from node.phases import Connecting, Done, Greeting, Joined, Phase, Waiting
from node.protocol import CLOSE_GOING, CLOSE_MOVING, CLOSE_PROTOCOL, CLOSE_SUPERSEDED

HELLO_SECONDS_MAX = 10.0
"""Wait for an answer to a hello."""
HELLOS_MAX = 8
"""On one connection before a welcome: two ends that disagree about who is ahead would never end."""
FAILOVER_SECONDS_MAX = 0.3
"""Spread of the first try after a lost session: a manager's nodes do not come to another all at once."""
SUPERSEDED_SECONDS = 15.0
"""Wait before another try when a newer session took this one over."""
SHORT_SESSIONS_MAX = 3
"""Sessions in a row that ended within a heartbeat: from then on, back off."""


class Search:
    """Carry out what it returns. Whoever calls `reach`, `connected` or `joined` has looked at `phase`."""

    def __init__(self, seeds: Iterable[str], rng: Random) -> None:
        self.phase: Phase = Done()
        self._candidates, self._rng = Candidates(seeds), rng
        self._heartbeat = 5.0
        self._short_sessions = 0

    @property
    def known(self) -> list[str]:
        """The addresses of all that it would try."""
        return self._candidates.known()

    @property
    def where(self) -> str:
        """Whom it is with, for people."""
        match self.phase:
            case Joined(addresses, manager):
                return f"manager {manager} ({addresses[0]})"
            case Greeting(addresses):
                return f"manager at {addresses[0]}"
            case _:
                return "no manager"

    def learn(self, managers: tuple[str, ...]) -> None:
        """There are managers at these addresses."""
        self._candidates.learn(managers)

    # Towards a manager

    def begin(self, now: float) -> None:
        """The first one is to be tried now."""
        self._candidates.restart(self._rng)
        self.phase = Waiting(self._candidates.next(self._rng), now)

    def reach(self, address: str) -> Effect:
        """The time to try `address` has come."""
        self.phase = Connecting(address)
        return LookUp(address) if "://" in address else Connect(address)

    def looked_up(self, name: str, addresses: Iterable[str], now: float) -> list[Effect]:
        """`name` stands for these, to be tried in this order; none where it is not known."""
        if self.phase != Connecting(name):
            return []  # we have left meanwhile
        known = tuple(addresses)
        if self._candidates.expand(known):
            return [self.reach(self._candidates.next(self._rng))]
        why = "all that it stands for have been tried" if known else "the name does not resolve"
        return self.connect_failed(why, now)

    def connect_failed(self, reason: str, now: float) -> list[Effect]:
        """`reason` is for people: `connection refused`."""
        assert isinstance(self.phase, Connecting)
        return self.try_next(f"No manager at {self.phase.address}: {reason}", now)

    def connected(self, now: float, remote: str) -> None:
        """The connection is open, to `remote` where the name led elsewhere; hello is being said."""
        assert isinstance(self.phase, Connecting)
        addresses = (self.phase.address, remote or self.phase.address)
        self.phase = Greeting(addresses, now + HELLO_SECONDS_MAX, now)

    def greet_again(self, now: float) -> list[Effect]:
        """Another hello is being said on the open connection; what there is to do if that was too often."""
        match self.phase:
            case Greeting(addresses, hellos=hellos):
                pass
            case Joined(addresses):
                hellos = 0
            case _:
                raise AssertionError("no connection to say hello on")
        if hellos >= HELLOS_MAX:
            return self.broken(f"{hellos} hellos without a welcome", now)
        self.phase = Greeting(addresses, now + HELLO_SECONDS_MAX, now, hellos + 1)
        return []

    def joined(self, manager: str, heartbeat: float, now: float) -> None:
        """Its hello was answered by a welcome."""
        assert isinstance(self.phase, Greeting)
        self.phase, self._heartbeat = Joined(self.phase.addresses, manager, now), heartbeat

    # And away from it

    def stop(self) -> Phase:
        """The node ends; how far it was."""
        phase, self.phase = self.phase, Done()
        return phase

    def refused(self, retry_after: float, now: float) -> float:
        """No manager would say otherwise: all are tried anew, after the seconds that are returned."""
        self._candidates.restart(self._rng)
        delay = self._rng.uniform(0.5, 1.5) * retry_after
        self.phase = Waiting(self._candidates.next(self._rng), now + delay)
        return delay

    def closed(self, code: int, reason: str, now: float) -> list[Effect]:
        """The connection ended, by the other end or by itself."""
        match self.phase:
            case Greeting() | Joined():
                pass
            case Connecting():
                return self.connect_failed(reason, now)
            case _:
                return []
        if code == CLOSE_SUPERSEDED:
            delay = self._rng.uniform(0.5, 1.5) * SUPERSEDED_SECONDS
            return self._wait(f"{self.where}: {in_words(code, '')}", delay, now)
        if code == CLOSE_GOING:
            return self._fail_over(in_words(code, ""), now, logging.INFO)
        return self._fail_over(in_words(code, reason), now)

    def broken(self, reason: str, now: float) -> list[Effect]:
        """The manager sent what is no message."""
        text = f"{self.where} breaks the protocol: {reason}"
        return [Close(CLOSE_PROTOCOL, reason), *self.try_next(text, now)]

    def redirect(self, managers: tuple[str, ...], going: bool, now: float) -> list[Effect]:
        """Its manager asks it to move to the first of these; `going`: and stops."""
        assert isinstance(self.phase, Greeting | Joined)
        here = self.phase.addresses
        wanted = tuple(address for address in managers if address not in here)
        if not wanted and not going:
            return []  # asked to move, and there is nowhere to move to
        where = self.where
        self._candidates.learn(managers)
        self._candidates.restart(self._rng, first=wanted, last=here)
        delay = self._rng.uniform(0.0, FAILOVER_SECONDS_MAX)
        return [
            Close(CLOSE_MOVING, "moving"),
            *self._wait(f"{where} asks us to move", delay, now, logging.INFO),
        ]

    def abandon(self, why: str, now: float) -> list[Effect]:
        """The connection may still look open, and its manager may only be slow: we move (rule I5)."""
        return [Close(CLOSE_MOVING, why), *self._fail_over(why, now)]

    def try_next(self, text: str, now: float) -> list[Effect]:
        """It is none for us: the next one, after a pause that grows with the rounds."""
        address = self._candidates.next(self._rng)
        return self._wait_for(address, text, full_jitter(self._candidates.round, self._rng), now)

    def _fail_over(self, why: str, now: float, level: int = logging.WARNING) -> list[Effect]:
        """Another manager, at once after a session that was one; after one that was none, back off."""
        text = f"Lost {self.where}: {why}"
        match self.phase:
            case Joined(addresses, _, since):
                self._short_sessions = self._short_sessions + 1 if now - since < self._heartbeat else 0
                self._candidates.restart(self._rng, last=addresses)
                if self._short_sessions < SHORT_SESSIONS_MAX:
                    return self._wait(text, self._rng.uniform(0.0, FAILOVER_SECONDS_MAX), now, level)
                return self._wait(text, full_jitter(self._short_sessions, self._rng), now, level)
            case _:
                return self.try_next(text, now)

    def _wait(self, text: str, delay: float, now: float, level: int = logging.WARNING) -> list[Effect]:
        return self._wait_for(self._candidates.next(self._rng), text, delay, now, level)

    def _wait_for(
        self, address: str, text: str, delay: float, now: float, level: int = logging.WARNING
    ) -> list[Effect]:
        self.phase = Waiting(address, now + delay)
        return [Log(level, f"{text}; next try in {delay:.1f} s at {address}")]
