"""A simulator is as good as the bugs it finds: rules of the design, left out one at a time.

Each mutant must be named by a checker under drawn faults, from its first seed on within a bounded number.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from gossip import reconcile
from gossip.ledger import Ledger, Page, Piece, split
from manager.admission import Admission
from manager.core import Manager
from manager.registry import Registry
from manager.sessions import Sessions
from manager.settings import Settings
from node.session import CLOSE_NORMAL, Session
from simulations import fuzz

SEEDS = 60
"""So many seeds at the most."""

Patch = pytest.MonkeyPatch


def highest_version_per_key(patch: Patch) -> None:
    right = Ledger.apply

    def apply(self: Ledger, piece: Piece, unix_seconds: float) -> tuple[str, ...] | None:
        page = self._pages.get(piece.owner)
        if page is None or page.generation != piece.generation or piece.reset:
            return right(self, piece, unix_seconds)
        news = [
            e for e in piece.entries if e.key not in page.values or page.values[e.key].version < e.version
        ]
        version = max(page.version, piece.upto)
        for entry in news:
            page.store(entry)
        page.version = version
        self._fingerprint = None
        return tuple(entry.key for entry in news)

    patch.setattr(Ledger, "apply", apply)


def cut_without_order(patch: Patch) -> None:
    def cut(piece: Piece, room: int) -> list[Piece]:
        if piece.reset or len(piece.entries) < 2:
            return split(piece, room)
        by_key = sorted(piece.entries, key=lambda entry: entry.key)
        parts = split(replace(piece, entries=tuple(by_key)), room)
        return [
            replace(part, after=piece.after, upto=max((e.version for e in part.entries), default=piece.upto))
            for part in parts
        ]

    patch.setattr(reconcile, "split", cut)
    patch.setattr(reconcile, "_PIECE_ROOM", 300)


def late_duplicate_after_collection(patch: Patch) -> None:
    right = Ledger.apply

    def apply(self: Ledger, piece: Piece, unix_seconds: float) -> tuple[str, ...] | None:
        page = self._pages.get(piece.owner)
        late = page is not None and page.generation == piece.generation and piece.upto <= page.version
        if page is None or not late:
            return right(self, piece, unix_seconds)
        lost = [entry for entry in piece.entries if entry.key not in page.values and entry.value is not None]
        version = page.version
        for entry in lost:
            page.store(entry)
        page.version = version
        return tuple(entry.key for entry in lost)

    patch.setattr(Ledger, "apply", apply)


def reset_applied_partially(patch: Patch) -> None:
    right = Ledger._replace

    def half(self: Ledger, old: Page | None, piece: Piece) -> tuple[str, ...]:
        return right(self, old, replace(piece, entries=piece.entries[: (len(piece.entries) + 1) // 2]))

    patch.setattr(Ledger, "_replace", half)


def late_reset_taken(patch: Patch) -> None:
    right = Ledger.apply

    def apply(self: Ledger, piece: Piece, unix_seconds: float) -> tuple[str, ...] | None:
        page = self._pages.get(piece.owner)
        if page is not None and piece.reset and piece.generation == page.generation:
            return self._replace(page, piece)
        return right(self, piece, unix_seconds)

    patch.setattr(Ledger, "apply", apply)


def settings_not_copied(patch: Patch) -> None:
    right = Settings._settle

    def settle(self: Settings, name: str) -> bool:
        put, self._ledger.put = self._ledger.put, lambda *_, **__: 0  # type: ignore[method-assign]
        try:
            return right(self, name)
        finally:
            self._ledger.put = put  # type: ignore[method-assign]

    patch.setattr(Settings, "_settle", settle)


def fresh_manager_admits(patch: Patch) -> None:
    patch.setattr(Admission, "knows_enough", lambda *_: True)


def no_claims(patch: Patch) -> None:
    def way(self: Admission, cap: int | None) -> str:
        taken = self._registry.used + self._registry.over
        return "open" if cap is None or taken < cap else "claim"

    patch.setattr(Admission, "way", way)


def sessions_counted_not_hellos(patch: Patch) -> None:
    hello, welcome = Session._hello, Session._welcome

    def say(self: Session) -> list[Any]:
        before = self.state.incarnation
        effects = hello(self)
        self.state = replace(self.state, incarnation=before)
        return effects[1:]

    def welcomed(self: Session, message: Any, now: float) -> list[Any]:
        self.state = replace(self.state, incarnation=max(self.state.incarnation, message.incarnation))
        return welcome(self, message, now)

    patch.setattr(Session, "_hello", say)
    patch.setattr(Session, "_welcome", welcomed)


def end_of_an_old_session(patch: Patch) -> None:
    def ended(self: Sessions, session: Any, why: str, now: float) -> None:
        self._detach(session)
        record = self._page.record(session.id)
        if not self._withdraw(session, now) and record is not None:
            self._page.ended(session.id, record, why, now)

    patch.setattr(Sessions, "_ended", ended)


def moving_is_leaving(patch: Patch) -> None:
    right = Sessions.closed

    def closed(self: Sessions, conn: int, code: int | None, now: float) -> None:
        right(self, conn, CLOSE_NORMAL, now)

    patch.setattr(Sessions, "closed", closed)


def forgotten_in_the_wrong_order(patch: Patch) -> None:
    patch.setattr(Registry, "may_forget", lambda *_: True)


def power_cycled_is_a_clone(patch: Patch) -> None:
    right = Sessions._challenge

    def challenge(self: Sessions, session: Any, newer: tuple[int, int], now: float) -> None:
        right(self, session, newer, now)
        self._here(session, now)

    patch.setattr(Sessions, "_challenge", challenge)


def grace_by_our_own_view(patch: Patch) -> None:
    patch.setattr(Manager, "_seen_by", lambda *_: set())


@dataclass(frozen=True)
class Mutant:
    """`first`: from which seed on to look, today the very one; `wanted`: kinds of fault that it takes."""

    apply: Callable[[Patch], None]
    first: int
    wanted: tuple[str, ...] = ()


MUTANTS = [
    Mutant(highest_version_per_key, 1),
    Mutant(cut_without_order, 1),
    Mutant(late_duplicate_after_collection, 52),
    Mutant(reset_applied_partially, 1),
    Mutant(late_reset_taken, 200, ("no_udp", "clog", "new_node", "kill_node")),
    Mutant(settings_not_copied, 6),
    Mutant(fresh_manager_admits, 5, ("restart_manager", "new_node")),
    Mutant(no_claims, 99),
    Mutant(sessions_counted_not_hellos, 6),
    Mutant(end_of_an_old_session, 10),
    Mutant(moving_is_leaving, 1),
    Mutant(forgotten_in_the_wrong_order, 88, ("kill_manager", "power_manager", "kill_node", "stop_node")),
    Mutant(power_cycled_is_a_clone, 6),
    Mutant(grace_by_our_own_view, 141),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.apply.__name__)
def test_a_rule_that_is_left_out_is_missed(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.apply(monkeypatch)
    for seed in range(mutant.first, mutant.first + SEEDS):
        if fuzz.run(seed, mutant.wanted).broken:
            return
    pytest.fail(f"no checker misses it within {SEEDS} seeds from {mutant.first}")
