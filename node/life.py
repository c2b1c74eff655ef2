"""How long a ticket lives, by a node's own clocks: never longer than its home counts (rule S2)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """What a host's clocks show at one moment, in seconds."""

    boot: str
    """Names the run of the host: another one after each reboot."""
    running: float
    """Since then, suspension included (CLOCK_BOOTTIME)."""
    wall: float
    """Since 1970; anybody may set it."""


@dataclass(frozen=True, slots=True)
class Life:
    """`seconds` from when the node asked; the larger of two clocks counts, and a reboot ends it."""

    seconds: float
    boot: str
    running: float
    wall: float

    @classmethod
    def asked_at(cls, clock: Clock, seconds: float) -> "Life":
        """A life that began when its ticket was asked for."""
        return cls(seconds, clock.boot, clock.running, clock.wall)

    def left(self, clock: Clock) -> float:
        """Seconds that are left; 0 when it is over."""
        if clock.boot != self.boot:
            return 0.0
        return max(0.0, self.seconds - max(clock.running - self.running, clock.wall - self.wall))

    def cut(self, clock: Clock, seconds: float) -> "Life":
        """The same, over in `seconds` at the latest."""
        return Life.asked_at(clock, seconds) if self.left(clock) > seconds else self
