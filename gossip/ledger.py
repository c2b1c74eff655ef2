"""A page per member, written by its owner alone, reconciled by digest and delta.

Scuttlebutt reconciliation (van Renesse, Dumitriu, Gough, Thomas 2008), with the rules of
`PROTOCOL.md` § Ledger. What a page is, and the pieces in which it travels: `pages.py`.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import TypeAlias

from gossip.errors import GossipError
from gossip.messages import NodeName
from gossip.page_notes import (
    FORGOTTEN,
    SUCCEEDS,
    forgotten_note,
    read_forgotten,
    read_succession,
    succeeds,
    succession_note,
)
from gossip.pages import (
    KEY_CHARS_MAX,
    NOTHING,
    PAGE_BYTES_MAX,
    PAGE_BYTES_RESERVE,
    PAGE_ENTRIES_MAX,
    TOMBSTONES_MAX,
    VALUE_BYTES_MAX,
    VERSION_MAX,
    Entry,
    Mark,
    Page,
    Piece,
    check_bounds,
    entry_bytes,
    laid_over,
    page_of,
)

PAGES_MAX = 1024
"""Copies of others' pages; more are not taken."""
GENERATION_SHIFT = 24
GENERATION_LIMIT = 3_100_000_000 << GENERATION_SHIFT
"""A generation starts with seconds since 1970, by a clock that may be wrong, as ours may: until 2068."""

Digest: TypeAlias = dict[NodeName, Mark]


class PageFull(GossipError):
    """Our page has no room for another entry; nothing was written."""


def generation_at(unix_seconds: float, random_bits: int) -> int:
    """A generation drawn at `unix_seconds`; `random_bits` keeps two of one second apart."""
    return (max(1, int(unix_seconds)) << GENERATION_SHIFT) | (random_bits % (1 << GENERATION_SHIFT))


def generation_above(highest: int, random_bits: int) -> int:
    """A generation above `highest`, which nobody else who is above it has drawn too."""
    return (((highest >> GENERATION_SHIFT) + 1) << GENERATION_SHIFT) | (random_bits % (1 << GENERATION_SHIFT))


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
        return succeeds(self.own, mark)

    def note_succession(self, marks: Iterable[Mark]) -> None:
        """We have taken over what stood on our earlier pages up to these marks."""
        known = read_succession(self.own.get(SUCCEEDS))
        news = [mark for mark in marks if known.get(mark.generation, -1) < mark.version]
        if news:
            self.put(SUCCEEDS, succession_note(known, news), ends_something=True)

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
        check_bounds(page if follows else None, piece)
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
        self.former[old.owner] = old if before is None else laid_over(before, old)

    def _drop_former(self, page: Page) -> list[str]:
        """Forget the former page once its owner has taken it over; gives the keys that it had."""
        former = self.former.get(page.owner)
        if former is None or not succeeds(page, former.mark):
            return []
        return list(self.former.pop(page.owner).values)
