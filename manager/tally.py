"""How gateways answered under each configuration since a rollout began.

Each manager counts for the nodes that it serves, on its page (`tally/<kind>`); the conductor adds up. What a
node answered between two reports counts for what it ran at both; in between it may have changed.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gossip.group import Group
from manager.outbox import Outbox
from manager.packing import pack, unpack

TALLY = "tally/"
HASH_CHARS = 16
"""Of a hash, to say which configuration it was."""
TALLY_EVERY = 2.0
"""On a page it changes no more often."""
REQUESTS, ERRORS = "gateway_requests", "gateway_errors"


@dataclass(frozen=True, slots=True)
class Answered:
    """So many requests, and so many of them by an error of the server (5xx)."""

    requests: float = 0.0
    errors: float = 0.0

    def __add__(self, other: "Answered") -> "Answered":
        return Answered(self.requests + other.requests, self.errors + other.errors)

    @property
    def rate(self) -> float:
        """The part that were errors."""
        return self.errors / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class Tally:
    """Of one rollout, known by the hash of what all shall run: by the hash of what answered."""

    target: str
    by_hash: Mapping[str, Answered]

    def pack(self) -> bytes:
        counts = {hash_: [one.requests, one.errors] for hash_, one in sorted(self.by_hash.items())}
        return pack([self.target, counts])

    @classmethod
    def unpack(cls, value: bytes) -> "Tally":
        """Raises `ValueError` for anything else than a packed tally."""
        match unpack(value):
            case [str(target), dict(counts), *_]:
                return cls(target, {str(hash_): _answered(count) for hash_, count in counts.items()})
            case _:
                raise ValueError("not a tally")


@dataclass(frozen=True, slots=True)
class _Said:
    """A node's last report in its session."""

    order: tuple[int, int]
    running: str
    answered: Answered


class Tallies:
    """Those of all managers, and what our own nodes add to ours."""

    def __init__(self, group: Group, outbox: Outbox) -> None:
        self._group = group
        self._outbox = outbox
        self._last: dict[str, _Said] = {}
        self._own: dict[str, Tally] = {}
        """By kind."""
        self._tallies: dict[str, dict[str, Tally]] = {}
        """By owner of the page, then by kind."""
        self._publish_at = 0.0

    def of(self, kind: str, target: str, managers: Collection[str]) -> dict[str, Answered]:
        """What gateways answered since the rollout of `target` began, by the beginnings of hashes.

        As far as `managers` tell of it.
        """
        found: dict[str, Answered] = {}
        for owner in managers:
            tally = (
                self._own.get(kind) if owner == self._group.name else self._tallies.get(owner, {}).get(kind)
            )
            if tally is not None and tally.target == target[:HASH_CHARS]:
                for hash_, one in tally.by_hash.items():
                    found[hash_] = found.get(hash_, Answered()) + one
        return found

    def reported(
        self, id_: str, order: tuple[int, int], kind: str, running: str, counters: Mapping[str, float]
    ) -> None:
        """A node here ran `running` in its session `order`, and says what its gateway has answered so far."""
        if REQUESTS not in counters or not running:
            return
        now = Answered(counters[REQUESTS], counters.get(ERRORS, 0.0))
        last, self._last[id_] = self._last.get(id_), _Said(order, running, now)
        tally = self._own.get(kind)
        if tally is None or last is None or (last.order, last.running) != (order, running):
            return
        # A gateway that was started anew counts from 0.
        before = Answered() if now.requests < last.answered.requests else last.answered
        grown = Answered(now.requests - before.requests, max(0.0, now.errors - before.errors))
        hash_ = running[:HASH_CHARS]
        counted = tally.by_hash.get(hash_, Answered()) + grown
        self._own[kind] = Tally(tally.target, {**tally.by_hash, hash_: counted})

    def left(self, id_: str) -> None:
        """A node is served here no longer."""
        self._last.pop(id_, None)

    def follow(self, targets: Mapping[str, str], now: float) -> None:
        """Count for the rollouts that go on, by kind and the hash of what all shall run; for no others."""
        for kind in [kind for kind in self._own if kind not in targets]:
            del self._own[kind]
            self._group.ledger.delete(TALLY + kind)
        for kind, target in targets.items():
            if kind not in self._own or self._own[kind].target != target[:HASH_CHARS]:
                self._own[kind] = Tally(target[:HASH_CHARS], {})
        if now < self._publish_at:
            return
        self._publish_at = now + TALLY_EVERY
        for kind, tally in self._own.items():
            packed = tally.pack()
            if tally.by_hash and self._group.ledger.own.get(TALLY + kind) != packed:
                self._group.ledger.put(TALLY + kind, packed, ends_something=True)

    def page_changed(self, owner: str, key: str, value: bytes | None) -> None:
        """Read what `owner`'s page says under `key`."""
        if not key.startswith(TALLY):
            return
        tallies, kind = self._tallies.setdefault(owner, {}), key[len(TALLY) :]
        tallies.pop(kind, None)
        try:
            if value is not None:
                tallies[kind] = Tally.unpack(value)
        except ValueError:
            self._outbox.count("ledger", "bad_record")


def _answered(count: object) -> Answered:
    match count:
        case [int() | float() as requests, int() | float() as errors] if requests >= errors >= 0:
            return Answered(float(requests), float(errors))
        case _:
            raise ValueError("not what was answered")
