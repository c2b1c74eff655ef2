"""Who came back from the dead lately: a link that flaps makes one death of it, and not one each time.

Whoever comes back as the process that it was had been given up wrongly. So its next suspicion lasts as long
as one that nobody confirms, and it has that time to answer. The penalty of route flap damping (RFC 2439) is
here how long we stay so patient: it doubles each time, and is forgotten where it did not happen again.
"""

from math import inf

from gossip.config import GossipConfig
from gossip.messages import NodeName

_DOUBLINGS = 4
_FORGOTTEN_AFTER = 600.0
"""More than the longest time of patience."""
_KEPT = 1024


class Comebacks:
    """Counts them by member; who restarts is believed at once, and given up as quickly as ever."""

    def __init__(self, config: GossipConfig) -> None:
        self._patience = config.comeback_patience
        self._of: dict[NodeName, tuple[int, float]] = {}
        """How often each came back without a long pause between, and when last; the latest is the last."""

    def note(self, name: NodeName, now: float) -> None:
        """`name` was given up, or would have been, and is there."""
        times, last = self._of.pop(name, (0, -inf))
        if now - last > _FORGOTTEN_AFTER:
            times = 0
        if len(self._of) >= _KEPT:
            del self._of[next(iter(self._of))]
        self._of[name] = (min(times + 1, _DOUBLINGS + 1), now)

    def lately(self, name: NodeName, now: float) -> bool:
        """Whether to be patient with `name`."""
        times, last = self._of.get(name, (0, -inf))
        return now - last < self._patience * 2.0 ** (times - 1)
