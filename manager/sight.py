"""Whom each manager sees alive, said on its page (rule I7 of `STATE.md`)."""

from math import inf

from gossip.group import Group
from gossip.members import Member
from gossip.pages import VALUE_BYTES_MAX
from manager.outbox import Outbox
from manager.records import SEES, pack_names, unpack_names

SAID_AFTER = 0.1
SAID_SPREAD = 0.3
"""Seconds until a change is published, and how far the managers spread that out: many members that come or go
together are one entry, and not all managers tell all others at that moment."""


class Sight:
    """Writes whom we see, and reads whom the others see."""

    def __init__(self, group: Group, outbox: Outbox) -> None:
        self._group = group
        self._outbox = outbox
        self._said_at = inf
        self._read: dict[str, tuple[bytes, frozenset[str]]] = {}
        """Whom a manager sees, beside the value that says so."""

    def next_deadline(self) -> float:
        return self._said_at

    def tick(self) -> None:
        """Say whom we see by now."""
        self._said_at = inf
        names = sorted(member.name for member in self._group.kin())
        while len(packed := pack_names(names)) > VALUE_BYTES_MAX:
            # Only strangers' names are that long.
            names.pop()
        if self._group.ledger.own.get(SEES) != packed:
            self._group.ledger.put(SEES, packed, ends_something=True)

    def changed(self, kin: list[Member], now: float) -> None:
        """We see others than before: it is said at the next tick that is due."""
        before_us = sum(member.name < self._group.name for member in kin)
        self._said_at = min(self._said_at, now + SAID_AFTER + SAID_SPREAD * before_us / (len(kin) + 1))

    def of(self, name: str) -> frozenset[str]:
        """Whom the manager `name` sees, as its page says."""
        page = self._group.ledger.pages.get(name)
        if page is None or (value := page.get(SEES)) is None:
            return frozenset()
        read = self._read.get(name)
        if read is None or read[0] != value:
            read = self._read[name] = value, self._unpack(value)
        return read[1]

    def _unpack(self, value: bytes) -> frozenset[str]:
        try:
            return frozenset(unpack_names(value))
        except ValueError:
            self._outbox.count("ledger", "bad_names")
            return frozenset()
