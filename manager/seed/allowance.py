"""How much one node may say, so that none keeps the others waiting."""

BURST_MAX = 40
"""Messages of one node that are taken at once; the rest waits its turn, in the node's own socket …"""
RATE_MAX = 5.0
"""… at this rate a second; more where the nodes are to report more often than that."""
REPORTS_TOLERATED = 4.0
"""How many times as often as every heartbeat a node may report for long: leases are renewed more often."""


class Allowance:
    """How much of one node's is taken: `burst` at once, then `rate` a second."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: int) -> None:
        self._rate, self._burst = rate, burst
        self._left, self._at = float(burst), 0.0

    def take(self, now: float) -> float | None:
        """One more: None to go on, else for how long to wait first; 0 to let others have their turn."""
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        self._left -= 1.0
        if self._left < 0:
            return -self._left / self._rate
        return 0.0 if self._left < self._burst / 2 else None
