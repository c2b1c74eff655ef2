"""What the pages say about founders: their accounts, whom they met, who is expelled, and the seats they gave.

Every manager of a group under policy `strict` reads it; only the keys of founders on founders' pages count.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gossip.ledger import Ledger
from manager.seats.lives import read_account
from manager.seats.records import (
    EXPELLED,
    FOUNDER,
    MET,
    SEAT,
    Expelled,
    Met,
    Seat,
    pack,
    unpack,
)
from manager.seats.rights import Known


@dataclass(frozen=True, slots=True)
class Held:
    """A seat, and whose it is."""

    home: str
    seat: Seat


class Founders:
    """Kept up to date by `page_changed`. `names` are those of `group.founders`."""

    def __init__(self, ledger: Ledger, names: Iterable[str]) -> None:
        self.names = tuple(sorted(names))
        self.known = Known({}, {}, {})
        self._ledger = ledger

    def recall(self, before: Iterable[tuple[str, bytes]]) -> None:
        """Whom an operator expelled stays so, on our page too; `before` stood there when we last ran."""
        for key, value in before:
            if key.startswith(EXPELLED):
                self._ledger.put(key, value, ends_something=True)
        for owner, page in self._ledger.pages.items():
            self.page_changed(owner, list(page.values))

    def page_changed(self, owner: str, keys: Iterable[str]) -> list[str]:
        """Read `keys` of `owner`'s page; gives lines for the operator."""
        lines = []
        page = self._ledger.pages.get(owner)
        if page is None:
            return []
        for key in keys:
            if key.startswith(EXPELLED):
                lines += self._expelled(key[len(EXPELLED) :], unpack(Expelled, page.get(key)))
            elif owner not in self.names:
                continue
            elif key == FOUNDER:
                if (account := read_account(page.get(key))) is not None:
                    self.known.accounts[owner] = account
                else:
                    self.known.accounts.pop(owner, None)
            elif key.startswith(MET):
                met = unpack(Met, page.get(key))
                names = self.known.met.setdefault(owner, {})
                if met is not None:
                    names[key[len(MET) :]] = met.origin
                else:
                    names.pop(key[len(MET) :], None)
        return lines

    def expel(self, name: str, at: float) -> list[str]:
        """An operator vouches that the process of `name` runs nowhere. `at`: seconds since 1970."""
        return self._expelled(name, Expelled(self._ledger.own.owner, at))

    def _expelled(self, name: str, note: Expelled | None) -> list[str]:
        if note is None or name not in self.names:
            return []
        if self._ledger.own.get(EXPELLED + name) is None:
            self._ledger.put(EXPELLED + name, pack(note), ends_something=True)
        if name in self.known.expelled:
            return []
        self.known.expelled[name] = None
        return [
            f"founder {name} is expelled, by an operator's word to {note.by}: its rights go to {self.heir}"
        ]

    @property
    def heir(self) -> str:
        """Who has the shares of the expelled; empty where nobody is left."""
        return next((name for name in self.names if name not in self.known.expelled), "")

    def met_another(self, name: str) -> list[str]:
        """Who met `name` at another origin than its present one, and so never meets it again."""
        account = self.known.accounts.get(name)
        if account is None:
            return []
        met = {other: names[name] for other, names in self.known.met.items() if name in names}
        gone = self.known.expelled
        return sorted(o for o, at in met.items() if at != account.origin and o not in gone)

    def seat(self, home: str, id_: str) -> Seat | None:
        """What stands on `home`'s page about a node."""
        page = self._ledger.pages.get(home)
        return None if page is None else unpack(Seat, page.get(SEAT + id_))

    def seats(self, home: str) -> list[Seat]:
        """All that stand on `home`'s page."""
        page = self._ledger.pages.get(home)
        entries = [] if page is None else page.items()
        found = (unpack(Seat, value) for key, value in entries if key.startswith(SEAT))
        return [seat for seat in found if seat is not None]

    def count(self, home: str) -> int:
        """How many seats stand on `home`'s page."""
        page = self._ledger.pages.get(home)
        return 0 if page is None else sum(key.startswith(SEAT) for key, _ in page.items())

    def seats_of(self, id_: str) -> Iterator[Held]:
        """Every seat that a founder holds for a node: for a moment there may be two."""
        for name in self.names:
            if (seat := self.seat(name, id_)) is not None:
                yield Held(name, seat)
