"""What one gateway answered, by endpoint and by backend: counted here, told to the managers, bounded.

Counts only grow while the agent lives. The names that come first have a row each, the rest one together.
"""

import re
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


class Traffic:
    """At most `SERVED_MAX` rows, half of them for each kind."""

    def __init__(self) -> None:
        self._tallies: dict[ServedKind, dict[str, _Tally]] = {"endpoint": {}, "backend": {}}

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
