"""Rights: what each founder may spend, under whatever it knows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manager.seats.rights import STRETCH, Account, Founder, Known, share, whom_to_ask

NAMES = ("a", "b", "c")
WAIT = 100.0


@dataclass
class Group:
    """Founders that hear of each other only by `tell`; each has its own idea of what is known."""

    names: tuple[str, ...] = NAMES
    founders: dict[str, Founder] = field(default_factory=dict)
    known: dict[str, Known] = field(default_factory=dict)
    totals: dict[str, tuple[int, int]] = field(default_factory=dict)
    now: float = 0.0
    numbers: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        for at, name in enumerate(self.names):
            self.founders[name] = Founder(name, self.names, "alike", 100 + at, WAIT)
            self.known[name] = Known({}, {name: {}}, {})
            self.totals[name] = (12, 1)

    def restarts(self, name: str, life: float = WAIT, names: tuple[str, ...] = NAMES) -> None:
        """With what it has on disk, and another file."""
        before, terms = self.founders[name], "alike" if life == WAIT else f"{life}"
        self.founders[name] = Founder(name, names, terms, 999, life, before.account())
        self.founders[name]._spent = before._spent
        self.look(name)

    def look(self, *names: str) -> None:
        for name in names or self.names:
            known, founder = self.known[name], self.founders[name]
            for other, account in known.accounts.items():
                ours = self.founders[name].account()
                if other != name and (account.founders, account.terms) == (ours.founders, ours.terms):
                    known.met[name].setdefault(other, account.origin)
            founder.look(known, *self.totals[name], self.now)

    def tell(self, teller: str, hearer: str) -> None:
        """`hearer` knows of `teller`'s page what stands there now."""
        known = self.known[hearer]
        known.accounts[teller] = self.founders[teller].account()
        known.met[teller] = dict(self.known[teller].met[teller])
        known.expelled |= self.known[teller].expelled
        self.look(hearer)

    def all_tell(self, among: Iterable[str] = ()) -> None:
        names = tuple(among) or self.names
        for _ in range(3):
            for teller in names:
                for hearer in names:
                    if teller != hearer:
                        self.tell(teller, hearer)

    def founded(self) -> "Group":
        self.look()
        self.all_tell()
        return self

    def follow(self, total: int, serial: int, *names: str) -> None:
        for name in names or self.names:
            self.totals[name] = (total, serial)
        self.look(*names or self.names)

    def spend(self, name: str, count: int, replaces: str = "") -> int:
        """Spend up to `count`; gives how many there were."""
        founder = self.founders[name]
        for at in range(count):
            pool = founder.pool(replaces)
            if pool is None:
                return at
            founder.spend(f"{name}{next(self.numbers)}", pool)
        return count

    def spent(self, name: str) -> int:
        return len(self.founders[name]._spent)

    def all_spent(self) -> int:
        return sum(map(self.spent, self.names))


# Shares


@given(st.integers(1, 16), st.integers(0, 10_000))
def test_shares_sum_up_to_the_total(count: int, total: int) -> None:
    assert sum(share(at, count, total) for at in range(count)) == total


@given(st.lists(st.integers(0, 1_000), min_size=1, max_size=9))
def test_founders_that_follow_different_totals_stay_within_the_largest(totals: list[int]) -> None:
    assert sum(share(at, len(totals), total) for at, total in enumerate(totals)) <= max(totals)


# Founding (R1)


def test_nothing_is_spent_before_all_have_said_yes() -> None:
    group = Group()
    group.look()
    assert group.spend("a", 1) == 0
    group.all_tell(("a", "b"))
    assert group.founders["a"].account().waits_for == ("c",)
    assert group.spend("a", 1) == 0
    group.all_tell()
    assert group.spend("a", 9) == 4


def test_all_that_start_at_once_found_each_other() -> None:
    group = Group().founded()
    assert all(founder.account().founded for founder in group.founders.values())


def test_a_founder_whose_store_is_lost_is_not_met_again() -> None:
    group = Group().founded()
    group.spend("b", 4)
    group.founders["b"] = Founder("b", NAMES, "alike", 999, WAIT)
    group.known["b"] = Known({}, {"b": {}}, {})
    group.founders["b"]._spent.clear()
    group.all_tell()
    assert group.spend("b", 1) == 0
    assert group.founders["b"].account().waits_for == ("a", "c")


def test_a_founder_that_restarts_with_its_store_goes_on_at_once() -> None:
    group = Group().founded()
    before = group.founders["b"].account()
    again = Founder("b", NAMES, "alike", 999, WAIT, before)
    again.look(Known({}, {}, {}), 12, 1, 5.0)
    assert again.origin == before.origin
    assert again.pool() == ""


def test_a_yes_that_was_given_for_another_list_founds_nobody() -> None:
    group = Group()
    group.look()
    group.all_tell(("a", "b"))
    group.all_tell(("b", "c"))
    group.restarts("a", names=("a", "b"))
    assert group.founders["a"].account().waits_for == ("b",)
    assert group.spend("a", 12) == 0, "with b's and c's shares of three it would be fourteen of twelve"
    assert group.spend("b", 12) == 4
    group.restarts("a")
    group.all_tell()
    assert group.spend("a", 12) == group.spend("c", 12) == 4


def test_a_yes_that_was_given_for_another_life_founds_nobody() -> None:
    group = Group()
    group.look()
    group.all_tell(("a", "b"))
    group.all_tell(("b", "c"))
    group.restarts("a", 4 * WAIT)
    group.known["a"].met["c"] = {"a": 100}
    group.known["a"].accounts["c"] = group.founders["c"].account()
    group.look("a")
    assert group.founders["a"].account().waits_for == ("b", "c")


# How long it goes on without its founder (R3)


def test_a_longer_life_is_given_once_all_that_may_inherit_wait_for_its_end() -> None:
    group = Group().founded()
    group.restarts("a", 4 * WAIT)
    group.all_tell()
    assert group.founders["a"].life == WAIT
    group.restarts("b", 4 * WAIT)
    group.all_tell()
    assert group.founders["a"].life == WAIT
    group.restarts("c", 3 * WAIT)
    group.all_tell()
    assert [group.founders[name].life for name in NAMES] == [3 * WAIT] * 3, "c waits for no more"


def test_what_a_longer_life_was_given_for_is_over_when_its_share_is_free() -> None:
    group = Group().founded()
    for name in NAMES:
        group.restarts(name, 4 * WAIT)
        group.all_tell()
    group.restarts("b")
    assert group.founders["b"].life == WAIT
    group.known["b"].accounts.pop("a")
    group.known["b"].expelled["a"] = None
    group.look("b")
    assert group.founders["b"].next_deadline() == 4 * WAIT * STRETCH
    group.now = 4 * WAIT
    group.look("b")
    assert group.spend("b", 9) == 4
    group.now = 4 * WAIT * STRETCH
    group.look("b")
    assert group.spend("b", 9) == 4


def test_after_a_restart_without_any_page_of_others_the_life_is_the_one_from_before() -> None:
    group = Group().founded()
    group.restarts("a", 4 * WAIT)
    group.known["a"] = Known({}, {"a": {}}, {})
    group.restarts("a", 4 * WAIT)
    assert group.founders["a"].life == WAIT
    for name in ("b", "c"):
        group.restarts(name, 4 * WAIT)
    group.all_tell()
    group.known["a"] = Known({}, {"a": {}}, {})
    group.restarts("a", 4 * WAIT)
    assert group.founders["a"].life == 4 * WAIT
    group.restarts("a", 2 * WAIT)
    assert group.founders["a"].life == 2 * WAIT


def test_terms_round_and_lives_that_are_alike_by_them_are_the_shorter_one() -> None:
    group = Group()
    group.founders["a"] = Founder("a", NAMES, "alike", 100, WAIT + 1e-3)
    group.founded()
    assert group.founders["a"].life == WAIT
    assert group.founders["b"].life == WAIT


def test_who_is_expelled_need_not_wait_for_a_longer_life() -> None:
    group = Group().founded()
    for name in ("a", "b"):
        group.known[name].expelled["c"] = None
        group.restarts(name, 4 * WAIT)
    group.all_tell(("a", "b"))
    assert group.founders["a"].life == group.founders["b"].life == 4 * WAIT


def test_a_store_that_is_lost_does_not_promise_to_wait_for_the_former_one() -> None:
    group = Group(("a", "b")).founded()
    group.founders["b"] = Founder("b", ("a", "b"), "longer", 999, 4 * WAIT)
    group.restarts("a", 4 * WAIT, ("a", "b"))
    group.all_tell(("a", "b"))
    assert group.founders["a"].life == WAIT


def test_whoever_asks_nobody_before_it_gives_a_longer_life_is_waited_for_as_well() -> None:
    """A manager of an earlier version."""
    group = Group().founded()
    account = replace(group.founders["c"].account(), longest_given=9 * WAIT)
    group.known["b"].accounts["c"] = account
    group.look("b")
    group.restarts("b")
    assert group.founders["b"].account().longest_awaited == 9 * WAIT
    group.known["a"].accounts["c"] = replace(account, founded=False, longest_given=WAIT, longest_awaited=1e9)
    group.look("a")
    group.known["a"].accounts["c"] = replace(account, founded=False)
    group.look("a")
    assert group.founders["a"].account().longest_awaited == WAIT, "nobody has given what only a file says"


# Expelling (R3)


def test_the_first_that_remains_has_the_shares_of_the_expelled_after_a_wait() -> None:
    group = Group().founded()
    group.spend("a", 4)
    group.spend("b", 4)
    group.known["a"].expelled["b"] = None
    group.look("a")
    assert group.spend("a", 1) == 0
    group.now = WAIT * STRETCH + 1
    group.look("a")
    assert group.founders["a"].account().freed == ("b",)
    assert group.spend("a", 9) == 4


def test_within_the_wait_only_a_living_right_of_the_expelled_is_replaced() -> None:
    group = Group().founded()
    group.spend("a", 4)
    group.spend("b", 4)
    group.known["a"].expelled["b"] = None
    group.look("a")
    assert group.spend("a", 9, replaces="c") == 0
    assert group.spend("a", 9, replaces="b") == 4
    group.founders["a"].give_back("a8")
    assert group.spend("a", 1) == 0, "it came back, and is still bound"
    assert group.spend("a", 9, replaces="b") == 1


def test_heirs_follow_from_the_notes_alone() -> None:
    one, two = Group().founded(), Group().founded()
    one.known["c"].expelled |= {"a": None, "b": None}
    two.known["c"].expelled |= {"b": None, "a": None}
    for group in (one, two):
        group.look("c")
        assert group.founders["c"].account().heir_of == ("a", "b")


def test_who_is_expelled_spends_nothing() -> None:
    group = Group().founded()
    group.known["b"].expelled["b"] = None
    group.look("b")
    assert group.spend("b", 1) == 0


# A lower total (R4)


def test_under_a_lowered_total_nothing_is_spent_before_nobody_owes() -> None:
    group = Group().founded()
    group.spend("a", 4)
    group.follow(6, 2)
    group.all_tell()
    assert group.founders["a"].account().owes
    assert group.spend("b", 2) == group.spend("c", 2) == 0, "with a's four it would be eight of six"
    for key in ("a0", "a1"):
        group.founders["a"].give_back(key)
    group.look("a")
    group.all_tell()
    assert group.spend("b", 9) == group.spend("c", 9) == 2
    assert group.all_spent() == 6


def test_what_a_founder_says_that_was_met_at_another_origin_settles_nothing() -> None:
    group = Group().founded()
    group.spend("b", 4)
    kept = group.founders["b"]
    group.founders["b"] = Founder("b", NAMES, "alike", 999, WAIT)
    group.follow(6, 2)
    group.all_tell()
    assert not group.founders["b"].account().owes
    assert group.spend("a", 1) == 0, "with the four of the store that is lost it would be eight of six"
    assert group.founders["a"].account().waits_for == ("b",)
    group.founders["b"] = kept
    kept.give_back("b0")
    kept.give_back("b1")
    group.look("b")
    group.all_tell()
    assert group.spend("a", 9) == 2


def test_whoever_gives_up_a_living_right_need_not_wait() -> None:
    group = Group().founded()
    group.spend("a", 4)
    group.follow(6, 2)
    group.all_tell()
    assert group.spend("b", 9, replaces="a") == 2


def test_a_total_that_comes_back_is_another_one() -> None:
    group = Group().founded()
    group.follow(6, 2)
    group.all_tell()
    group.follow(12, 3, "a")
    group.spend("a", 4)
    group.follow(12, 3, "b")
    group.follow(6, 4, "b", "c")
    group.look("b")
    assert group.spend("b", 1) == 0, "what b knows of a is of the time before it was raised"


def test_after_a_restart_it_is_still_known_that_a_higher_total_was_followed() -> None:
    group = Group().founded()
    group.spend("a", 4)
    again = Founder("b", NAMES, "alike", 1, WAIT, group.founders["b"].account())
    group.founders["b"] = again
    group.follow(6, 2, "b")
    assert group.spend("b", 1) == 0


def test_what_was_to_be_waited_for_is_waited_for_from_the_very_start_of_a_new_process() -> None:
    group = Group()
    group.all_tell()
    for name in NAMES:
        group.totals[name] = (6, 2)
    group.look("a")
    before = group.founders["a"].account()
    assert before.waits_for == ("b", "c")
    assert Founder("a", NAMES, "alike", 999, WAIT, before).pool() is None


def test_an_expelled_founder_owes_its_share_until_the_wait_is_over() -> None:
    group = Group().founded()
    group.spend("c", 4)
    for name in ("a", "b"):
        group.known[name].expelled["c"] = None
    group.follow(6, 2, "a", "b")
    group.all_tell(("a", "b"))
    assert group.spend("b", 1) == 0
    group.now = WAIT * STRETCH + 1
    group.look("a", "b")
    group.all_tell(("a", "b"))
    assert group.spend("b", 9) == 2


# A store that went back (R5)


def test_who_went_back_in_time_spends_nothing_for_the_longest_life() -> None:
    group = Group().founded()
    group.founders["a"].bar(0.0)
    group.now = WAIT
    group.look("a")
    assert group.spend("a", 1) == 0
    group.now = WAIT * STRETCH + 1
    group.look("a")
    assert group.spend("a", 9) == 4


def test_after_a_restart_the_wait_begins_anew() -> None:
    founder = Group().founded().founders["a"]
    founder.bar(0.0)
    again = Founder("a", NAMES, "alike", 1, WAIT, founder.account())
    again.look(Known({}, {}, {}), 12, 1, 1_000.0)
    assert again.account().barred
    assert again.next_deadline() == 1_000.0 + WAIT * STRETCH


def test_who_went_back_in_time_keeps_its_word_to_others() -> None:
    group = Group().founded()
    older = group.founders["b"]
    for name in NAMES:
        group.restarts(name, 4 * WAIT)
    group.all_tell()
    newer = group.known["a"].accounts["b"]
    older.take_in(replace(newer, longest_given=2 * WAIT, longest_awaited=3 * WAIT))
    older.take_in(replace(newer, longest_given=4 * WAIT, longest_awaited=WAIT))
    account = older.account()
    assert (account.longest_given, account.longest_awaited) == (4 * WAIT, 3 * WAIT)
    older.take_in(newer)
    older.bar(0.0)
    group.founders["b"] = older
    group.now = 4 * WAIT
    group.look("b")
    assert group.spend("b", 1) == 0


# Whom to ask


@pytest.mark.parametrize(
    ("left", "order"),
    [
        ({"me": 5, "b": 5, "c": 9}, ["me", "c", "b"]),
        ({"me": 2, "b": 5, "c": 6}, ["c", "me", "b"]),
        ({"me": 0, "b": 1, "c": 1}, ["b", "c"]),
        ({"b": 0}, []),
        ({"me": 1}, ["me"]),
    ],
)
def test_who_has_most_left_is_asked_and_oneself_where_that_is_no_clear_difference(
    left: dict[str, int], order: list[str]
) -> None:
    assert whom_to_ask(left, "me") == order


# Random schedules


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_in_no_schedule_more_is_spent_than_the_highest_total_that_a_founder_follows_or_owes_under(
    seed: int,
) -> None:
    random, group, serial, owed = Random(seed), Group(), 1, dict.fromkeys(NAMES, 0)
    for _ in range(random.randrange(20, 120)):
        name = random.choice(NAMES)
        match random.randrange(6):
            case 0 | 1:
                other = random.choice(NAMES)
                if other != name:
                    group.tell(name, other)
            case 2:
                group.spend(name, random.randrange(1, 5))
            case 3:
                founder = group.founders[name]
                for key in random.sample(sorted(founder._spent), min(2, len(founder._spent))):
                    founder.give_back(key)
                group.look(name)
            case 4 if random.random() < 0.4:
                serial += 1
                group.follow(random.choice((0, 1, 3, 6, 12, 13)), serial, name)
            case _:
                before = group.founders[name].account()
                again = Founder(name, NAMES, "alike", random.getrandbits(32), WAIT, before)
                again._spent = group.founders[name]._spent
                group.founders[name] = again
                group.look(name)
        for each, founder in group.founders.items():
            account = founder.account()
            owed[each] = max(owed[each], account.total) if account.owes else account.total
        assert group.all_spent() <= max(owed.values())


def test_what_is_said_counts_up() -> None:
    group = Group().founded()
    group.spend("a", 3)
    account = group.founders["a"].account()
    assert (account.rights, account.spent, account.room, account.left) == (4, 3, 1, 1)
    assert Account(origin=1, founders=NAMES, terms="").left == 0
