"""The ledger's rules, left out one at a time."""

from dataclasses import replace
from typing import Any

from gossip import ledger, reconcile
from gossip.ledger import Digest, Ledger
from gossip.pages import NOTHING, Page, Piece, split
from gossip.reconcile import Reconciler
from simulations.mutants.patch import Patch
from simulations.world import WALL_AT_START


def highest_version_per_key(patch: Patch) -> None:
    """Replicas take the higher version per key, whatever came before it (L1)."""
    right = Ledger.apply

    def apply(self: Ledger, piece: Piece) -> tuple[str, ...] | None:
        page = self._pages.get(piece.owner)
        if page is None or page.generation != piece.generation or piece.reset:
            return right(self, piece)
        news = [
            e for e in piece.entries if e.key not in page.values or page.values[e.key].version < e.version
        ]
        version = max(page.version, piece.upto)
        for entry in news:
            page.store(entry)
        page.version = version
        self._fingerprint = None
        return tuple(entry.key for entry in news)

    patch(Ledger, "apply", apply)


def cut_without_order(patch: Patch) -> None:
    """A delta that is cut is sorted by key, and claims what it never brought (L1)."""

    def cut(piece: Piece, room: int) -> list[Piece]:
        if piece.reset or len(piece.entries) < 2:
            return split(piece, room)
        by_key = sorted(piece.entries, key=lambda entry: entry.key)
        parts = split(replace(piece, entries=tuple(by_key)), room)
        return [
            replace(part, after=piece.after, upto=max((e.version for e in part.entries), default=piece.upto))
            for part in parts
        ]

    patch(reconcile, "split", cut)
    patch(reconcile, "_PIECE_ROOM", 300)


def late_duplicate_after_collection(patch: Patch) -> None:
    """A late duplicate brings back a key whose tombstone has been collected (L1)."""
    right = Ledger.apply

    def apply(self: Ledger, piece: Piece) -> tuple[str, ...] | None:
        page = self._pages.get(piece.owner)
        late = page is not None and page.generation == piece.generation and piece.upto <= page.version
        if page is None or not late:
            return right(self, piece)
        lost = [entry for entry in piece.entries if entry.key not in page.values and entry.value is not None]
        version = page.version
        for entry in lost:
            page.store(entry)
        page.version = version
        return tuple(entry.key for entry in lost)

    patch(Ledger, "apply", apply)


def reset_applied_partially(patch: Patch) -> None:
    """A reset is cut half-way, and applied as far as it came (L3)."""
    right = Ledger._replace

    def half(self: Ledger, old: Page | None, piece: Piece) -> tuple[str, ...]:
        return right(self, old, replace(piece, entries=piece.entries[: (len(piece.entries) + 1) // 2]))

    patch(Ledger, "_replace", half)


def late_reset_taken(patch: Patch) -> None:
    """A reset that arrives late takes the copy back in time (L3)."""
    right = Ledger.apply

    def apply(self: Ledger, piece: Piece) -> tuple[str, ...] | None:
        page = self._pages.get(piece.owner)
        if page is not None and piece.reset and piece.generation == page.generation:
            return self._replace(page, piece)
        return right(self, piece)

    patch(Ledger, "apply", apply)


def versions_without_generation(patch: Patch) -> None:
    """Copies are compared by version alone: a restart begins at one again (scylladb#3798)."""

    def behind(self: Ledger, digest: Digest) -> bool:
        ours = self.digest()
        return any(
            ours.get(owner, NOTHING).version < mark.version
            for owner, mark in digest.items()
            if owner != self.own.owner
        )

    def lacking(self: Ledger, reader: str, digest: Digest) -> list[Piece]:
        return [
            piece
            for piece in right(self, reader, digest)
            if digest.get(piece.owner, NOTHING).version < piece.upto
        ]

    right = Ledger.lacking
    patch(Ledger, "behind", behind)
    patch(Ledger, "lacking", lacking)


def generation_ahead_refused(patch: Patch) -> None:
    """A page from a clock that is ahead, if only of one that is behind, is not taken (CASSANDRA-10969)."""
    patch(ledger, "GENERATION_LIMIT", ledger.generation_at(WALL_AT_START + 60.0, 0))


def gap_skipped(patch: Patch) -> None:
    """A piece that comes after a gap is taken as if there were none."""
    right = Ledger.apply

    def apply(self: Ledger, piece: Piece) -> tuple[str, ...] | None:
        page = self.pages.get(piece.owner)
        if page is not None and page.generation == piece.generation and piece.after > page.version:
            piece = replace(piece, after=page.version)
        return right(self, piece)

    patch(Ledger, "apply", apply)


def former_page_dropped(patch: Patch) -> None:
    """A higher generation empties the page at once, and frees all its seats (L5)."""
    right = Ledger._replace

    def forget(self: Ledger, old: Page | None, piece: Piece) -> tuple[str, ...]:
        keys = right(self, old, piece)
        self.former.pop(piece.owner, None)
        return keys

    patch(Ledger, "_replace", forget)


def own_newer_page_ignored(patch: Patch) -> None:
    """Whoever was set back writes on under a generation that all others hold for old (L5)."""

    def read(self: Any, kin: str, digest: Digest) -> list[Any]:
        mark = digest.get(self._me.name)
        if mark is not None and mark <= self._ledger.own.mark:
            self._note_heard(kin, mark, digest.get(kin, NOTHING))
        return []

    patch(Reconciler, "_read_digest", read)
    patch(Reconciler, "_take_own", lambda *_: [])
