"""The keys of the group, changed on every member without a restart: install, use, remove, list.

Each member changes its own keyring, on disk before in memory, and says so. Whoever is told by an operator
asks every member and repeats that until each has answered, and goes a step further only where all have:
managers by messages of our own, agents by Serf's own queries. Rules are those of `PROTOCOL.md` § Keys.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from math import inf
from random import Random
from typing import TypeAlias

from gossip.effects import KeyringChanged, KeysDone, Output, Rejected, SaveKeyring, Send
from gossip.errors import GossipError, WireError
from gossip.key_messages import KeyAsk, KeySays, Verb
from gossip.key_verdicts import before, result
from gossip.kinship import Kinship
from gossip.members import Member, Members
from gossip.messages import NodeName, SerfAnswer, SerfKeyAnswer, SerfQuery, State, User
from gossip.wire import Keyring, encode_serf, fingerprint, key_text, read_key
from gossip.wire.keys import decode_keys, encode_keys
from gossip.wire.serf import decode_key_answer, decode_key_request, encode_key_answer, encode_key_request

STEP_SECONDS = 3.0
"""For so long a step waits for answers."""
_REPEAT_SECONDS = 0.3
_LTIME_AHEAD_MAX = 2**32
_QUERIES = {f"_serf_{verb.value}-key{'s' if verb is Verb.LIST else ''}": verb for verb in Verb}
_NAMES = {verb: name for name, verb in _QUERIES.items()}

NO_KEY = (
    "gossip has no key here: write a list with one key into a file of mode 0600 on every manager, name it by "
    "gossip.keyring_file, and restart them; `kcm keys generate` makes a key"
)
NO_FILE = (
    "the key stands in gossip.key, so a change would not outlive a restart: write it as a JSON list into a "
    "file of mode 0600, name that by gossip.keyring_file in place of gossip.key, and restart"
)
BUSY = "another change of keys is under way: try again when it is over"

Reply: TypeAlias = Callable[[str, float], list[Output]]
"""Told why a change was not made, empty where it was, and the time."""


class KeysRefused(GossipError):
    """Nothing was begun; the text says why, and what to do."""


class _Step(IntEnum):
    CHECK = 0
    CHANGE = 1
    VERIFY = 2


_STEPS = {
    Verb.LIST: (_Step.VERIFY,),
    Verb.INSTALL: (_Step.CHANGE, _Step.VERIFY),
    Verb.USE: tuple(_Step),
    Verb.REMOVE: tuple(_Step),
}


@dataclass(slots=True)
class _Round:
    """What an operator wants done, and how far it is."""

    verb: Verb
    key: bytes
    without: frozenset[str]
    steps: list[_Step]
    number: int = 0
    ends_at: float = inf
    repeat_at: float = inf
    awaited: set[NodeName] = field(default_factory=set)
    found: dict[NodeName, tuple[str, ...]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    queries: dict[tuple[int, int], NodeName] = field(default_factory=dict)
    refusals: dict[NodeName, str] = field(default_factory=dict)
    """Who did not make the change, and why."""


@dataclass(frozen=True, slots=True)
class _Saving:
    keyring: Keyring
    changed: KeyringChanged
    reply: Reply


class Keys:
    """One member's keyring, and the rounds in which operators change those of all."""

    def __init__(
        self,
        *,
        kinship: Kinship,
        members: Members,
        unmet: Callable[[], list[str]],
        keyring: Keyring | None,
        kept: bool,
        random: Random,
    ) -> None:
        """`kept`: whether there is a file that a changed keyring is written to; `unmet()`: the peers at which
        nobody answers."""
        self.keyring = keyring
        self.query_time = 1
        """Serf's clock for queries."""
        self._me = kinship.me
        self._kinship = kinship
        self._members = members
        self._unmet = unmet
        self._kept = kept
        self._random = random
        self._number = 0
        self._newest: dict[NodeName, tuple[int, int]] = {}
        self._saving: _Saving | None = None
        self._round: _Round | None = None

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of the keys that we have, the one in use first."""
        return () if self.keyring is None else tuple(map(fingerprint, self.keyring.keys))

    # What an operator wants

    def begin(self, verb: Verb, named: str, without: Iterable[str], now: float) -> list[Output]:
        """`named` is a key in base64, or the fingerprint of one that we have; `without` are members and peers
        of which nothing need be known. `KeysDone` follows. Raises `KeysRefused`."""
        if self.keyring is None:
            raise KeysRefused(NO_KEY)
        if verb is not Verb.LIST and not self._kept:
            raise KeysRefused(NO_FILE)
        if self._round is not None:
            raise KeysRefused(BUSY)
        key = b"" if verb is Verb.LIST else self._named(named)
        self._round = _Round(verb, key, frozenset(without), list(_STEPS[verb]))
        return self._enter(self._round, now)

    def _named(self, text: str) -> bytes:
        assert self.keyring is not None
        for key in self.keyring.keys:
            if fingerprint(key) == text:
                return key
        try:
            return read_key(text)
        except ValueError as error:
            raise KeysRefused(
                f"the key {error}, and it is not the fingerprint of one that this manager has: "
                "`kcm keys list` shows those"
            ) from None

    def _enter(self, round_: _Round, now: float) -> list[Output]:
        """Ask all for what is the step now."""
        present = {member.name for member in self._members.present()}
        if round_.steps[0] is _Step.CHANGE and _Step.CHECK in _STEPS[round_.verb]:
            came = sorted(present - round_.found.keys() - round_.failed.keys())
            if came:
                return self._over(f"{', '.join(came)} came meanwhile: try again; nothing was changed")
        else:
            round_.found, round_.failed = {}, {}
        self._number += 1
        round_.number = self._number
        round_.awaited = present | {self._me.name}
        round_.queries = {}
        round_.ends_at = now + STEP_SECONDS
        return self._ask(round_, now)

    def _ask(self, round_: _Round, now: float) -> list[Output]:
        round_.repeat_at = now + _REPEAT_SECONDS
        verb = round_.verb if round_.steps[0] is _Step.CHANGE else Verb.LIST
        key = round_.key if verb is not Verb.LIST else b""
        output: list[Output] = []
        for name in sorted(round_.awaited - {self._me.name}):
            member = self._members.get(name)
            if member is None or not member.present:
                round_.awaited.discard(name)
                round_.failed[name] = "is gone"
            elif self._kinship.is_kin(member):
                ask = KeyAsk(self._me, self._kinship.process_of(member), round_.number, verb, key)
                output.append(Send(member.address, (User(encode_keys(ask)),)))
            else:
                output.append(self._query(round_, member, verb, key))
        if self._me.name in round_.awaited:
            number = round_.number
            output += self._carry_out(
                verb,
                key,
                self._me.name,
                lambda why, at: self._answered(self._me.name, number, why, self.fingerprints, at),
                now,
            )
        elif not round_.awaited:
            output += self._advance(round_, now)
        return output

    def _query(self, round_: _Round, member: Member, verb: Verb, key: bytes) -> Send:
        # An agent answers each query once, so one whose answer was lost must be another: by its number, for a
        # later time would put this agent's clock, or ours, ahead of the others'.
        query = SerfQuery(
            self.query_time,
            self._random.getrandbits(32),
            self._members.me.address,
            _NAMES[verb],
            encode_key_request(key),
            direct=True,
            source_name=self._me.name,
        )
        round_.queries[query.ltime, query.number] = member.name
        return Send(member.address, (User(encode_serf(query)),))

    def _answered(
        self, name: NodeName, number: int, why: str, fingerprints: tuple[str, ...], now: float
    ) -> list[Output]:
        round_ = self._round
        if round_ is None or round_.number != number or name not in round_.awaited:
            return []
        round_.awaited.discard(name)
        if round_.steps[0] is _Step.CHANGE:
            if why:
                round_.refusals[name] = why
        elif why:
            round_.failed[name] = why
        else:
            round_.found[name] = fingerprints
        return [] if round_.awaited else self._advance(round_, now)

    def _advance(self, round_: _Round, now: float) -> list[Output]:
        """All have answered, or had the time for it."""
        step = round_.steps.pop(0)
        if step is _Step.CHECK:
            problem = before(round_.verb, fingerprint(round_.key), round_.found, self._missing(round_))
            if problem:
                return self._over(problem)
        if round_.steps:
            return self._enter(round_, now)
        if round_.verb is Verb.LIST:
            return self._over("")
        missing = self._missing(round_)
        return self._over(
            result(round_.verb, fingerprint(round_.key), round_.found, missing, round_.refusals)
        )

    def _missing(self, round_: _Round) -> dict[str, str]:
        """Of whom nothing is known, and why."""
        missing = dict(round_.failed)
        known = {str(member.address) for member in self._members}
        for member in self._members.others():
            if member.state is State.DEAD:
                missing[member.name] = "is dead"
        for peer in self._unmet():
            if peer not in known:
                missing[peer] = "is a peer that does not answer"
        return {name: why for name, why in missing.items() if name not in round_.without}

    def _over(self, problem: str) -> list[Output]:
        round_ = self._round
        assert round_ is not None
        self._round = None
        missing = sorted(self._missing(round_).items())
        return [KeysDone(round_.verb, problem, tuple(sorted(round_.found.items())), tuple(missing))]

    # Time

    def next_deadline(self) -> float:
        """The latest time at which `tick` wants to be called."""
        return inf if self._round is None else min(self._round.ends_at, self._round.repeat_at)

    def tick(self, now: float) -> list[Output]:
        """Ask again whoever has not answered, or go on without."""
        round_ = self._round
        if round_ is None:
            return []
        if round_.ends_at <= now:
            told = round_.refusals if round_.steps[0] is _Step.CHANGE else round_.failed
            told |= dict.fromkeys(round_.awaited, "does not answer")
            round_.awaited.clear()
            return self._advance(round_, now)
        return self._ask(round_, now) if round_.repeat_at <= now else []

    # Our own keyring

    def _carry_out(self, verb: Verb, key: bytes, by: NodeName, reply: Reply, now: float) -> list[Output]:
        """Make one change to our keyring; `reply` is told at once, or when it is on disk."""
        if self.keyring is None:
            return reply("has no key", now)
        if verb is Verb.LIST:
            return reply("", now)
        if not self._kept:
            return reply("keeps its key in no gossip.keyring_file", now)
        if self._round is not None and self._round.verb is not Verb.LIST and by != self._me.name:
            return reply(BUSY, now)
        if self._saving is not None:
            # Whoever asks repeats it.
            return []
        try:
            keyring = _changed(self.keyring, verb, key)
        except ValueError as error:
            return reply(str(error), now)
        if keyring == self.keyring:
            return reply("", now)
        self._saving = _Saving(keyring, KeyringChanged(verb, fingerprint(key), by), reply)
        return [SaveKeyring(keyring)]

    def saved(self, why: str, now: float) -> list[Output]:
        """The outcome of `SaveKeyring`: why it failed, or empty."""
        saving = self._saving
        assert saving is not None
        self._saving = None
        if why:
            return saving.reply(f"cannot write its keyring: {why}", now)
        self.keyring = saving.keyring
        return [saving.changed, *saving.reply("", now)]

    # What managers say

    def received(self, payload: bytes, now: float) -> list[Output]:
        """A message of our own about keys. Raises `WireError`."""
        message = decode_keys(payload)
        member = self._kinship.who(message.sender, self._members)
        if member is None:
            return [Rejected("keys_from_stranger")]
        match message:
            case KeySays(_, number, why, fingerprints):
                return self._answered(member.name, number, why, fingerprints, now)
            case KeyAsk():
                return self._asked(message, member, now)

    def _asked(self, ask: KeyAsk, member: Member, now: float) -> list[Output]:
        start, newest = self._newest.get(member.name, (0, 0))
        if ask.to != self._me or (start == ask.sender.start and ask.number < newest):
            return [Rejected("keys_replayed")]
        self._newest[member.name] = (ask.sender.start, ask.number)

        def reply(why: str, _: float) -> list[Output]:
            says = KeySays(self._me, ask.number, why, self.fingerprints)
            return [Send(member.address, (User(encode_keys(says)),))]

        return self._carry_out(ask.verb, ask.key, member.name, reply, now)

    # What agents say

    def witness(self, ltime: int) -> None:
        """Be ahead of a query's time: agents do not answer old ones."""
        if ltime <= self.query_time + _LTIME_AHEAD_MAX:
            self.query_time = max(self.query_time, ltime + 1)

    def queried(self, query: SerfQuery, now: float) -> list[Output]:
        """An agent asks everybody. Raises `WireError`."""
        verb = _QUERIES.get(query.name)
        member = self._members.at(query.source)
        if verb is None or query.filtered or member is None or member is self._members.me:
            # Answers go to members only: nobody has them sent elsewhere.
            return []
        if verb is not Verb.LIST and query.ltime + 1 < self.query_time:
            # Recorded, and sent again when we had forgotten it: who really asks is as late as all others, or
            # will be when it asks once more.
            return [Rejected("keys_replayed")]
        key = decode_key_request(query.payload)

        def reply(why: str, _: float) -> list[Output]:
            texts = tuple(map(key_text, self.keyring.keys)) if self.keyring and verb is Verb.LIST else ()
            said = SerfKeyAnswer(not why, why, texts, texts[0] if texts else "")
            answer = SerfAnswer(query.ltime, query.number, self._me.name, encode_key_answer(said))
            return [Send(query.source, (User(encode_serf(answer)),))]

        return self._carry_out(verb, key, member.name, reply, now)

    def agent_answered(self, answer: SerfAnswer, now: float) -> list[Output]:
        """An answer to a query, ours or another's. Raises `WireError`."""
        round_ = self._round
        if round_ is None or round_.queries.get((answer.ltime, answer.number)) != answer.sender:
            return []
        said = decode_key_answer(answer.payload)
        why = "" if said.ok else "".join(filter(str.isprintable, said.text))[:200] or "refuses"
        texts = dict.fromkeys((said.primary, *said.keys) if said.primary else said.keys)
        try:
            fingerprints = tuple(fingerprint(read_key(text)) for text in texts)
        except ValueError:
            raise WireError("bad_keys", "an agent's list of keys") from None
        return self._answered(answer.sender, round_.number, why, fingerprints, now)


def _changed(keyring: Keyring, verb: Verb, key: bytes) -> Keyring:
    """Raises `ValueError` for what must not be."""
    match verb:
        case Verb.INSTALL:
            return keyring.add(key)
        case Verb.USE:
            return keyring.use(key)
        case Verb.REMOVE:
            return keyring.remove(key)
        case Verb.LIST:
            return keyring
