"""A founder as the home of seats: spends its rights on nodes, and knows when they come back (S1, S2, S5, S7).

Whatever it decides stands on its page, and so on its disk, before anybody hears of it (R2).
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import inf

from gossip.group import Group
from gossip.ledger import PageFull
from manager.effects import Level
from manager.outbox import Outbox
from manager.seats.founders import Founders
from manager.seats.lives import pack_account, read_account, shorter
from manager.seats.records import (
    ASK,
    ENDED,
    EXPELLED,
    FIRST_LIFE,
    FOUNDER,
    MET,
    NO,
    SEAT,
    Ask,
    Asked,
    Ended,
    Met,
    No,
    Seat,
    of_ended_key,
    pack,
    unpack,
)
from manager.seats.rights import STRETCH, Founder
from manager.terms import ManagerConfig

_WENT_BACK = (
    "this founder's store has gone back in time: for as long as a ticket lives (subscription.ticket_life) it "
    "admits no node, and renews the tickets that it is shown; until then there may be more nodes than the "
    "subscription allows, by no more than the rights that it had left"
)
OVER_MAX = 4096
"""Nodes of which it is known what was the last that they had here."""
UNLIMITED = 2**40
"""The total if there is no cap."""


class Home:
    """Only on a manager that is among the founders."""

    def __init__(self, group: Group, founders: Founders, config: ManagerConfig, outbox: Outbox) -> None:
        self._group = group
        self._ledger = group.ledger
        self._founders = founders
        self._config = config
        self._outbox = outbox
        before = () if group.before is None else group.before.entries
        self.founder = Founder(
            group.name,
            founders.names,
            config.seat_terms,
            # As good as drawn: seconds since 1970, then random bits, when the store was empty.
            origin=self._ledger.own.generation,
            life=config.ticket_life,
            before=read_account(dict(before).get(FOUNDER)),
        )
        self._seats: dict[str, Seat] = {}
        self._until: dict[str, float] = {}
        """When the last ticket that may still be around is over, by any clock within the bound."""
        self._over: dict[str, Asked] = {}
        """The questions that the last tickets answered which were over, by node; the oldest first."""
        self._noes: set[str] = set()
        self._warned: set[str] = set()
        self._looked: tuple[int | None, int] | None = None
        """By which cap and serial `look` went last; None where something has changed since."""

    @property
    def seats(self) -> Mapping[str, Seat]:
        """What is spent, by the id of the node. Read-only for others."""
        return self._seats

    # Starting

    def recall(self, before: Iterable[tuple[str, bytes]], now: float) -> None:
        """Seats, and whom we met, stand on our page again; every life is counted anew (S2)."""
        for key, value in before:
            if key.startswith(MET):
                self._ledger.put(key, value, ends_something=True)
                self._founders.page_changed(self._group.name, (key,))
            elif key.startswith(SEAT) and (seat := unpack(Seat, value)) is not None:
                self._hold(key[len(SEAT) :], seat, now + seat.longest * STRETCH, was_spent=True)
        self._tell()
        for owner in sorted(self._ledger.pages):
            self.page_changed(owner, list(self._ledger.pages[owner].values), now)

    def went_back(self, entries: Iterable[tuple[str, bytes]], now: float) -> None:
        """Others had more of our page than our disk: take in what they say, and admit nobody (R5)."""
        found = dict(entries)
        account = read_account(found.get(FOUNDER))
        if account is None or account.origin != self.founder.origin:
            return  # of a store that is lost: nobody meets us under another origin
        self.founder.take_in(account)
        for key, value in found.items():
            if key.startswith(MET) and self._ledger.own.get(key) is None:
                self._ledger.put(key, value, ends_something=True)
                self._founders.page_changed(self._group.name, (key,))
            if key.startswith(SEAT) and (seat := unpack(Seat, value)) is not None:
                id_ = key[len(SEAT) :]
                ours = self._seats.get(id_, seat)
                newer = replace(max(ours, seat, key=_asked), longest=max(ours.longest, seat.longest))
                until = max(self._until.get(id_, -inf), now + seat.longest * STRETCH)
                self._hold(id_, newer, until, was_spent=True)
        self.bar(now)

    def bar(self, now: float) -> None:
        """Our store is older than what others have of us (R5)."""
        if not self.founder.account().barred:
            self._outbox.log(Level.ERROR, _WENT_BACK)
        self.founder.bar(now)
        self._looked = None

    # What others ask

    def page_changed(self, owner: str, keys: Iterable[str], now: float) -> None:
        """Somebody asks for a ticket, or says that one is no more."""
        page, me = self._ledger.pages.get(owner), self._group.name
        if page is None:
            return
        for key in keys:
            if key == FOUNDER or key.startswith((MET, EXPELLED)):
                self._looked = None
            if key.startswith(ASK) and owner != me:
                ask = unpack(Ask, page.get(key))
                if ask is not None and ask.founder == me and not self.gives(key[len(ASK) :], ask, now):
                    no = No(ask.incarnation, ask.ask)
                    self._ledger.put(NO + key[len(ASK) :], pack(no), ends_something=True)
                    self._noes.add(key[len(ASK) :])
            elif key.startswith(ENDED):
                home, id_ = of_ended_key(key)
                ended = unpack(Ended, page.get(key)) if home == me else None
                if ended is not None:
                    self.ended(id_, ended, now)

    def gives(self, id_: str, ask: Ask, now: float) -> bool:
        """Whether the node's question is answered by a ticket: then `seat/<id>` says which (S1)."""
        seat = self._seats.get(id_)
        if seat is not None and seat.asked >= ask.asked:
            return True
        if seat is None and ask.asked <= self._over.get(id_, (0, 0)):
            return False  # it has waited for us, and its node has had a later ticket since
        has = (ask.has_incarnation, ask.has_ask) if ask.living else (0, 0)
        if seat is not None and seat.asked < has and not self.founder.account().barred:
            self.bar(now)  # we gave it that ticket, and do not know
        barred = self.founder.account().barred
        if barred and has == (0, 0):
            return False  # the seat that an older store has for it may have been another's since (R5)
        wanted = self._config.ephemeral_life if ask.ephemeral else self._config.ticket_life
        full = min(wanted, self.founder.life)
        life = full if has > (0, 0) else min(full, FIRST_LIFE)
        wall = self._group.wall(now)
        if seat is None:
            pool = "" if barred else self.founder.pool(ask.replaces)
            if pool is None:
                return False
            seat = Seat(0, 0, life, 0.0, ask.stamp, pool)
        elif seat.over_since and seat.over_since + self._config.margin <= wall:
            return False
        until = now + life * STRETCH
        over = self._until.get(id_, -inf)
        longest = life if over <= until else max(life, seat.longest)
        seat = replace(
            seat, incarnation=ask.incarnation, ask=ask.ask, life=life, longest=longest, ending=False
        )
        return self._hold(id_, seat, max(until, over))

    def _hold(self, id_: str, seat: Seat, until: float, *, was_spent: bool = False) -> bool:
        """`was_spent`: its ticket may be around, whether or not this page has room for a newcomer."""
        try:
            ends_something = was_spent or id_ in self._seats
            self._ledger.put(SEAT + id_, pack(seat), ends_something=ends_something)
        except PageFull:
            self._outbox.count("ledger", "page_full")
            return False
        self._seats[id_], self._until[id_] = seat, until
        self._looked = None
        self.founder.spend(id_, seat.pool)
        return True

    def ended(self, id_: str, ended: Ended, now: float) -> None:
        """The node's tickets of ours are no more (S4, S5)."""
        seat = self._seats.get(id_)
        if seat is None or ended.origin != self.founder.origin or seat.asked > ended.asked:
            return
        if not ended.window:
            self._free(id_)
        elif not seat.ending:
            until = now + ended.window * STRETCH
            if until < self._until[id_]:
                self._hold(id_, replace(seat, ending=True, longest=ended.window), until)
            else:
                self._hold(id_, replace(seat, ending=True), self._until[id_])

    def _free(self, id_: str) -> None:
        del self._seats[id_], self._until[id_]
        self._looked = None
        self.founder.give_back(id_)
        self._ledger.delete(SEAT + id_)

    # Time

    def look(self, cap: int | None, serial: int, now: float) -> None:
        """Take notice of the cap that holds, of what others' pages say, and of the time."""
        if self._looked == (cap, serial) and now < self.founder.next_deadline():
            return
        self._meet()
        self.founder.look(self._founders.known, UNLIMITED if cap is None else cap, serial, now)
        self._tell()
        if self.founder.life < self._config.ticket_life:
            self._warn(shorter(self._group.name, self._founders.known), Level.WARNING)
        self._looked = cap, serial

    def next_deadline(self) -> float:
        return self.founder.next_deadline()

    def sweep(self, now: float) -> None:
        """End seats whose tickets are over, mark those beyond the total, clear answers that have served."""
        for id_ in [id_ for id_, until in self._until.items() if until <= now]:
            self._outbox.log(Level.INFO, f"the seat of {id_} is free: its ticket is over")
            self._over.pop(id_, None)
            self._over[id_] = self._seats[id_].asked
            if len(self._over) > OVER_MAX:
                del self._over[next(iter(self._over))]
            self._free(id_)
        self._mark_excess(now)
        for id_ in sorted(self._noes):
            asks = [unpack(Ask, page.get(ASK + id_)) for page in self._ledger.pages.values()]
            if not any(ask is not None and ask.founder == self._group.name for ask in asks):
                self._noes.discard(id_)
                self._ledger.delete(NO + id_)

    def _mark_excess(self, now: float) -> None:
        """Who is beyond a lowered total: the last seated (S7)."""
        excess = self.founder.excess
        if not excess and not any(seat.over_since for seat in self._seats.values()):
            return
        newest = sorted(self._seats, key=lambda id_: (self._seats[id_].stamp, id_), reverse=True)
        wall = self._group.wall(now)
        for at, id_ in enumerate(newest):
            seat = self._seats[id_]
            # A clock that was set back since must not make the margin longer by as much.
            if (at < excess) != bool(seat.over_since) or seat.over_since > wall:
                since = wall if at < excess else 0.0
                self._hold(id_, replace(seat, over_since=since), self._until[id_])

    def _meet(self) -> None:
        """Say yes, on disk, to every founder that asks to be met: each one of that name once (R1)."""
        ours = self.founder.account()
        for name in self._founders.names:
            account = self._founders.known.accounts.get(name)
            if name == self._group.name or account is None:
                continue
            alike = (account.founders, account.terms) == (ours.founders, ours.terms)
            if alike and self._ledger.own.get(MET + name) is None:
                self._ledger.put(MET + name, pack(Met(account.origin)), ends_something=True)
                self._founders.page_changed(self._group.name, (MET + name,))
            elif not alike and name not in self._founders.known.expelled:
                theirs, mine = (
                    f"{', '.join(account.founders)}; {account.terms}",
                    f"{', '.join(ours.founders)}; {ours.terms}",
                )
                self._warn(
                    f"founder {name} has other founders or terms ({theirs}) than this manager ({mine}): "
                    "make group.founders and subscription alike"
                )
        for name, origin in sorted(self._founders.known.met.items()):
            if origin.get(self._group.name, ours.origin) != ours.origin and not ours.founded:
                self._warn(
                    f"founder {name} knows this one by another store: put that one back, or expel "
                    f"{self._group.name} by `kcm group founders expel` and start under a new name"
                )

    def _warn(self, text: str, level: Level = Level.ERROR) -> None:
        if text and text not in self._warned:
            self._warned.add(text)
            self._outbox.log(level, text)

    def _tell(self) -> None:
        account = pack_account(self.founder.account())
        if self._ledger.own.get(FOUNDER) != account:
            self._ledger.put(FOUNDER, account, ends_something=True)
            self._founders.page_changed(self._group.name, (FOUNDER,))


def _asked(seat: Seat) -> Asked:
    return seat.asked
