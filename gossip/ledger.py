"""A page per member, written by its owner alone, reconciled by digest and delta.

Scuttlebutt reconciliation (van Renesse, Dumitriu, Gough, Thomas 2008), with the rules of
`PROTOCOL.md` § Ledger. A page maps a key to (version, value) or (version, tombstone). What travels is a
`Piece`: all entries whose version is in `(after, upto]`, ascending, with the owner's generation.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import takewhile
from typing import NamedTuple, TypeAlias

from gossip.errors import GossipError
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
PAGES_MAX = 1024
"""Copies of others' pages; more are not taken."""
TOMBSTONES_MAX = 4096
"""The owner collects the older half when it has more."""
GENERATION_SHIFT = 24
GENERATION_LIMIT = 3_100_000_000 << GENERATION_SHIFT
"""A generation starts with seconds since 1970, by a clock that may be wrong, as ours may: until 2068."""

SUCCEEDS = "succeeds"
"""Key on a page: the owner took over what stood on its earlier ones, under each generation up to a mark.

For each generation then version, 8 bytes each, big-endian, ascending. Whoever kept a newer copy, or one of a
generation that is not among them, still has something for the owner.
"""
FORGOTTEN = "forgotten/"
"""Keys `forgotten/<owner>` on any page: the owner's page goes, up to a mark, and nobody takes it again (L6).

Generation, version, and when that was written in seconds since 1970, 8 bytes each, big-endian.
"""
SUCCEEDED_MAX = 32
"""Generations in that note; of a lower one the owner takes over again what somebody still kept."""


class PageFull(GossipError):
    """Our page has no room for another entry; nothing was written."""


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

Digest: TypeAlias = dict[NodeName, Mark]


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


def generation_at(unix_seconds: float, random_bits: int) -> int:
    """A generation drawn at `unix_seconds`; `random_bits` keeps two of one second apart."""
    return (max(1, int(unix_seconds)) << GENERATION_SHIFT) | (random_bits % (1 << GENERATION_SHIFT))


def generation_above(highest: int, random_bits: int) -> int:
    """A generation above `highest`, which nobody else who is above it has drawn too."""
    return (((highest >> GENERATION_SHIFT) + 1) << GENERATION_SHIFT) | (random_bits % (1 << GENERATION_SHIFT))


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


def read_succession(note: bytes | None) -> dict[int, int]:
    """Generation → version up to which a page takes over its owner's earlier ones."""
    note = note or b""
    words = [int.from_bytes(note[at : at + 8]) for at in range(0, len(note) - len(note) % 16, 8)]
    return dict(zip(words[::2], words[1::2], strict=True))


def forgotten_note(mark: Mark, at: float) -> bytes:
    """The value of `forgotten/<owner>`, written at `at`."""
    return b"".join(number.to_bytes(8) for number in (*mark, max(0, int(at))))


def read_forgotten(note: bytes | None) -> tuple[Mark, float]:
    """Up to where a page goes, and when that was written; `NOTHING` where the note is none."""
    if note is None or len(note) < 24:
        return NOTHING, 0.0
    generation, version, at = (int.from_bytes(note[place : place + 8]) for place in (0, 8, 16))
    return Mark(generation, version), float(at)


def _succeeds(page: Page, mark: Mark) -> bool:
    """Whether `page` has taken over an earlier one of its owner up to `mark`."""
    return read_succession(page.get(SUCCEEDS)).get(mark.generation, -1) >= mark.version


def entry_bytes(entry: Entry) -> int:
    """What an entry costs on a page and, at the most, in a piece."""
    return ENTRY_OVERHEAD + len(entry.key) * 3 + len(entry.value or b"")


class Ledger:
    """Our own page and our copies of the others'. Pure: what is due comes out as values."""

    def __init__(self, owner: NodeName, generation: int, tombstones_max: int = TOMBSTONES_MAX) -> None:
        self._tombstones_max = tombstones_max
        self.own = Page(owner, generation)
        self.former: dict[NodeName, Page] = {}
        """Pages that a new start of their owner replaced, until the owner has taken over what stood there."""
        self._pages: dict[NodeName, Page] = {owner: self.own}
        self._flushed = 0
        self._fingerprint: bytes | None = None
        self._forgotten: dict[NodeName, Mark] | None = {}
        """Up to where whose page goes, by the notes on all pages; None where they are to be read anew."""

    @property
    def pages(self) -> Mapping[NodeName, Page]:
        """All pages by owner, our own among them. Read only."""
        return self._pages

    # Our own page

    def put(self, key: str, value: bytes, *, ends_something: bool = False) -> int:
        """Write to our page and give the version; `ends_something` may use the reserve. Raises `PageFull`."""
        if len(key) > KEY_CHARS_MAX or len(value) > VALUE_BYTES_MAX:
            raise ValueError(
                f"entry {key[:40]!r} exceeds {KEY_CHARS_MAX} characters or {VALUE_BYTES_MAX} bytes"
            )
        bound = PAGE_BYTES_MAX if ends_something else PAGE_BYTES_MAX - PAGE_BYTES_RESERVE
        entry = Entry(key, self.own.version + 1, value)
        if self.own.size + entry_bytes(entry) > bound:
            raise PageFull(f"the page holds {self.own.size} bytes, {bound} are allowed")
        entries = PAGE_ENTRIES_MAX * bound // PAGE_BYTES_MAX
        if key not in self.own.values and len(self.own.values) >= entries:
            raise PageFull(f"the page holds {entries} entries, more are not allowed")
        self.own.store(entry)
        self._changed((key,))
        return self.own.version

    def succeeds(self, mark: Mark) -> bool:
        """Whether we have taken over an earlier page of ours up to `mark`."""
        return _succeeds(self.own, mark)

    def note_succession(self, marks: Iterable[Mark]) -> None:
        """We have taken over what stood on our earlier pages up to these marks."""
        known = read_succession(self.own.get(SUCCEEDS))
        news = [mark for mark in marks if known.get(mark.generation, -1) < mark.version]
        if news:
            known.update(sorted(news))
            kept = sorted(known.items())[-SUCCEEDED_MAX:]
            value = b"".join(number.to_bytes(8) for mark in kept for number in mark)
            self.put(SUCCEEDS, value, ends_something=True)

    def recall(self, copies: Iterable[Piece], former: Iterable[Piece]) -> None:
        """Take over what our disk holds of others' pages, each whole, before anything else is done."""
        for piece in former:
            self.former[piece.owner] = page_of(piece)
        for piece in copies:
            self._replace(None, piece)

    def delete(self, key: str) -> None:
        """Leave a tombstone for `key`, if it is there."""
        if self.own.get(key) is None:
            return
        self.own.store(Entry(key, self.own.version + 1, None))
        self._changed((key,))
        if self.own.tombstones > self._tombstones_max:
            dead = [entry.version for entry in self.own.values.values() if entry.value is None]
            self.own.collect(min(dead[len(dead) // 2], self._flushed))

    def flush(self) -> Piece | None:
        """What was written since the last flush: to be told at once."""
        if self.own.version == self._flushed:
            return None
        after, self._flushed = self._flushed, self.own.version
        return self.piece(self.own.owner, Mark(self.own.generation, after))

    def renew(self, generation: int) -> None:
        """Go on under a higher generation: somebody holds a newer page of ours than we know of."""
        page = Page(self.own.owner, generation)
        for key, value in self.own.items():
            page.store(Entry(key, page.version + 1, value))
        self.own = self._pages[page.owner] = page
        self._flushed = 0
        self._fingerprint = None

    # Reconciling

    def digest(self) -> Digest:
        """How far each page is that we hold."""
        return {owner: page.mark for owner, page in self._pages.items()}

    @property
    def fingerprint(self) -> bytes:
        """Eight bytes that are equal for members whose pages are equal."""
        if self._fingerprint is None:
            text = repr(sorted((owner, *mark) for owner, mark in self.digest().items()))
            self._fingerprint = blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
        return self._fingerprint

    def piece(self, owner: NodeName, known: Mark) -> Piece | None:
        """What somebody who is at `known` lacks of `owner`'s page; None where that is nothing."""
        page = self._pages.get(owner)
        if page is None or known >= page.mark:
            return None
        if known.generation != page.generation or known.version < page.floor:
            return page.whole()
        entries = tuple(page.since(known.version))
        return Piece(owner, page.generation, known.version, page.version, page.floor, entries)

    def lacking(self, reader: NodeName, digest: Digest) -> list[Piece]:
        """What `reader`, who has `digest`, lacks of all that we hold, and what stood on its former page."""
        pieces = [self.piece(owner, digest.get(owner, NOTHING)) for owner in self._pages if owner != reader]
        former = self.former.get(reader) or self._pages.get(reader)
        if former is not None and former.generation < digest.get(reader, NOTHING).generation:
            pieces.append(former.whole())
        return [piece for piece in pieces if piece is not None]

    def behind(self, digest: Digest) -> bool:
        """Whether somebody with `digest` has what we lack."""
        return any(
            mark > self.forgotten.get(owner, NOTHING)
            and (owner not in self._pages or self._pages[owner].mark < mark)
            for owner, mark in digest.items()
            if owner != self.own.owner
        )

    # Pages of the gone

    @property
    def forgotten(self) -> Mapping[NodeName, Mark]:
        """Up to where whose page goes (L6). Read only."""
        if self._forgotten is None:
            self._forgotten = {}
            for page in self._pages.values():
                for key, value in page.items():
                    if key.startswith(FORGOTTEN):
                        owner, (mark, _) = key[len(FORGOTTEN) :], read_forgotten(value)
                        self._forgotten[owner] = max(mark, self._forgotten.get(owner, NOTHING))
        return self._forgotten

    def forget(self, owner: NodeName, at: float) -> None:
        """Write that `owner`'s page, as it stands here, goes; what it says of others' pages becomes ours."""
        page = self._pages[owner]
        former = self.former.get(owner)
        mark = max(page.mark, NOTHING if former is None else former.mark)
        for key, value in list(page.items()):
            if key.startswith(FORGOTTEN) and read_forgotten(self.own.get(key)) < read_forgotten(value):
                self.put(key, value, ends_something=True)
        self.put(FORGOTTEN + owner, forgotten_note(mark, at), ends_something=True)

    def let_go(self) -> list[tuple[NodeName, tuple[str, ...]]]:
        """Drop the pages that are forgotten; gives whose, and the keys that were on them."""
        dropped = []
        for owner, mark in self.forgotten.items():
            keys: list[str] = []
            for pages in (self._pages, self.former):
                page = pages.get(owner)
                if page is not None and page is not self.own and page.mark <= mark:
                    keys += page.values
                    del pages[owner]
            if keys:
                self._changed(keys)
                dropped.append((owner, tuple(keys)))
        return dropped

    def _changed(self, keys: Iterable[str]) -> None:
        """These keys of some page are not what they were."""
        self._fingerprint = None
        if any(key.startswith(FORGOTTEN) for key in keys):
            self._forgotten = None

    def apply(self, piece: Piece) -> tuple[str, ...] | None:
        """Take `piece` of another's page: the keys that it changed, () where it brought nothing.

        None where a gap keeps us from taking it: ask for what we lack. Raises `ValueError` for an absurd one,
        and for one that would make the page, or the number of pages, larger than any honest member's.
        """
        if piece.generation >= GENERATION_LIMIT or piece.upto > VERSION_MAX:
            raise ValueError("a generation or version that no honest clock or page has")
        page = self._pages.get(piece.owner)
        if Mark(piece.generation, piece.upto) <= max(
            NOTHING if page is None else page.mark, self.forgotten.get(piece.owner, NOTHING)
        ):
            return ()
        if page is None and len(self._pages) >= PAGES_MAX:
            raise ValueError(f"one page more than {PAGES_MAX}")
        follows = page is not None and page.generation == piece.generation and not piece.reset
        self._check_bounds(page if follows else None, piece)
        if piece.reset or (piece.after == 0 and (page is None or page.generation < piece.generation)):
            return self._replace(page, piece)
        if page is None or page.generation < piece.generation or piece.after > page.version:
            return None
        changed = [entry.key for entry in piece.entries if entry.version > page.version]
        for entry in piece.entries:
            if entry.version > page.version:
                page.store(entry)
        page.version = piece.upto
        page.collect(piece.floor)
        self._changed(changed)
        if SUCCEEDS in changed:
            changed += self._drop_former(page)
        return tuple(changed)

    @staticmethod
    def _check_bounds(page: Page | None, piece: Piece) -> None:
        """Raises `ValueError` where `piece` would make `page`, None for a new one, larger than it may be."""
        size, count = (0, 0) if page is None else (page.size, len(page.values))
        for entry in piece.entries:
            if page is None or entry.version > page.version:
                old = None if page is None else page.values.get(entry.key)
                size += entry_bytes(entry) - (0 if old is None else entry_bytes(old))
                count += old is None
        if size > PAGE_BYTES_MAX + PAGE_BYTES_RESERVE or count > PAGE_ENTRIES_MAX + TOMBSTONES_MAX:
            raise ValueError("a page larger than its writer may make it")

    def _replace(self, old: Page | None, piece: Piece) -> tuple[str, ...]:
        page = page_of(piece)
        changed = [*page.values]
        if old is not None:
            changed += old.values
            if old.generation < page.generation:
                self._keep_former(old)
                changed += self.former[piece.owner].values
        self._pages[piece.owner] = page
        self._changed(changed)
        return tuple(changed + self._drop_former(page))

    def _keep_former(self, old: Page) -> None:
        """Keep `old`, and beneath it what it had not taken over of the one before (two starts in a row)."""
        before = self.former.get(old.owner)
        if before is not None:
            kept = Page(old.owner, old.generation)
            lower = [entry for entry in before.values.values() if entry.key not in old.values]
            for entry in [*lower, *old.values.values()]:
                kept.store(Entry(entry.key, kept.version + 1, entry.value))
            # Above the same page of whoever does not have what is beneath.
            kept.version = max(kept.version, old.version + 1)
            old = kept
        self.former[old.owner] = old

    def _drop_former(self, page: Page) -> list[str]:
        """Forget the former page once its owner has taken it over; gives the keys that it had."""
        former = self.former.get(page.owner)
        if former is None or not _succeeds(page, former.mark):
            return []
        return list(self.former.pop(page.owner).values)


def page_of(piece: Piece) -> Page:
    """The whole page that `piece` is."""
    page = Page(piece.owner, piece.generation)
    for entry in piece.entries:
        page.store(entry)
    page.version, page.floor = piece.upto, piece.floor
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
