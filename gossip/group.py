"""One member of a group: membership, Serf's intents and the ledger in one state machine.

It answers what arrives with outputs: effects that the shell carries out in order, and events that tell
the caller what is new. It has no socket, no clock and no entropy of its own.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import count
from math import inf
from random import Random

from gossip.config import LAN, GossipConfig
from gossip.effects import (
    Departed,
    FormerPage,
    MemberChanged,
    OpenStream,
    Output,
    PageChanged,
    Rejected,
    Send,
)
from gossip.errors import WireError
from gossip.ledger import NOTHING, Digest, Ledger, Mark, Piece, entry_bytes, generation_at, split
from gossip.ledger_messages import DigestIs, Heard, LedgerMessage, Pieces, Push, Sender, Summary, Sync
from gossip.members import Member
from gossip.messages import (
    Address,
    Incarnation,
    JoinIntent,
    LeaveIntent,
    Message,
    NodeName,
    PushPull,
    SerfMessage,
    SerfOther,
    SerfState,
    State,
    StreamMessage,
    User,
)
from gossip.serf import LamportClock, Seen
from gossip.swim import Swim
from gossip.wire import decode_serf, decode_tags, encode_serf, encode_tags
from gossip.wire.ledger import PREFIX, decode_ledger, encode_ledger

TAG_SPEAKS = "kcm"
"""Tag of members that keep the ledger; its value is the ledger's protocol version."""
TAG_GROUP = "kcm_group"
TAG_STARTED = "kcm_start"
"""When the process started: milliseconds since 1970, then random bits, as 16 hexadecimal digits."""
LEDGER_PROTOCOL = "1"

_START_RANDOM_BITS = 20
_PIECE_ROOM = 1150
"""Entry bytes in one packet: leaves room for names, numbers and the layers within 1400 bytes."""
_DIGEST_ENTRIES_MAX = 24
_PUSH_PACKETS_MAX = 16
_FAN_OUT_MAX = 32
_STREAM_BYTES_MAX = 12 * 2**20
_META_CACHE_MAX = 1024
_SERF_RELAYED = frozenset({3, 4})


@dataclass(slots=True)
class _Reader:
    """How far another member that keeps the ledger is with our page, and with its own when it said so."""

    heard: Mark = NOTHING
    own: Mark = NOTHING
    resend_at: float = inf
    tries: int = 0


class Group:
    """A member of the group `group_name`. Kin are the members of the same group that keep the ledger."""

    def __init__(
        self,
        *,
        name: NodeName,
        address: Address,
        group_name: str,
        tags: dict[str, str],
        peers: tuple[str, ...] = (),
        config: GossipConfig = LAN,
        random: Random,
        now: float,
        wall_offset: float,
    ) -> None:
        """`wall_offset`: what to add to `now` to get seconds since 1970; `adjust_clock` when that changes."""
        self.name = name
        self.group_name = group_name
        self._wall_offset = wall_offset
        self._config = config
        self._random = random
        milliseconds = int(self.wall(now) * 1000)
        start = (milliseconds << _START_RANDOM_BITS) | random.getrandbits(_START_RANDOM_BITS)
        self._me = Sender(name, start)
        started = _start_text(self._me.start)
        own_tags = {**tags, TAG_SPEAKS: LEDGER_PROTOCOL, TAG_GROUP: group_name, TAG_STARTED: started}
        self._tokens = count(1)
        self.swim = Swim(
            name=name,
            address=address,
            meta=encode_tags(own_tags),
            incarnation=self._first_incarnation(now),
            came_later=self._came_later,
            group_of=self._other_group,
            tokens=self._tokens,
            peers=peers,
            config=config,
            random=random,
            now=now,
        )
        self.ledger = Ledger(name, generation_at(self.wall(now), random.getrandbits(24)))
        self.reconciled = False
        """Whether we have all that some other member had at some time since we started."""
        self._clock = LamportClock()
        self._seen = Seen()
        self._tags: dict[bytes, dict[str, str]] = {}
        self._readers: dict[NodeName, _Reader] = {}
        self._syncs: dict[int, NodeName] = {}
        self._summary_at = now + random.uniform(0, config.probe_interval)
        self._leave_steps: deque[tuple[float, LeaveIntent | None]] = deque()
        self._departs_at = inf
        self.swim.announce()
        self._refresh_serf_state()

    def _first_incarnation(self, now: float) -> Incarnation:
        return max(1, int(self.wall(now)))

    def wall(self, now: float) -> float:
        """Seconds since 1970 at `now`."""
        return now + self._wall_offset

    def adjust_clock(self, wall_offset: float) -> None:
        """The wall clock was set."""
        self._wall_offset = wall_offset

    # Who is in it

    def tags(self, member: Member) -> dict[str, str]:
        """The tags in `member`'s metadata; empty where they cannot be read."""
        tags = self._tags.get(member.meta)
        if tags is None:
            try:
                tags = decode_tags(member.meta)
            except WireError:
                tags = {}
            if len(self._tags) >= _META_CACHE_MAX:
                self._tags.clear()
            self._tags[member.meta] = tags
        return tags

    def is_kin(self, member: Member) -> bool:
        """Whether `member` keeps the ledger of our group."""
        tags = self.tags(member)
        return tags.get(TAG_SPEAKS) == LEDGER_PROTOCOL and tags.get(TAG_GROUP) == self.group_name

    def kin(self) -> list[Member]:
        """The other members of our group that count as running."""
        return [member for member in self.swim.members.present() if self.is_kin(member)]

    def _other_group(self, meta: bytes) -> str | None:
        try:
            group = decode_tags(meta).get(TAG_GROUP)
        except WireError:
            return None
        return None if group == self.group_name else group

    def _came_later(self, meta: bytes) -> bool:
        try:
            started = decode_tags(meta).get(TAG_STARTED)
        except WireError:
            started = None
        if started is None:
            # An agent does not say when it started: whoever has met nobody yet gives way.
            return not self.swim.members.present()
        return _start_text(self._me.start) > started

    # What arrives

    def packet_received(self, messages: Iterable[Message], sender: Address, now: float) -> list[Output]:
        """The messages of one datagram."""
        output: list[Output] = []
        for message in messages:
            if isinstance(message, User):
                output += self._user(message.payload, now)
            else:
                output += self.swim.receive(message, sender, now)
        return self._settle(output, now)

    def stream_received(
        self, message: StreamMessage, now: float
    ) -> tuple[StreamMessage | None, list[Output]]:
        """A request by TCP: the answer, None for none, and what follows from it."""
        if isinstance(message, User):
            answer, output = self._user_by_stream(message.payload, now)
            return answer, self._settle(output, now)
        if isinstance(message, PushPull):
            serf = self._serf_state(message.user_state, now)
            table, output = self.swim.table_received(message, now)
            output = self._settle(serf + output, now)
            return self._with_serf_state(table), output
        return self.swim.ping_received(message), []

    def stream_answered(self, token: int, answer: StreamMessage | None, now: float) -> list[Output]:
        """The outcome of `OpenStream(token)`: its answer, or None where it failed."""
        output: list[Output] = []
        if self.swim.owns_stream(token):
            if isinstance(answer, PushPull):
                output += self._serf_state(answer.user_state, now)
            output += self.swim.stream_answered(token, answer, now)
        elif (kin := self._syncs.pop(token, None)) is not None:
            output += self._synced(kin, answer, now)
        return self._settle(output, now)

    def resolved(self, peer: str, addresses: list[Address], now: float) -> list[Output]:
        """The outcome of `Resolve(peer)`; empty where it failed."""
        return self._settle(self.swim.resolved(peer, addresses, now), now)

    # Time

    def next_deadline(self) -> float:
        """The latest time at which `tick` wants to be called."""
        deadlines = [self.swim.next_deadline(), self._summary_at, self._departs_at]
        deadlines += [reader.resend_at for reader in self._readers.values()]
        if self._leave_steps:
            deadlines.append(self._leave_steps[0][0])
        return min(deadlines)

    def tick(self, now: float) -> list[Output]:
        """Whatever has become due by `now`."""
        output = self._tick_leave(now)
        output += self.swim.tick(now)
        output += self._tick_readers(now)
        if self._summary_at <= now:
            self._summary_at = now + self._config.probe_interval
            kin = self.kin()
            if kin:
                chosen = self._random.choice(kin)
                output.append(self._to(chosen, Summary(self._me, self.ledger.fingerprint)))
        return self._settle(output, now)

    def leave(self, now: float) -> list[Output]:
        """Leave the group in good order; `Departed` follows when it has been told."""
        if self._departs_at < inf:
            return []
        self.swim.leaving = True
        if not self.swim.members.present():
            self._departs_at = now
            return self.tick(now)
        intent = LeaveIntent(self._clock.next_intent_time(self.name), self.name)
        told, gone = self._config.leave_intent, self._config.leave_intent + self._config.leave_linger
        steps: list[tuple[float, LeaveIntent | None]] = [
            (now + told * part, intent) for part in (0, 0.35, 0.7)
        ]
        steps += [(now + told + self._config.leave_linger * part, None) for part in (0, 0.25, 0.5)]
        self._leave_steps.extend(steps)
        self.swim.broadcasts.queue(("intent", self.name), User(encode_serf(intent)))
        self._departs_at = now + gone
        return self.tick(now)

    def _tick_leave(self, now: float) -> list[Output]:
        output: list[Output] = []
        while self._leave_steps and self._leave_steps[0][0] <= now:
            _, intent = self._leave_steps.popleft()
            if intent is None:
                output += self.swim.depart()
            else:
                said = User(encode_serf(intent))
                output += [Send(member.address, (said,)) for member in self.swim.members.present()]
        if self._departs_at <= now:
            self._departs_at = inf
            output.append(Departed())
        return output

    # The ledger, for whoever writes it

    def flush(self, now: float) -> list[Output]:
        """Tell what was written to our page since the last flush; call it at the end of each turn."""
        piece = self.ledger.flush()
        if piece is None:
            return []
        kin = self.kin()
        if len(kin) > _FAN_OUT_MAX:
            kin = self._random.sample(kin, _FAN_OUT_MAX)
        for member in kin:
            reader = self._reader(member.name)
            if reader.resend_at == inf:
                reader.resend_at = now + self._config.resend_after
            reader.tries = 0
        return self._tell(kin, piece)

    def heard_by(self, kin: NodeName, version: int) -> bool:
        """Whether `kin` has answered for our page at `version`, and we hold what it had written by then."""
        reader = self._readers.get(kin)
        page = self.ledger.pages.get(kin)
        if reader is None or reader.heard < Mark(self.ledger.own.generation, version):
            return False
        return reader.own.version == 0 or (page is not None and page.mark >= reader.own)

    def _tell(self, kin: list[Member], piece: Piece) -> list[Output]:
        if piece.reset or sum(map(entry_bytes, piece.entries)) > _PIECE_ROOM * _PUSH_PACKETS_MAX:
            message = User(encode_ledger(Push(self._me, (piece,))))
            return [
                OpenStream(
                    next(self._tokens), m.address, message, self._config.stream_timeout, answered=False
                )
                for m in kin
            ]
        payloads = [User(encode_ledger(Push(self._me, (part,)))) for part in split(piece, _PIECE_ROOM)]
        return [Send(member.address, (payload,)) for member in kin for payload in payloads]

    def _to(self, member: Member, message: LedgerMessage) -> Send:
        return Send(member.address, (User(encode_ledger(message)),))

    def _reader(self, name: NodeName) -> _Reader:
        return self._readers.setdefault(name, _Reader())

    def _tick_readers(self, now: float) -> list[Output]:
        """Send again what has not been acknowledged, so that a lost datagram costs a tenth of a second."""
        output: list[Output] = []
        for name, reader in self._readers.items():
            if reader.resend_at > now:
                continue
            reader.resend_at = inf
            member = self.swim.members.get(name)
            piece = self.ledger.piece(self.name, reader.heard)
            if (
                member is None
                or not member.present
                or piece is None
                or reader.tries >= self._config.resend_tries
            ):
                continue
            reader.resend_at = now + self._config.resend_after * 2**reader.tries
            reader.tries += 1
            if not piece.reset:
                output += self._tell([member], piece)
        return output

    # The ledger, among kin

    def _user(self, payload: bytes, now: float) -> list[Output]:
        try:
            if not payload.startswith(PREFIX):
                return self._serf(payload, now)
            message = decode_ledger(payload)
        except WireError as error:
            return [Rejected(error.reason)]
        member = self._sender(message)
        if member is None:
            return [Rejected("ledger_from_stranger")]
        match message:
            case Heard(_, owner, upto, own):
                if owner == self.name:
                    self._note_heard(member.name, upto, own)
                return []
            case Summary(_, fingerprint):
                if fingerprint == self.ledger.fingerprint:
                    return []
                return self._say_digest(member, now)
            case DigestIs(_, digest):
                return self._compare(member, digest, now)
            case Push(_, pieces):
                return self._take(member, pieces, now)
            case _:
                return [Rejected("unexpected_message")]

    def _user_by_stream(self, payload: bytes, now: float) -> tuple[StreamMessage | None, list[Output]]:
        try:
            message = decode_ledger(payload) if payload.startswith(PREFIX) else None
        except WireError as error:
            return None, [Rejected(error.reason)]
        if not isinstance(message, Sync):
            return None, self._user(payload, now)
        member = self._sender(message)
        if member is None:
            return None, [Rejected("ledger_from_stranger")]
        output = self._read_digest(member.name, message.digest)
        pieces, more = _within(self.ledger.lacking(member.name, message.digest))
        return User(encode_ledger(Pieces(self._me, self.ledger.digest(), pieces, more))), output

    def _sender(self, message: LedgerMessage) -> Member | None:
        """The member that says it; None for a stranger, and for a second process of the member's name."""
        member = self.swim.members.get(message.sender.name)
        if member is None or member is self.swim.members.me or not self.is_kin(member):
            return None
        same = self.tags(member).get(TAG_STARTED) == _start_text(message.sender.start)
        return member if same else None

    def _say_digest(self, member: Member, now: float) -> list[Output]:
        digest = self.ledger.digest()
        if len(digest) > _DIGEST_ENTRIES_MAX:
            return self._sync(member, now)
        return [self._to(member, DigestIs(self._me, digest))]

    def _compare(self, member: Member, digest: Digest, now: float) -> list[Output]:
        output = self._read_digest(member.name, digest)
        if self.ledger.behind(digest):
            return output + self._sync(member, now)
        lacking = self.ledger.lacking(member.name, digest)
        if any(piece.reset for piece in lacking):
            return output + self._sync(member, now)
        for piece in lacking:
            output += self._tell([member], piece)
        return output

    def _read_digest(self, kin: NodeName, digest: Digest) -> list[Output]:
        """What `kin`'s digest says about our own page."""
        mark = digest.get(self.name)
        own = self.ledger.own
        if mark is None:
            return []
        if mark.generation > own.generation or (mark.generation == own.generation and mark > own.mark):
            # A page of ours that is newer than ours: our clock was set back, or another of our name ran.
            self.ledger.renew(mark.generation + 1)
            return [Rejected("own_page_newer_elsewhere")]
        self._note_heard(kin, mark, digest.get(kin, NOTHING))
        return []

    def _note_heard(self, kin: NodeName, upto: Mark, own: Mark) -> None:
        if upto > self.ledger.own.mark:
            return
        reader = self._reader(kin)
        if upto > reader.heard:
            reader.heard = upto
            reader.tries = 0
        reader.own = max(reader.own, own)
        if reader.heard >= self.ledger.own.mark:
            reader.resend_at = inf

    def _sync(self, member: Member, now: float) -> list[Output]:
        """Reconcile with `member` by TCP, unless that is under way."""
        if member.name in self._syncs.values() or self.swim.leaving:
            return []
        token = next(self._tokens)
        self._syncs[token] = member.name
        message = User(encode_ledger(Sync(self._me, self.ledger.digest())))
        return [OpenStream(token, member.address, message, self._config.stream_timeout)]

    def _synced(self, kin: NodeName, answer: StreamMessage | None, now: float) -> list[Output]:
        if not isinstance(answer, User):
            return []
        try:
            message = decode_ledger(answer.payload)
        except WireError as error:
            return [Rejected(error.reason)]
        member = self._sender(message)
        if not isinstance(message, Pieces) or member is None or member.name != kin:
            return [Rejected("unexpected_message")]
        output = self._take(member, message.pieces, now)
        output += self._read_digest(kin, message.digest)
        if message.more:
            return output + self._sync(member, now)
        self.reconciled = True
        pieces, _ = _within(self.ledger.lacking(kin, message.digest))
        if pieces:
            push = User(encode_ledger(Push(self._me, pieces)))
            timeout = self._config.stream_timeout
            output.append(OpenStream(next(self._tokens), member.address, push, timeout, answered=False))
        return output

    def _take(self, member: Member, pieces: tuple[Piece, ...], now: float) -> list[Output]:
        output: list[Output] = []
        for piece in pieces:
            if piece.owner == self.name:
                output += self._take_own(piece)
                continue
            try:
                changed = self.ledger.apply(piece, self.wall(now))
            except ValueError:
                output.append(Rejected("absurd_page"))
                continue
            if changed is None:
                output += self._sync(member, now)
                continue
            if changed:
                output.append(PageChanged(piece.owner, changed))
            owner = self.swim.members.get(piece.owner)
            if owner is not None and owner.present:
                upto = self.ledger.pages[piece.owner].mark
                output.append(self._to(owner, Heard(self._me, piece.owner, upto, self.ledger.own.mark)))
        return output

    def _take_own(self, piece: Piece) -> list[Output]:
        """A page of ours from before our last start."""
        if piece.generation > self.ledger.own.generation:
            self.ledger.renew(piece.generation + 1)
        if piece.generation == self.ledger.own.generation:
            return []
        entries = tuple((entry.key, entry.value) for entry in piece.entries if entry.value is not None)
        return [FormerPage(piece.generation, entries)]

    # Serf

    def _serf(self, payload: bytes, now: float) -> list[Output]:
        message: SerfMessage = decode_serf(payload)
        match message:
            case LeaveIntent() | JoinIntent():
                return self._intent(message, payload, now)
            case SerfOther(kind):
                if kind in _SERF_RELAYED and (digest := self._seen.news(payload)) is not None:
                    self.swim.broadcasts.queue(("serf", digest), User(payload))
                return []
            case SerfState():
                return [Rejected("unexpected_message")]

    def _intent(self, intent: LeaveIntent | JoinIntent, payload: bytes, now: float) -> list[Output]:
        known = intent.node == self.name or self.swim.members.get(intent.node) is not None
        if not self._clock.plausible(intent.ltime):
            return [Rejected("absurd_ltime")]
        if not known or not self._clock.is_news(intent):
            return []
        if intent.node == self.name:
            if isinstance(intent, LeaveIntent) and not self.swim.leaving:
                self._insist()
            return []
        self.swim.broadcasts.queue(("intent", intent.node), User(payload))
        self._refresh_serf_state()
        return self.swim.left_by_intent(intent.node, now) if isinstance(intent, LeaveIntent) else []

    def _insist(self) -> None:
        """Somebody says that we are leaving; agents would list us so until they hear otherwise."""
        said = JoinIntent(self._clock.next_intent_time(self.name), self.name)
        self.swim.broadcasts.queue(("intent", self.name), User(encode_serf(said)))
        self._refresh_serf_state()

    def _serf_state(self, user_state: bytes, now: float) -> list[Output]:
        if not user_state:
            return []
        try:
            state = decode_serf(user_state)
        except WireError as error:
            return [Rejected(error.reason)]
        if not isinstance(state, SerfState):
            return []
        self._clock.merge(state)
        said_of_us = dict(state.status_ltimes).get(self.name, 0)
        if self._clock.plausible(said_of_us):
            if self.name in state.left and not self.swim.leaving:
                self._clock.witness(said_of_us + 1)
                self._clock.status[self.name] = max(self._clock.status.get(self.name, 0), said_of_us + 1)
                self._insist()
            elif said_of_us > self._clock.status.get(self.name, 0):
                self._clock.status[self.name] = said_of_us
        self._refresh_serf_state()
        return []

    def _refresh_serf_state(self) -> None:
        status = self._clock.status
        members = [member.name for member in self.swim.members]
        left = tuple(member.name for member in self.swim.members if member.state is State.LEFT)
        times = tuple((name, status.get(name, 0)) for name in members)
        self._user_state = encode_serf(SerfState(self._clock.time, times, left))

    def _with_serf_state(self, table: PushPull) -> PushPull:
        return replace(table, user_state=self._user_state)

    # After every input

    def _settle(self, output: list[Output], now: float) -> list[Output]:
        """Meet kin that came, forget what was asked of those that went, complete what is sent."""
        settled: list[Output] = []
        for item in output:
            match item:
                case Send(address) if self._takes_crc(address):
                    settled.append(replace(item, crc=True))
                case OpenStream(message=PushPull() as table):
                    settled.append(replace(item, message=self._with_serf_state(table)))
                case MemberChanged(name, before, after):
                    settled.append(item)
                    self._refresh_serf_state()
                    came = after is State.ALIVE and before is not State.SUSPECT
                    member = self.swim.members.get(name)
                    if came and member is not None and self.is_kin(member):
                        settled += self._meet(member, now)
                case _:
                    settled.append(item)
        return settled

    def _takes_crc(self, address: Address) -> bool:
        member = self.swim.members.at(address)
        return member is not None and member.versions.protocol_max >= 5

    def _meet(self, member: Member, now: float) -> list[Output]:
        self._readers[member.name] = _Reader()
        if self.name < member.name or not self.reconciled:
            return self._sync(member, now)
        return [self._to(member, Summary(self._me, self.ledger.fingerprint))]


def _start_text(start: int) -> str:
    return f"{start:016x}"


def _within(pieces: list[Piece]) -> tuple[tuple[Piece, ...], bool]:
    """As many of `pieces` as one stream carries, at least one, and whether there are more."""
    size = 0
    for at, piece in enumerate(pieces):
        size += sum(map(entry_bytes, piece.entries))
        if at and size > _STREAM_BYTES_MAX:
            return tuple(pieces[:at]), True
    return tuple(pieces), False
