"""The part of Serf without which its agents can neither join us nor believe that we left.

Serf orders joins and leaves by Lamport time. An agent lists a member as `left` only if a leave intent of
a newer time came before the departure, and as `leaving` until a join intent of a newer time overrides it.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import blake2b

from gossip.messages import JoinIntent, LeaveIntent, NodeName, SerfState

LTIME_AHEAD_MAX = 2**32
"""An intent further ahead of our clock is not witnessed: one forged packet would exhaust everyone's clock."""
_SEEN_MAX = 1024


@dataclass(slots=True)
class LamportClock:
    """Our member clock, and the newest intent that we know of each member."""

    time: int = 1
    status: dict[NodeName, int] = field(default_factory=dict)

    def plausible(self, ltime: int) -> bool:
        return ltime <= self.time + LTIME_AHEAD_MAX

    def witness(self, ltime: int) -> None:
        """Never be behind a time that we have seen."""
        self.time = max(self.time, ltime + 1)

    def is_news(self, intent: LeaveIntent | JoinIntent) -> bool:
        """Take note of `intent`; true where it is newer than what was known of its member."""
        self.witness(intent.ltime)
        if intent.ltime <= self.status.get(intent.node, 0):
            return False
        self.status[intent.node] = intent.ltime
        return True

    def next_intent_time(self, node: NodeName) -> int:
        """A time for an intent of ours about `node` that overrides every one we know."""
        ltime = max(self.time, self.status.get(node, 0) + 1)
        self.status[node] = ltime
        self.witness(ltime)
        return ltime

    def merge(self, state: SerfState) -> None:
        """Witness the clock of a push/pull."""
        if self.plausible(state.ltime):
            self.witness(max(0, state.ltime - 1))


class Seen:
    """A bounded memory of payloads: agents count on everyone to pass on each message once, and once only."""

    def __init__(self) -> None:
        self._digests: OrderedDict[str, None] = OrderedDict()

    def news(self, payload: bytes) -> str | None:
        """A short name for `payload` where it had not been seen."""
        digest = blake2b(payload, digest_size=16).hexdigest()
        if digest in self._digests:
            return None
        self._digests[digest] = None
        if len(self._digests) > _SEEN_MAX:
            self._digests.popitem(last=False)
        return digest
