"""The part of Serf without which its agents can neither join us nor believe that we left.

Serf orders joins and leaves by Lamport time. An agent lists a member as `left` only if a leave intent of
a newer time came before the departure, and as `leaving` until a join intent of a newer time overrides it.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import blake2b

from gossip.effects import Output, Rejected, Send
from gossip.errors import WireError
from gossip.keys import Keys
from gossip.messages import (
    JoinIntent,
    LeaveIntent,
    NodeName,
    SerfAnswer,
    SerfOther,
    SerfQuery,
    SerfState,
    State,
    User,
)
from gossip.swim import Swim
from gossip.wire import decode_serf, encode_serf

LTIME_AHEAD_MAX = 2**32
"""An intent further ahead of our clock is not witnessed: one forged packet would exhaust everyone's clock."""
_SEEN_MAX = 1024
_USER_EVENT = 3


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


class Serf:
    """What Serf's agents say, and what they must hear of us."""

    def __init__(self, name: NodeName, swim: Swim, keys: Keys) -> None:
        self._name = name
        self._swim = swim
        self._keys = keys
        self._clock = LamportClock()
        self._seen = Seen()
        self._state: bytes | None = None
        self._declared: dict[NodeName, LeaveIntent] = {}
        """Operators' words that came while their member still counted as running here."""

    def refresh(self) -> None:
        """Members or intents have changed: so does `state`."""
        self._state = None

    def member_changed(self, name: NodeName, state: State, now: float) -> list[Output]:
        """`name` is in `state` now: who comes back, or answers after all, has not left."""
        self.refresh()
        if state is State.SUSPECT or (intent := self._declared.pop(name, None)) is None:
            return []
        return self._gone(intent, now) if state is State.DEAD else []

    @property
    def state(self) -> bytes:
        """Our part of a push/pull."""
        if self._state is None:
            members = list(self._swim.members)
            status = {member.name: self._clock.status.get(member.name, 0) for member in members}
            # Who was forgotten is forgotten here too.
            self._clock.status = {name: ltime for name, ltime in status.items() if ltime}
            left = tuple(member.name for member in members if member.state is State.LEFT)
            times, queries = tuple(status.items()), self._keys.query_time
            self._state = encode_serf(SerfState(self._clock.time, times, left, query_ltime=queries))
        return self._state

    def leave_intent(self) -> LeaveIntent:
        """What has to be told before we leave, with a time that overrides every other."""
        return LeaveIntent(self._clock.next_intent_time(self._name), self._name)

    def force_leave(self, name: NodeName, now: float, *, prune: bool) -> list[Output]:
        """An operator's word here that `name`, which is dead or has left, is not expected back."""
        intent = LeaveIntent(self._clock.next_intent_time(name), name, prune)
        self._swim.broadcasts.queue(("intent", name), User(encode_serf(intent)))
        return self._gone(intent, now)

    def _gone(self, intent: LeaveIntent, now: float) -> list[Output]:
        output = self._swim.left_by_intent(intent.node, now)
        if intent.prune:
            self._swim.prune(intent.node)
        self.refresh()
        return output

    def received(self, payload: bytes, now: float) -> list[Output]:
        """A user message that is not the ledger's. Raises `WireError`."""
        message = decode_serf(payload)
        match message:
            case LeaveIntent() | JoinIntent():
                return self._intent(message, payload, now)
            case SerfQuery():
                self._keys.witness(message.ltime)
                digest = self._seen.news(payload)
                if digest is None:
                    return []
                passed_on = [] if message.direct else self._pass_on(digest, payload)
                return passed_on + self._acknowledged(message) + self._keys.queried(message, now)
            case SerfAnswer():
                return self._keys.agent_answered(message, now)
            case SerfOther(kind):
                digest = self._seen.news(payload) if kind == _USER_EVENT else None
                return [] if digest is None else self._pass_on(digest, payload)
            case SerfState():
                return [Rejected("unexpected_message")]

    def _acknowledged(self, query: SerfQuery) -> list[Output]:
        """`serf reachability` counts who says that a query came. Nobody has that sent elsewhere."""
        member = self._swim.members.at(query.source)
        if not query.acked or query.filtered or member is None or member.name == self._name:
            return []
        came = SerfAnswer(query.ltime, query.number, self._name, ack=True)
        return [Send(query.source, (User(encode_serf(came)),))]

    def _pass_on(self, digest: str, payload: bytes) -> list[Output]:
        return [] if self._swim.pass_on(digest, User(payload)) else [Rejected("too_many_to_pass_on")]

    def merge(self, user_state: bytes, now: float) -> list[Output]:
        """The other side's part of a push/pull, by which an intent that was lost comes after all."""
        if not user_state:
            return []
        try:
            state = decode_serf(user_state)
        except WireError as error:
            return [Rejected(error.reason)]
        if not isinstance(state, SerfState):
            return [Rejected("unexpected_message")]
        self._clock.merge(state)
        self._keys.witness(max(0, state.query_ltime - 1))
        ltimes = dict(state.status_ltimes)
        output: list[Output] = []
        for name in state.left:
            member = self._swim.members.get(name)
            # Only where there is something to learn: else times would grow with each exchange.
            if member is not None and member.state is State.DEAD:
                # A left one counts as a leave intent one later than what is said of it.
                output += self._left_in_state(LeaveIntent(ltimes.get(name, 0) + 1, name), now)
        said_of_us = ltimes.get(self._name, 0)
        if self._clock.plausible(said_of_us):
            gone = self._name in state.left
            known = self._clock.status.get(self._name, 0)
            self._clock.status[self._name] = max(known, said_of_us)
            if (gone or said_of_us > known) and not self._swim.leaving:
                # Said by an operator, or by us before we restarted, and perhaps that we leave: who hears of
                # that later than of our return would list us as leaving for good.
                self._clock.status[self._name] = max(known, said_of_us + 1)
                self._insist()
        self.refresh()
        return output

    def _left_in_state(self, intent: LeaveIntent, now: float) -> list[Output]:
        if not self._clock.plausible(intent.ltime) or not self._clock.is_news(intent):
            return []
        return self._swim.left_by_intent(intent.node, now)

    def _intent(self, intent: LeaveIntent | JoinIntent, payload: bytes, now: float) -> list[Output]:
        ours = intent.node == self._name
        if not self._clock.plausible(intent.ltime):
            return [Rejected("absurd_ltime")]
        if not (ours or self._swim.members.get(intent.node)) or not self._clock.is_news(intent):
            return []
        if ours:
            if isinstance(intent, LeaveIntent) and not self._swim.leaving:
                self._insist()
            return []
        self._swim.broadcasts.queue(("intent", intent.node), User(payload))
        self.refresh()
        self._declared.pop(intent.node, None)
        if isinstance(intent, JoinIntent):
            return []
        member = self._swim.members.get(intent.node)
        if member is not None and member.present:
            # Whoever sent it knows of the death before we do; agents keep it as `leaving` in the same way.
            self._declared[intent.node] = intent
        return self._gone(intent, now)

    def _insist(self) -> None:
        """Somebody says that we are leaving; agents would list us so until they hear otherwise."""
        said = JoinIntent(self._clock.next_intent_time(self._name), self._name)
        self._swim.broadcasts.queue(("intent", self._name), User(encode_serf(said)))
        self.refresh()
