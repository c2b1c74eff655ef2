"""What must hold of rights under policy `strict`: at every event, and once all is healed (`STATE.md`).

Nothing of the managers' own counting is believed: a ticket is valid by its node's own clocks, a total is what
a founder follows, or has followed since it last owed nothing.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NoReturn

from gossip.pages import NOTHING, Page
from manager.identity import Identity, Ticket
from manager.seats.home import UNLIMITED, Home
from manager.seats.records import MET, SEAT, Asked, Met, Seat, unpack
from manager.seats.rights import Known
from node.protocol import ManagerMessage, Refused
from simulations.granted import turned_away
from simulations.nodes import SimNode
from simulations.processes import NODE_PORT, SimManager

ANSWERED_WITHIN = 3.0
"""Seconds from a node's question to its answer, by way of pages and disks: its ticket may end meanwhile."""
REACH_SECONDS = 5.0
"""Seconds in which every founder has been asked that does not answer."""
QUICK = 0.1
"""Seconds that a commit may take, at most: a founder behind a slow disk is left for another."""


GIVEN_MAX = 8
"""Tickets that one node gets within a second, at the most: its first, whole, and in the place of others'."""


@dataclass(slots=True)
class _Account:
    """What was last seen of one founder, or of a process that is a second one of its name."""

    name: str
    mark: tuple[int, int, int] = (0, 0, 0)
    """The start, and the page at its version, that was judged last."""
    rights: int = 0
    """What it may spend, as far as it knows."""
    total: int = 0
    """What it followed after its last turn."""
    highest: int = 0
    """Total followed since it last owed nothing."""
    peak: int = 0
    """… since a total that all have followed, owing nothing."""
    origin: int = 0
    met: bool = False
    """Whether it spent something, when all others had met it."""
    founded: int = 0
    """The origin under which it was a founder first."""
    lost: bool = False
    """Whether its store was lost: what that had given lives on, and another origin is none that is met."""
    clean: set[tuple[int, int]] = field(default_factory=set)
    """(total, serial) that it has followed, owing nothing."""
    seats: dict[str, Asked] = field(default_factory=dict)
    """By id: the question that each answers."""
    ever: set[tuple[str, Asked]] = field(default_factory=set)
    """Ids that it ever seated, each with the question that it answered."""
    freed: frozenset[str] = frozenset()
    back: list["_Back"] = field(default_factory=list)
    last_back: "_Back | None" = None
    """The newest of all."""
    barred: bool = False


@dataclass(slots=True)
class _Back:
    """A start from a store that was not the last one of its name (R5)."""

    lost: int
    """Tickets that the store does not know of: only beside these can others come to be."""
    rights: int = 0
    """The most that it was seen to have since."""
    witnesses: tuple[tuple[SimManager, int], ...] = ()
    """Who had more of its page when it began, and the number of their starts then."""
    found: bool = False

    @property
    def excess(self) -> int:
        return min(self.lost, self.rights)


@dataclass(slots=True)
class RightsWatch:
    """`fail(text)` raises."""

    managers: list[SimManager]
    nodes: list[SimNode]
    fail: Callable[[str], NoReturn]
    _accounts: dict[SimManager, _Account] = field(default_factory=dict)
    _read: dict[str, Ticket] = field(default_factory=dict)
    """Tickets, by their text."""
    _given: dict[tuple[SimManager, int, int], deque[float]] = field(default_factory=dict)
    """When the last tickets were given, by process and connection."""
    _enough_since: float = 0.0
    """Since when there are rights within reach for all that wait for one."""

    def turned(self, manager: SimManager) -> None:
        """`manager` has handled an input. Whatever that changed of its rights stands on its page."""
        home = manager.core.home
        if home is None:
            return
        account = self._accounts.setdefault(manager, _Account(manager.name))
        own = manager.core.group.ledger.own
        mark = manager.starts, own.generation, own.version
        if mark != account.mark:
            account.mark = mark
            self._note(account, home, kept=_is_quick(manager))
            if account.seats and not account.met:
                account.met = True
                self._who_spends_was_met(manager, account)
            self._judge()
            self._shares_are_within_the_total()
            self._who_keeps_its_store_is_not_barred(manager, home)

    def gave(self, manager: SimManager, conn: int, now: float) -> None:
        """`manager` gives a node that it serves another ticket."""
        before = self._given.setdefault((manager, manager.starts, conn), deque(maxlen=GIVEN_MAX))
        if len(before) == GIVEN_MAX and now - before[0] < 1.0:
            self._tickets_are_kept_for_a_while(manager)
        before.append(now)

    def looked(self) -> None:
        """Some time has passed, and clocks may have been set. A ticket's end is no event of ours."""
        if self._accounts:
            self._judge()

    saved = looked
    """A node has something new on its disk."""

    def judge_reach(self, now: float, *, calm: bool) -> None:
        """`calm`: the managers run, are connected, and see each other."""
        quick = all(map(_is_quick, self.managers))
        if not (calm and quick and self._is_enough()):
            self._enough_since = now

    def _is_enough(self) -> bool:
        homes = [m.core.home for m in self.managers if m.alive and m.core.home is not None]
        left = sum(home.founder.account().left for home in homes)
        return 0 < left >= sum(node.alive and not node.has_ticket for node in self.nodes)

    def said(self, manager: SimManager, message: ManagerMessage, now: float) -> None:
        """`manager` is about to tell a node so."""
        if not isinstance(message, Refused) or message.code not in ("full", "out_of_reach"):
            return
        strict = manager.core.founders is not None
        if strict and now - self._enough_since >= REACH_SECONDS and self._is_enough():
            self._nobody_is_refused_a_right_within_reach(manager)

    def _nobody_is_refused_a_right_within_reach(self, manager: SimManager) -> None:
        """Whoever has one left is asked (S1), so a refusal says the truth (S8)."""
        self.fail(f"{manager.name} refuses a node, and there are rights left for all that wait for one")

    def started(self, manager: SimManager) -> None:
        """A process begins; its store may not be the last one of its name (R5)."""
        disk = manager.disk
        if manager.core.home is None or disk is None or not disk.is_old:
            return
        disk.is_old = False
        account = self._accounts.setdefault(manager, _Account(manager.name))
        account.barred = False  # an older store may be from before that
        page = disk.saved.pages.get(manager.name)
        kept = {} if page is None else seats_on(page)
        missing = {id_ for id_, asked in account.seats.items() if kept.get(id_) != asked}
        twin = any(other is not manager and other.name == manager.name for other in self.managers)
        mark = NOTHING if page is None else page.mark
        others = [m for m in self.managers if m.alive and m.name != manager.name]
        witnesses = tuple(
            (m, m.starts) for m in others if m.core.group.ledger.digest().get(manager.name, NOTHING) > mark
        )
        account.last_back = _Back(UNLIMITED if twin else len(missing), witnesses=witnesses)
        account.back.append(account.last_back)
        # That it was barred, an earlier store does not know: this is no end of it.
        account.barred = False

    @property
    def excess(self) -> int:
        """How many tickets too many there may be, by what R5 allows."""
        return sum(back.excess for account in self._accounts.values() for back in account.back)

    def not_found(self) -> list[str]:
        """Once all is healed: founders whose store went back, and who have not heard of it (R5)."""
        broken = []
        for manager, account in self._accounts.items():
            back, alone = account.last_back, sum(m.name == manager.name for m in self.managers) == 1
            gone = account.name in self._expelled() or not manager.alive
            if manager.core.home is None or back is None or back.found or account.lost or gone or not alone:
                continue
            names = [m.name for m, starts in back.witnesses if m.alive and m.starts == starts]
            if names:
                broken.append(
                    f"{manager.name} goes on by an older store, and {', '.join(names)} had more of it"
                )
        return broken

    def _note(self, account: _Account, home: Home, *, kept: bool) -> None:
        """`kept`: what it frees is on its disk soon, and not back after the next start."""
        said = home.founder.account()
        seats = {id_: seat.asked for id_, seat in home.seats.items()}
        # What a process freed and had not kept when it was killed, the next one holds again.
        if not said.owes:
            # What it owed may have become free within the turn that seats somebody.
            account.clean.add((said.total, said.serial))
        news = set(seats.items()) - account.ever
        account.ever |= news
        new_ids = frozenset(id_ for id_, _ in news) - account.seats.keys()
        if new_ids and not said.barred:
            self._lowered_caps_wait(account, home, new_ids)
        if new_ids and said.barred and account.barred:
            self._who_is_barred_seats_nobody(account, home, new_ids)
        if account.last_back is not None:
            account.last_back.found |= said.barred
        gives = said.rights if said.founded and not said.barred else 0
        for other in self._accounts.values():
            for back in other.back if other.name == account.name else ():
                # Of two processes of a name each gives by itself what only one of them has.
                if other is account or back.lost == UNLIMITED:
                    back.rights = max(back.rights, gives)
        alone = sum(m.name == account.name and m.alive for m in self.managers) == 1
        if account.barred and not said.barred and not said.owes and alone:
            account.back.clear()
        account.barred = said.barred
        # A store that went back does not know what it owes, until that is found and over (R5).
        if said.founded:
            account.founded = account.founded or said.origin
            if account.founded != said.origin:
                self._a_lost_store_is_not_met_again(account)
        account.lost |= account.origin not in (0, said.origin)
        account.origin = said.origin
        owes = said.owes or bool(account.back) or account.lost or not kept
        account.highest = max(account.highest, said.total) if owes else said.total
        account.rights = said.rights if said.founded and not said.barred else 0
        account.total, account.peak = said.total, max(account.peak, said.total)
        account.seats, account.freed = seats, frozenset(said.freed)
        if self._is_settled(said.total, said.serial, home._founders.known):
            account.peak = said.total

    def _expelled(self) -> set[str]:
        """Those whose name nobody has any more."""
        former = {name for manager in self.managers for name in manager.names[:-1]}
        return former | {manager.name for manager in self.managers if manager.gone}

    def _freed(self) -> set[str]:
        return {name for account in self._accounts.values() for name in account.freed}

    def _is_settled(self, total: int, serial: int, known: Known) -> bool:
        """Whether all have followed it, owing nothing, each at some time; `known` to who acts by it."""
        gone = self._expelled()
        running = {manager.name for manager in self.managers if manager.alive}
        living = [
            account
            for manager, account in self._accounts.items()
            if account.name not in gone
            and not manager.conflicting
            # A process that is no more, and whose name another has, says nothing any more.
            and (manager.alive or account.name not in running)
        ]
        settled = all((total, serial) in account.clean for account in living)
        founders = {account.name for account in self._accounts.values()}
        # Of one that is gone the last word is what its page says, until it is known to be expelled.
        said = {
            name
            for name, one in known.accounts.items()
            if (one.total, one.serial) == (total, serial) and not one.owes and name not in known.expelled
        }
        return settled and (gone & founders) - said <= self._freed()

    # The checkers

    def _tickets_are_kept_for_a_while(self, manager: SimManager) -> None:
        """A node asks for the next one when that is due, not as fast as it can: each is three disks' work."""
        self.fail(f"{manager.name} gives one node {GIVEN_MAX} tickets within a second")

    def _judge(self) -> None:
        tickets = [self._ticket(node) for node in self.nodes if node.has_ticket]
        if not tickets:
            return
        freed = self._freed()
        self._no_more_than_the_cap(len(tickets), freed)
        by_name: dict[str, list[_Account]] = {}
        for account in self._accounts.values():
            by_name.setdefault(account.name, []).append(account)
        for ticket in tickets:
            homes = by_name.get(ticket.home, [])
            if not any(ticket.id in account.seats for account in homes):
                self._every_ticket_has_its_seat(ticket, homes)
            if ticket.home in freed:
                self._what_is_inherited_is_over(ticket)

    def _a_lost_store_is_not_met_again(self, account: _Account) -> None:
        """What it had given lives on, so that under its name nobody else gives anything (R1)."""
        self.fail(f"{account.name} is a founder again, and the store is lost by which it was one")

    def _who_spends_was_met(self, manager: SimManager, account: _Account) -> None:
        """Every other founder has said yes to it before it gives anything, or is expelled (R1)."""
        founders = manager.core.founders
        assert founders is not None
        for name in sorted(set(founders.names) - self._expelled()):
            pages = [m.core.group.ledger.own for m in self.managers if m.name == name]
            met = [unpack(Met, page.get(MET + account.name)) for page in pages]
            yes = any(one is not None and one.origin == account.origin for one in met)
            back = any(one.lost or one.back for one in self._accounts.values())
            if name not in (account.name, *founders.known.expelled) and not yes and not back:
                self.fail(f"{account.name} gives a right away, and {name} has never met it")

    def _every_ticket_has_its_seat(self, ticket: Ticket, homes: list[_Account]) -> None:
        """Its home counts a seat for it as spent, for as long as it lives by its node's own clocks.

        Beside this stand the tickets of the expelled, for which their share is kept (R3), and those of which
        a store knows nothing that went back, or a second process of the name (R5).
        """
        back = len(homes) > 1 or any(account.lost or account.back for account in homes)
        if homes and not back and ticket.home not in self._expelled():
            self.fail(f"{ticket.id} has a valid ticket of {ticket.home}, which holds no seat for it")

    def _what_is_inherited_is_over(self, ticket: Ticket) -> None:
        """A share that its heir gives to anybody has no valid ticket of the one that had it before (R3)."""
        self.fail(f"{ticket.id} has a valid ticket of {ticket.home}, whose share others give away")

    def _shares_are_within_the_total(self) -> None:
        """What founders may spend, each by its own word, is together within the highest total in force."""
        gone, rights = self._expelled(), dict[str, int]()
        for account in self._accounts.values():
            if account.name not in gone and not account.lost:
                rights[account.name] = max(rights.get(account.name, 0), account.rights)
        most = max((account.highest for account in self._accounts.values()), default=0)
        if sum(rights.values()) > most:
            self.fail(f"founders may spend {rights}, and the highest total in force is {most}")

    def _ticket(self, node: SimNode) -> Ticket:
        assert node.disk.state is not None
        text = node.disk.state.ticket
        if text not in self._read:
            self._read[text] = Identity(self.managers[0].group_name, "").open(text)
        return self._read[text]

    def _no_more_than_the_cap(self, valid: int, freed: set[str]) -> None:
        """Valid tickets, by the nodes' own clocks, are within the highest total followed or owed under."""
        over = freed & self._expelled()
        totals = [account.highest for account in self._accounts.values() if account.name not in over]
        if valid > max(totals, default=0) + self.excess:
            self.fail(
                f"{valid} tickets are valid, and the highest total in force is {max(totals, default=0)}"
            )

    def _lowered_caps_wait(self, account: _Account, home: Home, news: frozenset[str]) -> None:
        """Under a lowered total nobody is newly seated before all follow it and owe nothing (R4)."""
        said, name = home.founder.account(), account.name
        newcomers = [id_ for id_ in news if not self._has_another(id_, name)]
        # A turn may seat a node first, and then hear of the lower total.
        if (
            newcomers
            and max(said.total, account.total) < account.peak
            and not self._is_settled(said.total, said.serial, home._founders.known)
        ):
            self.fail(f"{name} seats {len(newcomers)} under {said.total}, and {account.peak} is not over")

    def _has_another(self, id_: str, name: str) -> bool:
        others = [account for account in self._accounts.values() if account.name != name]
        return any(id_ in account.seats for account in others) or any(
            node.id == id_ and _had_a_ticket(node) for node in self.nodes
        )

    def _who_is_barred_seats_nobody(self, account: _Account, home: Home, news: frozenset[str]) -> None:
        """Once found, a founder that went back gives nothing to whom it had given nothing (R5)."""
        for id_ in sorted(news):
            if not self._was_given(id_, account.name) and not any(
                node.id == id_ and node.has_ticket for node in self.nodes
            ):
                self.fail(f"{account.name} seats {id_}, and its store went back")

    def _was_given(self, id_: str, name: str) -> bool:
        return any(
            id_ in {seated for seated, _ in account.ever}
            for account in self._accounts.values()
            if account.name == name
        )

    def _who_keeps_its_store_is_not_barred(self, manager: SimManager, home: Home) -> None:
        """A founder takes its store for set back only where it was, or where it ran twice (R5)."""
        twins = sum(other.name == manager.name for other in self.managers) > 1
        back = manager.disk is not None and manager.disk.set_back
        if home.founder.account().barred and not back and not twins:
            self.fail(f"{manager.name} takes its store for one that went back in time, and it never did")


def seats_on(page: Page) -> dict[str, Asked]:
    """The ids that have a seat there, each with the question that it answers."""
    seats = {key[len(SEAT) :]: unpack(Seat, value) for key, value in page.items() if key.startswith(SEAT)}
    return {id_: seat.asked for id_, seat in seats.items() if seat is not None}


def tickets(nodes: Iterable[SimNode], group: str) -> Iterator[tuple[str, str]]:
    """(home, id) of every ticket that is valid by its node's own clocks."""
    identity = Identity(group, "")
    for node in nodes:
        if node.has_ticket and node.disk.state is not None:
            yield identity.open(node.disk.state.ticket).home, node.id


def lost_rights(managers: Iterable[SimManager], nodes: Iterable[SimNode]) -> list[str]:
    """Seats and free rights that are not the total, rights that nobody can spend, seats without a ticket."""
    living = [manager for manager in managers if manager.alive]
    valid = Counter(tickets(nodes, living[0].group_name)) if living else Counter()
    broken = []
    seats_and_free, totals = 0, set()
    for manager in living:
        home, founders = manager.core.home, manager.core.founders
        if home is None or founders is None or manager.name in founders.known.expelled:
            continue
        seats = seats_on(manager.core.group.ledger.own)
        said = home.founder.account()
        if len(seats) != said.spent:
            broken.append(f"{manager.name} has {len(seats)} seats on its page, and counts {said.spent}")
        if not said.founded or said.barred or said.waits_for or said.heir_of:
            broken.append(f"{manager.name} spends nothing: {said}")
        seats_and_free += len(seats) + said.room
        totals.add(said.total)
        for id_ in sorted(seats):
            if (manager.name, id_) not in valid:
                broken.append(f"{manager.name} holds a seat for {id_}, which has no ticket of it")
    for home_name, id_ in sorted(valid):
        if not any(
            manager.name == home_name and manager.core.group.ledger.own.get(SEAT + id_) is not None
            for manager in living
        ):
            broken.append(f"{id_} has a ticket of {home_name}, which holds no seat for it")
    if len(totals) > 1:
        broken.append(f"founders follow different totals: {sorted(totals)}")
    elif totals and seats_and_free != min(totals):
        broken.append(f"seats and free rights are {seats_and_free}, and {min(totals)} are to be there")
    return broken


def misplaced_under_rights(managers: Iterable[SimManager], nodes: Iterable[SimNode]) -> list[str]:
    """Running nodes without a ticket while rights are left; joined ones that are shown as they are not."""
    living = [manager for manager in managers if manager.alive]
    if not living:
        return []
    core = living[0].core
    assert core.founders is not None
    left = sum(
        said.left
        for name, said in core.founders.known.accounts.items()
        if name not in core.founders.known.expelled
    )
    views = {view.id: view for view in core.registry.views()}
    reachable = {f"{manager.host}:{NODE_PORT}" for manager in living}
    broken = []
    for node in nodes:
        if not node.alive:
            continue
        if not node.joined and not reachable & set(node.knows):
            continue  # of the managers it knows none is left: a founder that was expelled
        view = views.get(node.id)
        if not node.has_ticket and left and (node.joined or not turned_away(core, node)):
            broken.append(f"{node.name} has no ticket, and {left} rights are left")
        if node.has_ticket and not node.joined:
            broken.append(f"{node.name} has a ticket, and is outside")
        if node.joined and (view is None or view.state.value != "active" or view.seat != node.has_ticket):
            broken.append(f"{node.name} is served, has a ticket: {node.has_ticket}, and is shown as {view}")
    return broken


def _is_quick(manager: SimManager) -> bool:
    """Whether its disk takes what it writes, and soon."""
    return manager.disk is not None and not manager.disk.full and manager.disk.slow < QUICK


def _had_a_ticket(node: SimNode) -> bool:
    """Whether its ticket lived when it asked, if it has just been answered."""
    state = node.disk.state
    if state is None or state.life is None or not state.ticket:
        return False
    return replace(state.life, seconds=state.life.seconds + ANSWERED_WITHIN).left(node.clock()) > 0
