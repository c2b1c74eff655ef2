"""What the owner of each page wrote, as the simulator saw it, and whether copies claim that (L1, L3)."""

from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from gossip.ledger_messages import Pieces, Push
from gossip.messages import User
from gossip.pages import Entry, Page, Piece
from manager.records import NodeRecord, SessionKey
from simulations.kept import read_ledger
from simulations.processes import SimManager


@dataclass(slots=True)
class History:
    """What the owner of one page wrote under one generation: every value a key ever had, ascending."""

    version: int = 0
    floor: int = 0
    keys: dict[str, list[Entry]] = field(default_factory=dict)

    def note(self, page: Page) -> None:
        for entry in page.since(self.version):
            self.keys.setdefault(entry.key, []).append(entry)
        self.version, self.floor = page.version, page.floor

    def add(self, piece: Piece) -> None:
        """Entries that the owner sent, and may have overwritten since."""
        for entry in piece.entries:
            history = self.keys.setdefault(entry.key, [])
            if entry not in history:
                insort(history, entry, key=lambda one: one.version)
        if piece.upto > self.version:
            self.version, self.floor = piece.upto, max(self.floor, piece.floor)


class Written:
    """By owner and generation. `managers` may grow; `fail(text)` raises."""

    def __init__(self, managers: Sequence[SimManager], fail: Callable[[str], NoReturn]) -> None:
        self._managers = managers
        self._fail = fail
        self._pages: dict[tuple[str, int], History] = {}
        self._checked: dict[tuple[str, int], dict[tuple[str, int], int]] = {}
        """For each manager process, the version at which its copy of a page was looked at last."""

    def note(self, own: Page) -> None:
        """What stands on it, a manager's own, it has written."""
        written = self._pages.get((own.owner, own.generation))
        if written is None:
            written = self._pages[own.owner, own.generation] = History()
        if own.version != written.version or own.floor != written.floor:
            written.note(own)

    def note_sent(self, manager: SimManager, message: User) -> None:
        """A page may be renewed or written, sent, and written again within one turn: what was sent counts."""
        self.note(manager.core.group.ledger.own)
        said = read_ledger(message.payload)
        for piece in said.pieces if isinstance(said, Push | Pieces) else ():
            if self._is_own(manager, piece):
                self._pages.setdefault((piece.owner, piece.generation), History()).add(piece)

    def _is_own(self, manager: SimManager, piece: Piece) -> bool:
        own = manager.core.group.ledger.own
        return piece.owner == own.owner and (
            piece.generation == own.generation or (own.owner, piece.generation) not in self._pages
        )

    def copies_claim_what_was_written(self, manager: SimManager) -> None:
        """A copy at version v has what its owner wrote up to v, or what overwrote that (L1, L3)."""
        ledger = manager.core.group.ledger
        checked = self._checked.setdefault((manager.host, manager.starts), {})
        for page in ledger.former.values():
            self._former_was_written(manager, page)
        for page in ledger.pages.values():
            key = (page.owner, page.generation)
            if checked.get(key) == page.version:
                continue
            checked[key] = page.version
            written = self._pages.get((page.owner, page.generation))
            if written is None:
                self._fail(f"{manager.name} holds a page of {page.owner} that nobody wrote")
            else:
                self._compare(manager.name, page, written)

    def _former_was_written(self, manager: SimManager, page: Page) -> None:
        """What is kept of a page's earlier generations, its owner wrote under one of them."""
        for key, entry in page.values.items():
            if not any(
                owner == page.owner and entry.value in {old.value for old in written.keys.get(key, ())}
                for (owner, generation), written in self._pages.items()
                if generation <= page.generation
            ):
                self._fail(f"{manager.name} keeps {key} of {page.owner} as it was never written")

    def _compare(self, reader: str, page: Page, written: History) -> None:
        whose = f"{reader}'s copy of {page.owner}'s page at {page.version}"
        if page.version > written.version or page.floor > written.floor:
            self._fail(f"{whose} is ahead of its owner, who is at {written.version}, floor {written.floor}")
        for key, entry in page.values.items():
            if entry not in written.keys.get(key, ()):
                self._fail(f"{whose} has {key} as it was never written")
            if entry.version > page.version:
                self._fail(f"{whose} has {key} at {entry.version}")
        for key, history in written.keys.items():
            if history[-1].version > page.version:
                continue
            latest, held = history[-1], page.values.get(key)
            collected = latest.value is None and held is None and latest.version <= page.floor
            if held != latest and not collected:
                self._fail(f"{whose} lacks {key}, written at {latest.version}")

    def was_deleted(self, owner: str, key: str) -> bool:
        """Whether `owner` ended the entry of `key`, or may have: of two processes of a name, or set back."""
        named = [other for other in self._managers if other.name == owner]
        if len(named) > 1 or any(other.set_back for other in named):
            return True
        generations = [at for at, page in self._pages.items() if at[0] == owner and key in page.keys]
        return not generations or self._pages[max(generations)].keys[key][-1].value is None

    def ended_since(self, key: str, session: SessionKey) -> bool:
        """Whether any page had a newer record of the node, and ended it: a copy of the older may be left."""
        for written in self._pages.values():
            entries = written.keys.get(key, [])
            if entries and entries[-1].value is None:
                values = [entry.value for entry in entries if entry.value is not None]
                if any(NodeRecord.unpack(value).session > session for value in values):
                    return True
        return False

    def is_stale(self, manager: SimManager, owner: str) -> bool:
        """Whether the owner has written more than `manager`'s copy has."""
        page = manager.core.group.ledger.pages[owner]
        return any(
            name == owner and (generation, written.version) > page.mark
            for (name, generation), written in self._pages.items()
        )
