"""The event loop of one process: its clocks, its one timer, and what waits while it is stopped or busy.

A stopped process (SIGSTOP) keeps its sockets. What comes meanwhile waits in the kernel's buffers, and is
handled at once when it goes on, with its timers late and somewhere among it. A busy loop does the same by
the second, and one that lags by the millisecond: what has come meanwhile is handled together.
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
    """`rate`: seconds that its clock tells in a second; `skew`: how far its wall clock is off.

    `lag`: seconds at the most from when something comes until it looks at its sockets and timers.
    """

    def __init__(
        self, world: World, random: Random, rate: float = 1.0, skew: float = 0.0, lag: float = 0.0
    ) -> None:
        self.rate = rate
        self.skew = skew
        self._lag = lag
        self.ended = False
        self.paused = False
        self.slow: tuple[float, float] | None = None
        """How many seconds late it handles what comes, at the least and at the most."""
        self._world = world
        self._random = random
        self._waiting: deque[tuple[str, Callable[[], None]]] = deque()
        self._soon: list[Callable[[], None]] = []
        """What it does next, before it looks at its sockets again."""
        self._behind = False
        """Whether something waits since it was stopped, or busy."""
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
        return self.paused or self.slow is not None or self._behind

    def end(self) -> None:
        """The process is gone, and all that waited for it."""
        self.ended = True
        self._waiting.clear()
        self._soon.clear()
        self._unsent.clear()

    def submit(self, action: Callable[[], None], kind: str = "stream") -> None:
        """Let the process do it, when it can. `kind`: `stream`, `datagram` or `timer`."""
        if self.ended:
            return
        busy = self.busy
        if not (busy or self._lag):
            self._do(action)
            self._go_on()
            return
        self._behind = busy
        if kind == "datagram":
            if self._datagrams >= SOCKET_BUFFER_DATAGRAMS:
                return
            self._datagrams += 1
        self._waiting.append((kind, action))
        self._wake_later()

    def soon(self, action: Callable[[], None]) -> None:
        """Let it do `action` after all that has come together with what it does now."""
        self._soon.append(action)

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
        within = self.slow or (0.0, self._lag)
        if within[1] and not self.paused and not self._wakes:
            self._wakes = True
            self._world.after(self._random.uniform(*within), self._wake)

    def _wake(self) -> None:
        self._wakes = False
        if self.paused or self.ended:
            return
        self._behind = False
        unsent, self._unsent = self._unsent, []
        for send in unsent:
            send()
        self._go_on()
        waiting, self._waiting, self._datagrams = self._waiting, deque(), 0
        others = [one for one in waiting if one[0] != "timer"]
        timers = [one for one in waiting if one[0] == "timer"]
        at = self._random.choice((0, min(1, len(others)), len(others)))
        left = deque([*others[:at], *timers, *others[at:]])
        while left and self._do(left.popleft()[1]):
            pass
        if left:
            self._waiting, self._behind = left, True
            self._datagrams = sum(kind == "datagram" for kind, _ in left)
        self._go_on()

    def _do(self, action: Callable[[], None]) -> bool:
        """Whether it goes on afterwards."""
        self.paused, self._stops_within = self._stops_within, False
        action()
        return not (self.paused or self.ended)

    def _go_on(self) -> None:
        """What it had still to do, unless it is stopped before that."""
        if self._soon and not (self.paused and self._random.random() < 0.5):
            soon, self._soon = self._soon, []
            for action in soon:
                if not self.ended:
                    action()
