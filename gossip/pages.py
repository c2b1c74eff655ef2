"""A member's page, as values: what stands on it, how far a copy is, and the pieces in which it travels.

A page maps a key to (version, value) or (version, tombstone). What travels is a `Piece`: all entries whose
version is in `(after, upto]`, ascending, with the owner's generation.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import takewhile
from typing import NamedTuple

from gossip.messages import NodeName

VERSION_MAX = 2**62
"""No honest page gets there; more is not taken, so that it cannot make a page unwritable."""

KEY_CHARS_MAX = 200
VALUE_BYTES_MAX = 4096
ENTRY_OVERHEAD = 16
"""Bytes that an entry costs beside its key and its value."""
PAGE_BYTES_MAX = 8 * 2**20
PAGE_BYTES_RESERVE = PAGE_BYTES_MAX // 16
"""Kept for entries that end something: a full page refuses newcomers, never a release."""
PAGE_ENTRIES_MAX = 65_536
"""Tombstones count too. What an entry takes in memory is a multiple of its bytes."""
MESSAGE_ENTRIES_MAX = 2 * PAGE_ENTRIES_MAX
"""In all pieces of one message."""
TOMBSTONES_MAX = 4096
"""The owner collects the older half when it has more."""


class Entry(NamedTuple):
    """`value` None is a tombstone."""

    key: str
    version: int
    value: bytes | None


class Mark(NamedTuple):
    """How far a copy of a page is; marks of one owner compare as they stand."""

    generation: int
    version: int


NOTHING = Mark(0, 0)


@dataclass(frozen=True, slots=True)
class Piece:
    """Everything that `owner` wrote after version `after` up to `upto`, or what overwrote it.

    With `reset` it is the whole page, `after` is 0 and tombstones up to `floor` are not in it.
    """

    owner: NodeName
    generation: int
    after: int
    upto: int
    floor: int
    entries: tuple[Entry, ...]
    reset: bool = False


def entry_bytes(entry: Entry) -> int:
    """What an entry costs on a page and, at the most, in a piece."""
    return ENTRY_OVERHEAD + len(entry.key) * 3 + len(entry.value or b"")


@dataclass(slots=True)
class Page:
    """One member's page, or a copy of it. `values` holds its entries in ascending order of version."""

    owner: NodeName
    generation: int
    version: int = 0
    floor: int = 0
    values: dict[str, Entry] = field(default_factory=dict)
    size: int = 0
    tombstones: int = 0

    @property
    def mark(self) -> Mark:
        return Mark(self.generation, self.version)

    def get(self, key: str) -> bytes | None:
        entry = self.values.get(key)
        return None if entry is None else entry.value

    def items(self) -> Iterable[tuple[str, bytes]]:
        """The living entries, ascending by version."""
        return ((e.key, e.value) for e in self.values.values() if e.value is not None)

    def store(self, entry: Entry) -> None:
        """Write `entry`, which is newer than all that is here."""
        old = self.values.pop(entry.key, None)
        if old is not None:
            self._count(old, -1)
        self.values[entry.key] = entry
        self._count(entry, 1)
        self.version = entry.version

    def collect(self, floor: int) -> None:
        """Drop the tombstones up to `floor`."""
        if floor <= self.floor:
            return
        self.floor = floor
        old = list(takewhile(lambda entry: entry.version <= floor, self.values.values()))
        for entry in old:
            if entry.value is None:
                del self.values[entry.key]
                self._count(entry, -1)

    def whole(self) -> Piece:
        """All of it."""
        entries = tuple(self.values.values())
        return Piece(self.owner, self.generation, 0, self.version, self.floor, entries, True)

    def since(self, version: int) -> list[Entry]:
        """The entries above `version`, ascending."""
        newer = list(takewhile(lambda entry: entry.version > version, reversed(self.values.values())))
        newer.reverse()
        return newer

    def _count(self, entry: Entry, sign: int) -> None:
        self.size += sign * entry_bytes(entry)
        if entry.value is None:
            self.tombstones += sign


def page_of(piece: Piece) -> Page:
    """The whole page that `piece` is."""
    page = Page(piece.owner, piece.generation)
    for entry in piece.entries:
        page.store(entry)
    page.version, page.floor = piece.upto, piece.floor
    return page


def check_bounds(page: Page | None, piece: Piece) -> None:
    """Raises `ValueError` where `piece` would make `page`, None for a new one, larger than it may be."""
    size, count = (0, 0) if page is None else (page.size, len(page.values))
    for entry in piece.entries:
        if page is None or entry.version > page.version:
            old = None if page is None else page.values.get(entry.key)
            size += entry_bytes(entry) - (0 if old is None else entry_bytes(old))
            count += old is None
    if size > PAGE_BYTES_MAX + PAGE_BYTES_RESERVE or count > PAGE_ENTRIES_MAX + TOMBSTONES_MAX:
        raise ValueError("a page larger than its writer may make it")


def laid_over(lower: Page, upper: Page) -> Page:
    """A page that has what `upper` has, and beneath it what only `lower` has."""
    page = Page(upper.owner, upper.generation)
    beneath = [entry for entry in lower.values.values() if entry.key not in upper.values]
    for entry in [*beneath, *upper.values.values()]:
        page.store(Entry(entry.key, page.version + 1, entry.value))
    # Above the same page of whoever does not have what is beneath.
    page.version = max(page.version, upper.version + 1)
    return page


def split(piece: Piece, room: int) -> list[Piece]:
    """`piece` in consecutive parts whose entries cost at most `room` bytes each, or a single entry more.

    Any prefix of them is a valid copy. A reset is never split: half of it would be no page at all.
    """
    if piece.reset:
        return [piece]
    parts: list[Piece] = []
    batch: list[Entry] = []
    after, cost = piece.after, 0
    for entry in piece.entries:
        if batch and cost + entry_bytes(entry) > room:
            upto = batch[-1].version
            parts.append(Piece(piece.owner, piece.generation, after, upto, piece.floor, tuple(batch)))
            after, batch, cost = upto, [], 0
        batch.append(entry)
        cost += entry_bytes(entry)
    parts.append(Piece(piece.owner, piece.generation, after, piece.upto, piece.floor, tuple(batch)))
    return parts
