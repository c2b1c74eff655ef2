"""How gateways answered since a rollout began, with what all shall run and without it.

Each manager counts for the nodes that it serves, on its page (`tally/<kind>`); the conductor adds up. What a
node answered between two reports counts for what it ran at both; in between it may have changed.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import cast

from gossip.group import Group
from manager.latency import quantile
from manager.outbox import Outbox
from manager.packing import pack, unpack
from manager.records import SessionKey
from node.latency import BUCKETS

TALLY = "tally/"
HASH_CHARS = 16
"""Of a hash, to say which configuration it was."""
TALLY_EVERY = 2.0
"""Seconds between two changes on a page."""
NO_BUCKETS: Mapping[int, float] = MappingProxyType({})
REQUESTS, ERRORS = "gateway_requests", "gateway_errors"


@dataclass(frozen=True, slots=True)
class Answered:
    """How many requests were answered, and how many of them with a server error (5xx).

    `buckets`: of those that were timed, how many were in which bucket of `node.latency`.
    """

    requests: float = 0.0
    errors: float = 0.0
    buckets: Mapping[int, float] = field(default_factory=dict)

    def __add__(self, other: "Answered") -> "Answered":
        buckets = {
            bucket: self.buckets.get(bucket, 0.0) + other.buckets.get(bucket, 0.0)
            for bucket in sorted({*self.buckets, *other.buckets})
        }
        return Answered(self.requests + other.requests, self.errors + other.errors, buckets)

    def since(self, before: "Answered") -> "Answered":
        """What came after `before`; a gateway that was started anew counts from 0."""
        requests, errors = before.requests, before.errors
        if self.requests < requests:
            requests = errors = 0.0
        buckets = {
            bucket: grown
            for bucket, count in self.buckets.items()
            if (grown := count - before.buckets.get(bucket, 0.0)) > 0
        }
        return Answered(self.requests - requests, max(0.0, self.errors - errors), buckets)

    @property
    def rate(self) -> float:
        """The part that were errors."""
        return self.errors / self.requests if self.requests else 0.0

    @property
    def timed(self) -> float:
        """How many of them were timed."""
        return sum(self.buckets.values())

    @property
    def p95(self) -> float | None:
        """Seconds within which 95 % of the timed ones came; None without any."""
        return quantile(self.buckets, 0.95)


@dataclass(frozen=True, slots=True)
class Tally:
    """Of one rollout, known by the hash of what all shall run: with that, and without."""

    target: str
    new: Answered = Answered()
    rest: Answered = Answered()

    def pack(self) -> bytes:
        return pack([self.target, _packed(self.new), _packed(self.rest)])

    @classmethod
    def unpack(cls, value: bytes) -> "Tally":
        """Raises `ValueError` for anything else than a packed tally."""
        match unpack(value):
            case [str(target), list(new), list(rest), *_]:
                return cls(target, _answered(new), _answered(rest))
            case _:
                raise ValueError("not a tally")


@dataclass(frozen=True, slots=True)
class _Said:
    """A node's last report in its session."""

    session: SessionKey
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

    def of(self, kind: str, target: str, managers: Collection[str]) -> Tally:
        """What gateways answered since the rollout of `target` began, as far as `managers` tell of it."""
        found = Tally(target[:HASH_CHARS])
        for owner in managers:
            tally = (
                self._own.get(kind) if owner == self._group.name else self._tallies.get(owner, {}).get(kind)
            )
            if tally is not None and tally.target == found.target:
                found = Tally(found.target, found.new + tally.new, found.rest + tally.rest)
        return found

    def reported(
        self,
        id_: str,
        session: SessionKey,
        kind: str,
        running: str,
        counters: Mapping[str, float],
        buckets: Mapping[int, float] = NO_BUCKETS,
    ) -> None:
        """A node here ran `running` in that session, and says what its gateway has answered so far.

        `buckets`: of all its answers that were timed, since it was first seen here.
        """
        if REQUESTS not in counters or not running:
            return
        now = Answered(counters[REQUESTS], counters.get(ERRORS, 0.0), dict(buckets))
        last, self._last[id_] = self._last.get(id_), _Said(session, running, now)
        tally = self._own.get(kind)
        if tally is None or last is None or (last.session, last.running) != (session, running):
            return
        grown = now.since(last.answered)
        if running[:HASH_CHARS] == tally.target:
            self._own[kind] = replace(tally, new=tally.new + grown)
        else:
            self._own[kind] = replace(tally, rest=tally.rest + grown)

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
                self._own[kind] = Tally(target[:HASH_CHARS])
        if now < self._publish_at:
            return
        self._publish_at = now + TALLY_EVERY
        for kind, tally in self._own.items():
            packed = tally.pack()
            news = tally.new.requests or tally.rest.requests
            if news and self._group.ledger.own.get(TALLY + kind) != packed:
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


def _packed(one: Answered) -> list[object]:
    return [one.requests, one.errors, *[part for pair in sorted(one.buckets.items()) for part in pair]]


def _answered(parts: list[object]) -> Answered:
    """Raises `ValueError` for anything else than what `_packed` gives."""
    if len(parts) < 2 or len(parts) % 2 or not all(_is_count(part) for part in parts):
        raise ValueError("not what was answered")
    requests, errors, *pairs = (cast("float", part) for part in parts)
    if errors > requests or any(bucket not in range(BUCKETS) for bucket in pairs[::2]):
        raise ValueError("not what was answered")
    return Answered(
        requests, errors, {int(b): count for b, count in zip(pairs[::2], pairs[1::2], strict=True)}
    )


def _is_count(part: object) -> bool:
    return isinstance(part, int | float) and not isinstance(part, bool) and 0 <= part < 1e18
