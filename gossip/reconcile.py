"""How pages travel among kin: news in the same turn, acknowledged; what was missed, by digest and delta.

Decides with whom to exchange what. Rules are named as in `PROTOCOL.md` § Ledger.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from math import inf
from random import Random

from gossip.config import GossipConfig
from gossip.effects import FormerPage, OpenStream, Output, PageChanged, Rejected, Send
from gossip.errors import WireError
from gossip.kinship import Kinship
from gossip.ledger import GENERATION_SHIFT, Digest, Ledger, generation_above
from gossip.ledger_messages import DigestIs, Heard, LedgerMessage, Pieces, Push, Sender, Summary, Sync
from gossip.members import Member, Members
from gossip.messages import NodeName, StreamMessage, User
from gossip.page_notes import FORGOTTEN, SUCCEEDS, read_succession
from gossip.pages import MESSAGE_ENTRIES_MAX, NOTHING, Mark, Piece, entry_bytes, split
from gossip.wire.ledger import decode_ledger, encode_ledger

_PIECE_ROOM = 1150
"""Entry bytes in one packet: leaves room for names, numbers and the layers within 1400 bytes."""
_PUSH_PACKETS_MAX = 16
"""News that needs more packets goes by TCP, and so does an entry that needs more than one."""
_DIGEST_ENTRIES_MAX = 24
"""A digest with more does not fit into a packet."""
_FAN_OUT_MAX = 32
"""So many are told of news directly; the others hear by reconciling."""
_STREAM_BYTES_MAX = 12 * 2**20
KIN_MAX = 128
"""Without a key anybody can claim to be thousands of managers: more are members, and no kin."""
_SYNCS_MAX = 8
"""Exchanges that we begin at once; whoever has to wait is found by a summary later."""


@dataclass(slots=True)
class _Reader:
    """How far a kin is with our page, and with its own when it said so."""

    heard: Mark = NOTHING
    own: Mark = NOTHING
    resend_at: float = inf
    tries: int = 0


class Reconciler:
    """Keeps our ledger and those of all kin equal."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        members: Members,
        kinship: Kinship,
        tokens: Iterator[int],
        config: GossipConfig,
        random: Random,
        now: float,
    ) -> None:
        self.reconciled = False
        """Whether we have all that some other member had at some time since we started."""
        self.closed = False
        """Whether we are leaving and begin no more exchanges."""
        self._ledger = ledger
        self._members = members
        self._kinship = kinship
        self._me = kinship.me
        self._tokens = tokens
        self._config = config
        self._random = random
        self._kin: dict[NodeName, Member] = {}
        self._readers: dict[NodeName, _Reader] = {}
        self._grown: dict[NodeName, None] = {}
        """Whose pages we were sent pieces of in this turn: each is answered when it ends."""
        self._owing: dict[NodeName, _Reader] = {}
        """Those that have not answered for our news: every packet asks these few when they are due."""
        self._syncs: dict[int, tuple[NodeName, int]] = {}
        """With whom we exchange, and our generation when we asked, by the stream's token."""
        self._summary_at = now + random.uniform(0, config.probe_interval)

    def kin(self) -> list[Member]:
        """The other members of our group that count as running."""
        return list(self._kin.values())

    @property
    def kin_names(self) -> AbstractSet[NodeName]:
        return self._kin.keys()

    def is_kin(self, member: Member) -> bool:
        """Whether `member` counts as running and is of our group."""
        return member.name in self._kin

    def member_changed(self, name: NodeName, *, came: bool) -> list[Output]:
        """What is known of `name` is new; `came`: it runs, and did not before."""
        member = self._members.get(name)
        if member is None or not member.present or not self._kinship.is_kin(member):
            self._kin.pop(name, None)
            self._readers.pop(name, None)
            self._owing.pop(name, None)
            return []
        if name not in self._kin and len(self._kin) >= KIN_MAX:
            return [Rejected("too_many_managers")]
        met = came or name not in self._kin
        self._kin[name] = member
        return self._met(member) if met else []

    # News

    def flush(self, now: float) -> list[Output]:
        """Tell what was written to our page since the last flush."""
        piece = self._ledger.flush()
        if piece is None:
            return self._answers()
        kin = self.kin()
        if len(kin) > _FAN_OUT_MAX:
            kin = self._random.sample(kin, _FAN_OUT_MAX)
        for member in kin:
            reader = self._reader(member.name)
            if member.name not in self._owing:
                reader.resend_at = now + self._config.resend_after
                self._owing[member.name] = reader
            reader.tries = 0
        return [*self._tell(kin, piece), *self._answers()]

    def _answers(self) -> list[Output]:
        """One for each owner whose page has grown in this turn, with what we wrote by then."""
        output: list[Output] = []
        for name in self._grown:
            owner = self._members.get(name)
            if owner is not None and owner.present:
                page = self._ledger.pages.get(name)
                upto = self._ledger.forgotten.get(name, NOTHING) if page is None else page.mark
                output.append(self._to(owner, Heard(self._me, name, upto, self._ledger.own.mark)))
        self._grown.clear()
        return output

    def ask_all(self, now: float) -> list[Output]:
        """Have every kin answer for our page that has not yet: of who met us again nothing is known.

        Call it after `flush`; once more does no harm.
        """
        asked = [kin for kin in self.kin() if kin.name not in self._owing]
        asked = [kin for kin in asked if self._reader(kin.name).heard < self._ledger.own.mark]
        for member in asked:
            reader = self._owing[member.name] = self._reader(member.name)
            reader.resend_at, reader.tries = now + self._config.resend_after, 0
        return self._tell_last(asked)

    @property
    def all_heard(self) -> bool:
        """Whether every kin that counts as running has answered for all that we wrote."""
        mark = self._ledger.own.mark
        return all(self._reader(member.name).heard >= mark for member in self.kin())

    def heard_by(self, kin: NodeName, version: int) -> bool:
        """Whether `kin` has answered for our page at `version`, and we hold what it had written by then."""
        reader = self._readers.get(kin)
        page = self._ledger.pages.get(kin)
        if reader is None or reader.heard < Mark(self._ledger.own.generation, version):
            return False
        return reader.own.version == 0 or (page is not None and page.mark >= reader.own)

    def _met(self, member: Member) -> list[Output]:
        """A kin came, or came back: nothing is known of how far it is."""
        self._readers[member.name] = _Reader()
        self._owing.pop(member.name, None)
        if self._me.name < member.name or not self.reconciled:
            return self._sync(member)
        return [self._to(member, Summary(self._me, self._ledger.fingerprint))]

    def next_deadline(self) -> float:
        resends = (reader.resend_at for reader in self._owing.values())
        return min(self._summary_at, *resends) if self._owing else self._summary_at

    def tick(self, now: float) -> list[Output]:
        """Send again what has not been acknowledged; once a second tell somebody how our pages are."""
        output: list[Output] = []
        for name, reader in [*self._owing.items()]:
            if reader.resend_at <= now:
                output += self._resend(name, reader, now)
        if self._summary_at <= now:
            self._summary_at = now + self._config.probe_interval
            for owner in self._ledger.former:
                # It runs again, and has not taken over all that we kept for it.
                if (member := self._kin.get(owner)) is not None:
                    output += self._sync(member)
            kin = self.kin()
            if kin:
                output.append(self._to(self._random.choice(kin), Summary(self._me, self._ledger.fingerprint)))
        return output

    def _resend(self, name: NodeName, reader: _Reader, now: float) -> list[Output]:
        """A lost datagram costs a tenth of a second; after some tries, reconciling brings what is missing."""
        del self._owing[name]
        member = self._members.get(name)
        piece = self._ledger.piece(self._me.name, reader.heard)
        if member is None or not member.present or piece is None or reader.tries >= self._config.resend_tries:
            return []
        self._owing[name] = reader
        reader.resend_at = now + self._config.resend_after * 2**reader.tries
        reader.tries += 1
        return self._tell_last([member]) if piece.reset else self._tell([member], piece)

    def _tell_last(self, kin: list[Member]) -> list[Output]:
        """The last thing that we wrote, for those of whom we do not know how far they are: they say so."""
        version = self._ledger.own.version - 1
        last = self._ledger.piece(self._me.name, Mark(self._ledger.own.generation, version))
        return [] if last is None or last.reset else self._tell(kin, last)

    def _tell(self, kin: list[Member], piece: Piece) -> list[Output]:
        sizes = [entry_bytes(entry) for entry in piece.entries]
        if piece.reset or sum(sizes) > _PIECE_ROOM * _PUSH_PACKETS_MAX or max(sizes, default=0) > _PIECE_ROOM:
            return [self._push(member, (piece,)) for member in kin]
        payloads = [User(encode_ledger(Push(self._me, (part,)))) for part in split(piece, _PIECE_ROOM)]
        return [Send(member.address, (payload,)) for member in kin for payload in payloads]

    def _push(self, member: Member, pieces: tuple[Piece, ...]) -> OpenStream:
        message = User(encode_ledger(Push(self._me, pieces)))
        timeout = self._config.stream_timeout
        return OpenStream(next(self._tokens), member.address, message, timeout, answered=False)

    def _to(self, member: Member, message: LedgerMessage) -> Send:
        return Send(member.address, (User(encode_ledger(message)),))

    def _reader(self, name: NodeName) -> _Reader:
        return self._readers.setdefault(name, _Reader())

    # What arrives

    def _who(self, sender: Sender) -> Member | None:
        """The kin that signs so; None for a stranger."""
        member = self._kinship.who(sender, self._members)
        return member if member is not None and self.is_kin(member) else None

    def received(self, payload: bytes, now: float) -> list[Output]:
        """A message of the ledger by UDP, or by a stream that wants no answer. Raises `WireError`."""
        message = decode_ledger(payload)
        member = self._who(message.sender)
        if member is None:
            return [Rejected("ledger_from_stranger")]
        match message:
            case Heard(_, owner, upto, own):
                if owner == self._me.name:
                    self._note_heard(member.name, upto, own)
                return []
            case Summary(_, fingerprint):
                return [] if fingerprint == self._ledger.fingerprint else self._say_digest(member)
            case DigestIs(_, digest):
                return self._compare(member, digest)
            case Push(_, pieces):
                return self._take(member, pieces, now)
            case Sync() | Pieces():
                return [Rejected("unexpected_message")]

    def requested(self, payload: bytes, now: float) -> tuple[StreamMessage | None, list[Output]]:
        """A message of the ledger by TCP: the answer, None for none, and the rest. Raises `WireError`."""
        message = decode_ledger(payload)
        if not isinstance(message, Sync):
            return None, self.received(payload, now)
        member = self._who(message.sender)
        if member is None:
            return None, [Rejected("ledger_from_stranger")]
        output = self._read_digest(member.name, message.digest)
        pieces, more = _within(self._ledger.lacking(member.name, message.digest))
        return User(encode_ledger(Pieces(self._me, self._ledger.digest(), pieces, more))), output

    def owns_stream(self, token: int) -> bool:
        """Whether `stream_answered(token, …)` is for us."""
        return token in self._syncs

    def stream_answered(self, token: int, answer: StreamMessage | None, now: float) -> list[Output]:
        """The outcome of an exchange that we began: take what we lacked, send what the other lacks."""
        kin, asked_in = self._syncs.pop(token)
        if not isinstance(answer, User):
            return []
        try:
            message = decode_ledger(answer.payload)
        except WireError as error:
            return [Rejected(error.reason)]
        member = self._who(message.sender)
        if not isinstance(message, Pieces) or member is None or member.name != kin:
            return [Rejected("unexpected_message")]
        output = self._take(member, message.pieces, now)
        output += self._read_digest(kin, message.digest)
        if message.more or self._ledger.own.generation != asked_in:
            # In the second case it had an earlier page of ours, and gives it out now that we are above it.
            return output + self._sync(member)
        self.reconciled = True
        pieces, _ = _within(self._ledger.lacking(kin, message.digest))
        return [*output, self._push(member, pieces)] if pieces else output

    # Reconciling

    def _sync(self, member: Member) -> list[Output]:
        """Reconcile with `member` by TCP, unless that is under way."""
        under_way = [name for name, _ in self._syncs.values()]
        if member.name in under_way or len(under_way) >= _SYNCS_MAX or self.closed:
            return []
        token = next(self._tokens)
        self._syncs[token] = member.name, self._ledger.own.generation
        message = User(encode_ledger(Sync(self._me, self._ledger.digest())))
        return [OpenStream(token, member.address, message, self._config.stream_timeout)]

    def _say_digest(self, member: Member) -> list[Output]:
        digest = self._ledger.digest()
        if len(digest) > _DIGEST_ENTRIES_MAX:
            return self._sync(member)
        return [self._to(member, DigestIs(self._me, digest))]

    def _compare(self, member: Member, digest: Digest) -> list[Output]:
        output = self._read_digest(member.name, digest)
        lacking = self._ledger.lacking(member.name, digest)
        if self._ledger.behind(digest) or any(piece.reset for piece in lacking):
            return output + self._sync(member)
        for piece in lacking:
            output += self._tell([member], piece)
        return output

    def _read_digest(self, kin: NodeName, digest: Digest) -> list[Output]:
        """What `kin`'s digest says about our own page."""
        mark = digest.get(self._me.name)
        own = self._ledger.own
        if mark is None:
            return []
        if mark.generation > own.generation or (mark.generation == own.generation and mark > own.mark):
            # A page of ours that is newer than ours: our clock was set back, or another of our name ran.
            self._renew(mark.generation)
            return [Rejected("own_page_newer_elsewhere")]
        self._note_heard(kin, mark, digest.get(kin, NOTHING))
        return []

    def _renew(self, highest: int) -> None:
        # Not the next number: another start of ours may have gone above the same one too.
        self._ledger.renew(generation_above(highest, self._random.getrandbits(GENERATION_SHIFT)))

    def _note_heard(self, kin: NodeName, upto: Mark, own: Mark) -> None:
        if upto > self._ledger.own.mark:
            return
        reader = self._reader(kin)
        if upto > reader.heard:
            reader.heard = upto
            reader.tries = 0
        reader.own = max(reader.own, own)
        if reader.heard >= self._ledger.own.mark:
            self._owing.pop(kin, None)

    def _take(self, member: Member, pieces: tuple[Piece, ...], now: float) -> list[Output]:
        output: list[Output] = []
        for piece in pieces:
            if piece.owner == self._me.name:
                output += self._take_own(piece)
                continue
            before = self._held(piece.owner)
            try:
                changed = self._ledger.apply(piece)
            except ValueError:
                output.append(Rejected("absurd_page"))
                continue
            if changed is None:
                output += self._sync(member)
                continue
            if changed:
                output.append(PageChanged(piece.owner, changed))
            if piece.owner == member.name or self._held(piece.owner) > before:
                # What another tells once more of a page that we have is nothing new to the owner.
                self._grown[piece.owner] = None
            if any(key.startswith(FORGOTTEN) for key in changed):
                output += self.let_go()
        return output

    def _held(self, owner: NodeName) -> Mark:
        page = self._ledger.pages.get(owner)
        return NOTHING if page is None else page.mark

    def forget(self, owner: NodeName, at: float) -> list[Output]:
        """Have everybody let go of `owner`'s page as it stands here (L6); `at` in seconds since 1970."""
        self._ledger.forget(owner, at)
        return self.let_go()

    def let_go(self) -> list[Output]:
        """Drop the pages that are forgotten. Where one is ours we run on, above it."""
        output: list[Output] = [PageChanged(owner, keys) for owner, keys in self._ledger.let_go()]
        ours = self._ledger.forgotten.get(self._me.name, NOTHING)
        if ours >= self._ledger.own.mark:
            self._renew(ours.generation)
            output.append(Rejected("own_page_forgotten"))
        return output

    def _take_own(self, piece: Piece) -> list[Output]:
        """A page of ours from before our last start."""
        if piece.generation > self._ledger.own.generation:
            self._renew(piece.generation)
        mark = Mark(piece.generation, piece.upto)
        if piece.generation == self._ledger.own.generation or self._ledger.succeeds(mark):
            return []
        return [former_page(piece)]


def former_page(piece: Piece) -> FormerPage:
    """`piece`, which is a whole page of ours from before our last start, as our caller takes it over."""
    entries = {entry.key: entry.value for entry in piece.entries if entry.value is not None}
    earlier = read_succession(entries.pop(SUCCEEDS, None))
    marks = (*map(Mark, earlier.keys(), earlier.values()), Mark(piece.generation, piece.upto))
    return FormerPage(marks, tuple(entries.items()))


def _within(pieces: list[Piece]) -> tuple[tuple[Piece, ...], bool]:
    """As many of `pieces` as one stream carries, at least one, and whether there are more."""
    size = count = 0
    for at, piece in enumerate(pieces):
        size += sum(map(entry_bytes, piece.entries))
        count += len(piece.entries)
        if at and (size > _STREAM_BYTES_MAX or count > MESSAGE_ENTRIES_MAX):
            return tuple(pieces[:at]), True
    return tuple(pieces), False
