"""What one gateway answered, by endpoint and by backend: counted here, told to the managers, bounded.

Counts only grow while the agent lives. The names that come first have a row each, the rest one together.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from node.latency import bucket_of
from node.protocol import OTHER, SERVED_MAX, SERVED_NAME_MAX, Served, ServedKind

_VARIES = re.compile(r"\d+|(?=[^/]*\d)[0-9a-fA-F-]{8,}|[^/]{41,}")
_SEGMENTS_MAX = 6


@dataclass(slots=True)
class _Tally:
    requests: int = 0
    errors: int = 0
    seconds: float = 0.0
    buckets: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Counts:
    """What a gateway itself has counted since its own start."""

    requests: int
    errors: int
    seconds: float = 0.0
    buckets: Mapping[int, int] = field(default_factory=dict)

    def plus(self, other: "Counts") -> "Counts":
        buckets = dict(self.buckets)
        for bucket, count in other.buckets.items():
            buckets[bucket] = buckets.get(bucket, 0) + count
        return Counts(
            self.requests + other.requests,
            self.errors + other.errors,
            self.seconds + other.seconds,
            buckets,
        )


class Traffic:
    """At most `SERVED_MAX` rows, half of them for each kind."""

    def __init__(self) -> None:
        self._tallies: dict[ServedKind, dict[str, _Tally]] = {"endpoint": {}, "backend": {}}
        self._before: dict[tuple[ServedKind, str], Counts] | None = None

    def count(
        self,
        kind: ServedKind,
        name: str,
        *,
        failed: bool,
        seconds: float | None,
        new: bool = True,
    ) -> None:
        """One answer, which took `seconds` where that is known; `new`: it may give `name` a row."""
        tally = self._tally(kind, name, new)
        tally.requests += 1
        tally.errors += failed
        if seconds is not None:
            tally.seconds += seconds
            bucket = bucket_of(seconds)
            tally.buckets[bucket] = tally.buckets.get(bucket, 0) + 1

    def take(self, now: dict[tuple[ServedKind, str], Counts]) -> None:
        """The gateway's own counts, time and again: what they grew by is counted, from the second time on."""
        before, self._before = self._before, now
        if before is None:
            return  # what was before this agent is none of its figures
        if any(key not in now or now[key].requests < counts.requests for key, counts in before.items()):
            before = {}  # it was started anew
        for (kind, name), counts in now.items():
            self._grow(kind, name, before.get((kind, name), Counts(0, 0)), counts)

    def _grow(self, kind: ServedKind, name: str, before: Counts, now: Counts) -> None:
        if now.requests <= before.requests:
            return
        tally = self._tally(kind, name, new=name != OTHER)
        tally.requests += now.requests - before.requests
        tally.errors += max(0, now.errors - before.errors)
        tally.seconds += max(0.0, now.seconds - before.seconds)
        for bucket, count in now.buckets.items():
            if (grown := count - before.buckets.get(bucket, 0)) > 0:
                tally.buckets[bucket] = tally.buckets.get(bucket, 0) + grown

    def total(self, kind: ServedKind) -> tuple[int, int]:
        """Requests and errors of all of that kind."""
        tallies = self._tallies[kind].values()
        return sum(one.requests for one in tallies), sum(one.errors for one in tallies)

    def _tally(self, kind: ServedKind, name: str, new: bool) -> _Tally:
        tallies = self._tallies[kind]
        name = name[:SERVED_NAME_MAX]
        if name not in tallies and (not new or len(tallies) >= SERVED_MAX // 2 - 1):
            name = OTHER
        return tallies.setdefault(name, _Tally())

    @property
    def rows(self) -> tuple[Served, ...]:
        """All of it so far."""
        return tuple(
            Served(
                kind,
                name,
                tally.requests,
                tally.errors,
                tally.seconds,
                tuple(number for pair in sorted(tally.buckets.items()) for number in pair),
            )
            for kind, tallies in self._tallies.items()
            for name, tally in tallies.items()
        )


def endpoint_of(text: str) -> str:
    """`METHOD /path?query` without what differs between requests: `GET /users/17` is `GET /users/*`."""
    method, space, path = text.rpartition(" ")
    if not path.startswith("/"):
        return text
    segments = path.partition("?")[0].split("/")
    plain = ["*" if _VARIES.fullmatch(segment) else segment for segment in segments[: _SEGMENTS_MAX + 1]]
    return method + space + "/".join(plain) + ("/**" if len(segments) > _SEGMENTS_MAX + 1 else "")
