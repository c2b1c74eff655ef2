"""Rights: a total that is divided over founders, so that no split, delay or crash lets them exceed it.

Each founder spends its own share only, and rights never travel: who needs one asks the founder with most
left. Rules are named R1 to R5 as in `STATE.md`, where the argument stands. What rights are spent on is not
known here.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

CLOCK_BOUND = 0.01
"""How much faster or slower than time a clock may run, at most, as a share."""
STRETCH = (1 + CLOCK_BOUND) / (1 - CLOCK_BOUND)
"""A second by a slow clock is over after this many seconds by a fast one."""


ADDED = {"added": True}
"""Of fields at the end that a later version has added: they are left out where they have their default."""


def share(position: int, founders: int, total: int) -> int:
    """The rights of the founder at `position`, from 0, in the order of their names.

    Grows with `total` at every position, so founders that follow different totals stay within the largest.
    """
    return total // founders + (position < total % founders)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A founder's rights as it publishes them for all, in one piece."""

    origin: int
    """Drawn with its empty store, and kept with it: another one is another founder of that name (R1)."""
    founders: tuple[str, ...]
    terms: str
    """What all founders must have alike, beside their list."""
    founded: bool = False
    total: int = 0
    serial: int = 0
    """Of the decision that made it the total: a total that comes back is another one."""
    peak: int = 0
    """The highest total followed since the last settled one (R4)."""
    rights: int = 0
    """What may be spent for anybody: its share, and inherited ones that are free."""
    spent: int = 0
    """Of those."""
    owes: bool = False
    barred: bool = False
    """Its store had gone back in time: it spends nothing for a while (R5)."""
    freed: tuple[str, ...] = ()
    """The expelled founders whose share it has inherited, and may spend for anybody (R3)."""
    heir_of: tuple[str, ...] = ()
    """… and whose share serves for a while only who brings a living right of theirs."""
    waits_for: tuple[str, ...] = ()
    """The founders that have not said yes yet, or that keep its total from being settled."""
    longest_given: float = field(default=0.0, metadata=ADDED)
    """For how many seconds, at most, who holds a right of it may go on without it: never falls …"""
    longest_awaited: float = field(default=0.0, metadata=ADDED)
    """… and for how many it waits for the end of others' rights, at least: never falls either (R3)."""

    @property
    def room(self) -> int:
        """What may be spent in place of another founder's right."""
        return max(0, self.rights - self.spent) if self.founded and not self.barred else 0

    @property
    def left(self) -> int:
        """What may be spent for whoever has none yet."""
        return 0 if self.waits_for else self.room


@dataclass(slots=True)
class Known:
    """What stands on the founders' pages, as it is known here; `met`: by whom, whom, at which origin."""

    accounts: dict[str, Account]
    met: dict[str, dict[str, int]]
    expelled: dict[str, None]

    def is_founded(self, name: str, origin: int) -> bool:
        """Whether that founder is one by anybody's word, or its own."""
        own = self.accounts.get(name)
        if own is not None and own.founded and own.origin == origin:
            return True
        return any(names.get(name) == origin for names in self.met.values())

    def is_void(self, name: str, origin: int) -> bool:
        """Whether that origin of `name` is known to be none: another one was met under the name."""
        others = {names[name] for names in self.met.values() if name in names}
        return bool(others) and origin not in others

    def awaited_by(self, name: str, giver: str) -> float:
        """For how long `name`, as `giver` has met it, would wait for the end of what that gave."""
        account = self.accounts.get(name)
        if account is None or account.origin != self.met.get(giver, {}).get(name):
            return 0.0
        return account.longest_awaited


class Founder:
    """Keeps one founder's account. What a right was spent on is a key; its state is kept by the caller.

    `life`: for how many seconds the holder of a right may go on without its founder, as its file says.
    """

    def __init__(
        self,
        name: str,
        founders: Iterable[str],
        terms: str,
        origin: int,
        life: float,
        before: Account | None = None,
    ) -> None:
        """`before`: its last account from the same store, whose origin it then keeps."""
        self.name = name
        self.founders = tuple(sorted(founders))
        self.origin = origin if before is None else before.origin
        self._terms = terms
        self._life = life
        self._given = before.longest_given if before is not None and before.founded else life
        self._awaited = life if before is None else max(life, before.longest_awaited)
        self._founded = before is not None and before.founded
        self._total = 0 if before is None else before.total
        self._serial = 0 if before is None else before.serial
        self._peak = 0 if before is None else before.peak
        self._freed = () if before is None else before.freed
        self._waiting: dict[str, float] = {}
        """Expelled founders whose share is not free yet, and since when."""
        self._barred = before is not None and before.barred
        self._barred_since = inf
        # Questions may come before the first look.
        self._waits_for = () if before is None else before.waits_for
        self._expelled = False
        self._spent: dict[str, str] = {}
        """On what, and of whose share: "" or an expelled founder's."""

    # Bringing it up to date

    def look(self, known: Known, total: int, serial: int, now: float) -> None:
        """Take notice of what is known, of the total that holds, and of the time. Cheap."""
        self._expelled = self.name in known.expelled
        self._await(known)
        self._inherit(known.expelled, now)
        if self._barred and self._barred_since == inf:
            self._barred_since = now  # anew after each start
        if self._barred_since + self._wait <= now:
            self._barred, self._barred_since = False, inf
        others = [name for name in self.founders if name != self.name and name not in known.expelled]
        unmet = [name for name in others if not self._has_yes_of(name, known)]
        if self._founded:
            ready = [known.awaited_by(name, self.name) for name in others]
            self._given = max(self._given, min([self._life, *ready]))
        elif not unmet:
            self._founded = True
            self._given = min([self._life, *(known.accounts[name].longest_awaited for name in others)])
        self._total, self._serial = total, serial
        self._peak = max(self._peak, total)
        self._waits_for = () if self._founded else tuple(unmet)
        if self._founded and self._peak > total:
            self._waits_for = tuple(name for name in self._unsettled(known, others))
            if not self._waits_for:
                self._peak = total

    def next_deadline(self) -> float:
        """When time alone changes something."""
        return min(self._barred_since, *self._waiting.values(), inf) + self._wait

    def _has_yes_of(self, name: str, known: Known) -> bool:
        """Whether it has met us, and that for what our file says now: it met us once for good (R1)."""
        account = known.accounts.get(name)
        return (
            known.met.get(name, {}).get(self.name) == self.origin
            and account is not None
            and (account.founders, account.terms) == (self.founders, self._terms)
        )

    @property
    def life(self) -> float:
        """For how long the holder of a right that is given now may go on without us.

        It is what our file says once all that may inherit from us are known to wait for that (R3).
        """
        return min(self._life, self._given)

    @property
    def _wait(self) -> float:
        """After how many seconds all is over that any founder gave, by any clock within the bound."""
        return self._awaited * STRETCH

    def _await(self, known: Known) -> None:
        """Wait for what others have given as well, such as are of an earlier version and ask nobody."""
        given = [a.longest_given for name, a in known.accounts.items() if a.founded or name in known.expelled]
        self._awaited = max([self._awaited, *given])

    def _inherit(self, expelled: Collection[str], now: float) -> None:
        """The first founder that is not expelled has the shares of all that are (R3)."""
        if self._heir(expelled) != self.name:
            return
        for name in self.founders:
            if name in expelled and name not in self._freed and name not in self._waiting:
                self._waiting[name] = now
        over = [name for name, since in self._waiting.items() if since + self._wait <= now]
        for name in over:
            del self._waiting[name]
            self._freed = (*self._freed, name)

    def _heir(self, expelled: Collection[str]) -> str:
        return next((name for name in self.founders if name not in expelled), "")

    def _unsettled(self, known: Known, others: list[str]) -> list[str]:
        """Who does not follow our total yet, or owes under another (R4)."""
        met = known.met.get(self.name, {})
        accounts = {**known.accounts, self.name: self.account()}
        heir = self._heir(known.expelled)
        unsettled = []
        for name in (self.name, *others):
            one = accounts.get(name)
            if (
                one is None
                or (name != self.name and one.origin != met.get(name))
                or (one.total, one.serial) != (self._total, self._serial)
                or one.owes
                # An expelled founder owes its share until the heir has waited for the end of all it gave.
                or (name == heir and not set(known.expelled) <= set(one.freed))
            ):
                unsettled.append(name)
        return unsettled

    def bar(self, now: float) -> None:
        """Our store had gone back in time: nothing is spent until all is over that was spent before (R5)."""
        self._barred, self._barred_since = True, now

    def take_in(self, account: Account) -> None:
        """What others have of our account from before our store went back: our word to them holds (R5)."""
        self._awaited = max(self._awaited, account.longest_awaited)
        if account.founded:
            self._given = max(self._given, account.longest_given) if self._founded else account.longest_given

    # Spending

    def pool(self, replaces: str = "") -> str | None:
        """Of whose share a right is to be had: "" for our own, None where there is none.

        `replaces`: the founder whose living right would be given up for it, "" for none.
        """
        if self._expelled or not self._founded or self._barred:
            return None
        if replaces in self._waiting:
            for name in (replaces, *self._waiting):
                if self._count(name) < self._share(name):
                    return name
        if (replaces or not self._waits_for) and self._free_spent < self.rights:
            return ""
        return None

    def spend(self, key: str, pool: str) -> None:
        """A right of `pool` was spent on `key`."""
        self._spent[key] = pool

    def give_back(self, key: str) -> None:
        """What it was spent on is over."""
        self._spent.pop(key, None)

    @property
    def rights(self) -> int:
        """What may be spent for anybody: our share, and inherited ones that are free."""
        return sum(map(self._share, (self.name, *self._freed)))

    @property
    def owes(self) -> bool:
        """Whether more is spent than the total that we follow allows."""
        return self._free_spent > self.rights or any(
            self._count(name) > self._share(name) for name in self._waiting
        )

    @property
    def excess(self) -> int:
        """How many rights too many are spent, of those that serve anybody."""
        return max(0, self._free_spent - self.rights)

    def _share(self, name: str) -> int:
        return share(self.founders.index(name), len(self.founders), self._total)

    def _count(self, pool: str) -> int:
        return sum(one == pool for one in self._spent.values())

    @property
    def _free_spent(self) -> int:
        return len(self._spent) - sum(map(self._count, self._waiting))

    def account(self) -> Account:
        """What all are told."""
        return Account(
            origin=self.origin,
            founders=self.founders,
            terms=self._terms,
            founded=self._founded and not self._expelled,
            total=self._total,
            serial=self._serial,
            peak=self._peak,
            rights=self.rights,
            spent=self._free_spent,
            owes=self.owes,
            barred=self._barred,
            freed=self._freed,
            heir_of=tuple(self._waiting),
            waits_for=self._waits_for,
            longest_given=self._given,
            longest_awaited=self._awaited,
        )


def whom_to_ask(left: Mapping[str, int], me: str) -> list[str]:
    """Founders that have a right left, in the order in which to ask them.

    Ourselves first, unless another has clearly more: so what is left stays even among them. `left`: by name.
    """
    others = sorted((name for name in left if name != me and left[name] > 0), key=lambda n: (-left[n], n))
    mine = left.get(me, 0)
    if mine <= 0:
        return others
    most = left[others[0]] if others else 0
    return [me, *others] if most <= 2 * mine + 1 else [others[0], me, *others[1:]]
