"""Turns: who gives them, how they are asked for, and what stands still where they cannot be had."""

from dataclasses import replace

import pytest

from manager.records import RESTART, TURN, Turn
from manager.rollout.turns import PATIENCE, WANT, Turns, Want
from manager.seats.founders import Founders
from manager.seats.rights import Account
from tests.manager.running import Running

KIND, NAMES = "nginx", ("m1", "m2", "m3")
FOUNDED = Account(origin=1, founders=NAMES, terms="", founded=True)


def turn(serial: int = 5, writer: str = "m1") -> Turn:
    return Turn(serial, writer, (1, 7))


class Group:
    """m1's turns, in a group of three founders; `back` are the ids of nodes that have come back."""

    def __init__(self, *, founders: bool = True) -> None:
        self.running = Running()
        self.running.wait(10.0)
        self.back: set[str] = set()
        core = self.running.core
        self.ledger = core.group.ledger
        self.founders = Founders(self.ledger, NAMES)
        for name in NAMES[1:]:
            self.running.meets(name, f"10.0.0.{name[1:]}")
        for name in NAMES:
            self.founders.known.accounts[name] = FOUNDED
        self.turns = Turns(core.group, core._outbox, self.founders if founders else None, self._holds)

    def _holds(self, purpose: str, id_: str, turn: Turn) -> str:
        return "" if id_ in self.back else KIND

    def want(self, id_: str, most: int = 1, now: float = 0.0) -> bool:
        return self.turns.want(TURN, id_, turn(), KIND, most, now)

    def asked(self, id_: str) -> str:
        """Of whom a turn is wanted for the node; empty for nobody."""
        value = self.ledger.own.get(WANT + id_)
        return "" if value is None else Want.unpack(value).founder

    def gives(self, founder: str, id_: str) -> None:
        self.turns.page_changed(founder, TURN + id_, turn().pack())


@pytest.fixture
def group() -> Group:
    return Group()


def test_without_founders_who_conducts_gives_them_and_only_its_own_count_for_its_plan() -> None:
    group = Group(founders=False)
    assert group.want("n1")
    assert group.turns.has(TURN, "n1", turn(), "m1")
    group.turns.page_changed("m2", TURN + "n2", turn().pack())
    assert not group.turns.has(TURN, "n2", turn(), "m1")
    assert set(group.turns.held(KIND)) == {"n1", "n2"}


def test_each_founder_gives_its_own_share_and_no_more(group: Group) -> None:
    # Of 2 the first two have one each, of 1 the first alone.
    assert group.turns.left(KIND, 2) == {"m1": 1, "m2": 1, "m3": 0}
    assert group.want("n1", most=2)
    assert not group.want("n2", most=2)
    assert (group.asked("n1"), group.asked("n2")) == ("", "m2")
    assert set(group.turns.wanted(KIND)) == {"n2"}
    assert not group.want("n3", most=2)
    assert group.asked("n3") == ""


def test_a_turn_that_was_wanted_counts_when_its_founder_has_given_it(group: Group) -> None:
    group.want("n1", most=2)
    group.want("n2", most=2)
    group.gives("m2", "n2")
    assert group.turns.look(0.5) == []
    assert (group.asked("n2"), group.turns.wanted(KIND)) == ("", {})
    assert group.turns.has(TURN, "n2", turn(), "whoever conducts")
    assert group.turns.left(KIND, 2) == {"m1": 0, "m2": 0, "m3": 0}
    group.back.add("n2")
    assert group.turns.left(KIND, 2)["m2"] == 1


def test_a_founder_that_does_not_answer_is_left_for_another(group: Group) -> None:
    for id_ in ("n1", "n2"):
        group.want(id_, most=5)
    assert not group.want("n3", most=5)
    assert group.asked("n3") == "m2"
    group.turns.look(PATIENCE - 0.1)
    assert group.asked("n3") == "m2"
    group.turns.look(PATIENCE)
    assert group.asked("n3") == "m3"


@pytest.mark.parametrize("why", ["away", "expelled", "not founded", "its store went back"])
def test_who_may_give_nothing_is_not_asked_and_the_refusal_says_who_has_them(group: Group, why: str) -> None:
    match why:
        case "away":
            group.running.loses("m2")
            group.running.wait(60.0)
        case "expelled":
            group.founders.known.expelled["m2"] = None
        case "not founded":
            group.founders.known.accounts["m2"] = replace(FOUNDED, founded=False)
        case _:
            group.founders.known.accounts["m2"] = replace(FOUNDED, barred=True)
    assert group.want("n1", most=2)
    assert not group.want("n2", most=2)
    assert group.asked("n2") == ""
    refusal = group.turns.refusal(KIND, 2)
    assert "taken: n1" in refusal
    assert "turns of m2 cannot be had" in refusal


def test_a_founder_gives_what_others_ask_for_as_long_as_some_are_left(group: Group) -> None:
    for number in (1, 2):
        want = Want("m1", RESTART, turn(number, "m2"))
        group.turns.page_changed("m2", f"{WANT}n{number}", want.pack())
    group.turns.page_changed("m3", WANT + "n3", Want("m2", TURN, turn()).pack())
    assert [(id_, want.purpose) for id_, want in group.turns.asked()] == [("n1", RESTART), ("n2", RESTART)]
    assert group.turns.can_give("n1", KIND, 1)
    group.turns.give(RESTART, "n1", turn(1, "m2"))
    assert not group.turns.can_give("n2", KIND, 1)
    assert not group.turns.can_give("n1", KIND, 9), "it may still be out by the one that it has"
    group.back.add("n1")
    assert group.turns.can_give("n2", KIND, 1)


def test_turns_of_whoever_is_no_founder_let_nobody_out(group: Group) -> None:
    group.turns.page_changed("stranger", TURN + "n1", turn().pack())
    assert not group.turns.has(TURN, "n1", turn(), "stranger")
    assert "n1" in group.turns.held(KIND), "but whoever sees it counts it"


def test_what_a_founder_gave_stands_over_its_restart(group: Group) -> None:
    group.turns.recall([(TURN + "n1", turn().pack()), (RESTART + "n2", turn(9).pack()), ("node/n3", b"")])
    assert (group.turns.own(TURN), group.turns.own(RESTART)) == ({"n1": turn()}, {"n2": turn(9)})
    assert group.ledger.own.get(RESTART + "n2") == turn(9).pack()
    group.turns.end(RESTART, "n2")
    assert group.ledger.own.get(RESTART + "n2") is None


@pytest.mark.parametrize("forged", [b"", b"\x01", b"\x91\x01"])
def test_what_is_no_want_and_no_turn_is_passed_over(group: Group, forged: bytes) -> None:
    for key in (WANT + "n1", TURN + "n1", RESTART + "n1"):
        group.turns.page_changed("m2", key, forged)
    assert (list(group.turns.asked()), group.turns.held(KIND)) == ([], {})
