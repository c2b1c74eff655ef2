"""Who sees what of a group, and when: from the lines that its members log, stamped as they arrive.

One clock, and nobody is asked anything: watching costs the same for every system, and next to nothing.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

GONE = frozenset({"left", "dead"})
_NO_SUSPECT = {"alive": "alive", "left": "left", "dead": "dead"}
_SERF = {"Join": "alive", "Leave": "left", "Failed": "dead", "Update": "changed"}

_OURS_MEMBER = re.compile(r" member (\S+) is (alive|left|dead): ")
_OURS_NEWS = re.compile(r" subscription: max_nodes is (\d+) (?:from now on|by )")
_SERF_MEMBER = re.compile(r" serf: EventMember(Join|Leave|Failed|Update): (\S+)")
_SERF_NEWS = re.compile(r" agent: Received event: user-event: (\S+)")


@dataclass(frozen=True, slots=True)
class Seen:
    """`observer` logged at `at` (`time.monotonic()`) that `subject` is `what`."""

    at: float
    observer: str
    subject: str
    what: str
    """Of a member: alive, left, dead or changed; of a piece of news: news."""


def read_ours(observer: str, at: float, line: str) -> Seen | None:
    """What a line of a manager's log tells, if anything."""
    if found := _OURS_MEMBER.search(line):
        return Seen(at, observer, found[1], _NO_SUSPECT[found[2]])
    if found := _OURS_NEWS.search(line):
        return Seen(at, observer, found[1], "news")
    return None


def read_serf(observer: str, at: float, line: str) -> Seen | None:
    """What a line of a serf agent's log tells, if anything."""
    if found := _SERF_MEMBER.search(line):
        return Seen(at, observer, found[2], _SERF[found[1]])
    if found := _SERF_NEWS.search(line):
        return Seen(at, observer, found[1], "news")
    return None


class Watch:
    """All that was seen, and what follows from it about who holds whom for running."""

    def __init__(self, read: Callable[[str, float, str], Seen | None]) -> None:
        self.seen: list[Seen] = []
        self._read = read
        self._views: dict[str, set[str]] = {}
        self._news = asyncio.Event()

    def line(self, observer: str, line: str) -> None:
        """`observer` has just logged `line`."""
        seen = self._read(observer, time.monotonic(), line)
        if seen is None:
            return
        self.seen.append(seen)
        view = self._views.setdefault(observer, set())
        if seen.what == "alive":
            view.add(seen.subject)
        elif seen.what in GONE:
            view.discard(seen.subject)
        self._news.set()

    def started(self, observer: str) -> None:
        """A new process of that name: it has seen nobody yet."""
        self._views[observer] = set()

    def complete(self, names: Iterable[str]) -> bool:
        """Whether each of `names` holds all the others for running."""
        wanted = set(names)
        return all(wanted - {name} <= self._views.get(name, set()) for name in wanted)

    async def until(self, condition: Callable[[], bool], within: float) -> bool:
        """Wait until what is seen fulfils `condition`; false where it does not `within` so many seconds."""
        try:
            async with asyncio.timeout(within):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        return True

    async def quiet(self, seconds: float, within: float) -> bool:
        """Wait until nothing was seen for `seconds`; false where it does not come to that."""
        async with asyncio.timeout(within + seconds):
            while within > 0:
                count = len(self.seen)
                await asyncio.sleep(seconds)
                if len(self.seen) == count:
                    return True
                within -= seconds
        return False

    def first_of_each(self, since: int, subject: str, what: str) -> dict[str, float]:
        """When each first saw `what` of `subject`, from the index `since` of `seen` on."""
        found: dict[str, float] = {}
        for seen in self.seen[since:]:
            if seen.subject == subject and seen.what == what:
                found.setdefault(seen.observer, seen.at)
        return found
