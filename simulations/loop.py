"""The event loop of one process: its clocks, its one timer, and what waits while it is stopped or busy.

A stopped process (SIGSTOP) keeps its sockets. What comes meanwhile waits in the kernel's buffers, and is
handled at once when it goes on, with its timers late and somewhere among it. A busy loop does the same by
the second.
"""

from collections import deque
from collections.abc import Callable
from math import inf
from random import Random

from simulations.world import WALL_AT_START, World

SOCKET_BUFFER_DATAGRAMS = 256
"""More are lost while nobody reads them."""
CLOCK_WATCHED_EVERY = 1.0
CLOCK_JUMP = 0.5


class Loop:
    """`rate`: seconds that its clock tells in a second; `skew`: how far its wall clock is off."""

    def __init__(self, world: World, random: Random, rate: float = 1.0, skew: float = 0.0) -> None:
        self.rate = rate
        self.skew = skew
        self.ended = False
        self.paused = False
        self.slow: tuple[float, float] | None = None
        """How many seconds late it handles what comes, at the least and at the most."""
        self._world = world
        self._random = random
        self._waiting: deque[tuple[str, Callable[[], None]]] = deque()
        self._unsent: list[Callable[[], None]] = []
        self._stops_within = False
        self._datagrams = 0
        self._wakes = False
        self._armed = inf
        self._now = world.now * rate
        self._asleep_since: float | None = None
        self._slept = 0.0
        """Seconds of the world for which its host was suspended: its monotonic clock stood still."""

    @property
    def now(self) -> float:
        """Its monotonic clock."""
        slept = self._slept
        if self._asleep_since is not None:
            slept += self._world.now - self._asleep_since
        self._now = max(self._now, (self._world.now - slept) * self.rate)
        return self._now

    @property
    def wall_offset(self) -> float:
        """What to add to `now` to get what its wall clock shows."""
        return WALL_AT_START + self._world.now + self.skew - self.now

    @property
    def busy(self) -> bool:
        """Whether it does not answer at once."""
        return self.paused or self.slow is not None or bool(self._waiting)

    def end(self) -> None:
        """The process is gone, and all that waited for it."""
        self.ended = True
        self._waiting.clear()
        self._unsent.clear()

    def submit(self, action: Callable[[], None], kind: str = "stream") -> None:
        """Let the process do it, when it can. `kind`: `stream`, `datagram` or `timer`."""
        if self.ended:
            return
        if not self.busy:
            self.paused, self._stops_within = self._stops_within, False
            action()
            return
        if kind == "datagram":
            if self._datagrams >= SOCKET_BUFFER_DATAGRAMS:
                return
            self._datagrams += 1
        self._waiting.append((kind, action))
        self._wake_later()

    def pause(self) -> None:
        self.paused = True

    def pause_within(self) -> None:
        """Stop at the next thing that it does, just before what it would send."""
        self._stops_within = not self.paused

    def emit(self, send: Callable[[], None]) -> None:
        """Let the process send it, when it gets that far."""
        if self.paused:
            self._unsent.append(send)
        else:
            send()

    def suspend(self) -> None:
        """Its host sleeps: also its monotonic clock stands still, until it resumes."""
        if not self.paused:
            self._asleep_since = self._world.now
            self.paused = True

    def resume(self) -> None:
        self._stops_within = False
        if self.paused:
            if self._asleep_since is not None:
                self._slept += self._world.now - self._asleep_since
                self._asleep_since = None
            self.paused = False
            self._wakes = True
            self._world.after(0.0, self._wake)

    def hurry(self) -> None:
        """It is busy no longer."""
        self.slow = None

    def arm(self, deadline: float, ring: Callable[[], None]) -> None:
        """Call `ring` at `deadline` of its clock, or earlier: only the earliest of several counts."""
        if deadline >= self._armed:
            return
        self._armed = deadline

        def due() -> None:
            if self._armed != deadline:
                return
            self._armed = inf
            if deadline - self.now > 1e-6:
                self.arm(deadline, ring)  # it has slept meanwhile
                return
            self._now = max(self._now, deadline)
            ring()

        self._world.at(deadline / self.rate + self._slept, lambda: self.submit(due, "timer"))

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """`action` after that many seconds of its clock."""
        self._world.after(seconds / self.rate, lambda: self.submit(action, "timer"))

    def _wake_later(self) -> None:
        if self.slow is not None and not self.paused and not self._wakes:
            self._wakes = True
            self._world.after(self._random.uniform(*self.slow), self._wake)

    def _wake(self) -> None:
        self._wakes = False
        if self.paused or self.ended:
            return
        unsent, self._unsent = self._unsent, []
        for send in unsent:
            send()
        waiting, self._waiting, self._datagrams = self._waiting, deque(), 0
        others = [action for kind, action in waiting if kind != "timer"]
        timers = [action for kind, action in waiting if kind == "timer"]
        at = self._random.choice((0, min(1, len(others)), len(others)))
        for action in [*others[:at], *timers, *others[at:]]:
            if not self.ended:
                action()
