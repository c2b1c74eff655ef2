"""A member of whom little is heard: it alone knows, and lets itself be given up until it is heard."""

from dataclasses import replace
from itertools import count, cycle
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gossip.config import LAN, GossipConfig
from gossip.effects import CameBack, MemberChanged, OpenStream, Output, Send, StoodAside
from gossip.hearing import ACCUSATIONS, ACCUSERS, ANSWERED, PINGS, UNANSWERED, is_heard_again, is_unheard
from gossip.messages import Ack, Alive, Dead, Ping, PushPull, State, Suspect
from gossip.swim import Swim
from tests.gossip.test_swim import ME, WALL, address, told

OTHERS = ("m2", "m3", "m4", "m5")
ANYBODY = st.lists(st.sampled_from(OTHERS), max_size=60)
PINGED = st.lists(st.booleans(), max_size=PINGS)


@given(ANYBODY, st.floats(0, 100), PINGED)
def test_neither_few_accusers_nor_accusations_that_our_pings_belie_are_enough(
    accusers: list[str], usual: float, answered: list[bool]
) -> None:
    if is_unheard(accusers, usual, answered):
        assert len(set(accusers)) >= ACCUSERS
        assert len(accusers) >= ACCUSATIONS
        assert len(accusers) >= ACCUSATIONS * usual
        assert answered.count(False) >= UNANSWERED


@given(ANYBODY, st.floats(0, 100), PINGED, st.sampled_from(OTHERS))
def test_one_more_accusation_never_speaks_for_us_and_what_others_suffer_never_against_us(
    accusers: list[str], usual: float, answered: list[bool], another: str
) -> None:
    if is_unheard(accusers, usual, answered):
        assert is_unheard([*accusers, another], usual, answered)
        assert is_unheard(accusers, usual / 2, answered)


@given(PINGED)
def test_nobody_is_heard_and_unheard_by_the_same_pings(answered: list[bool]) -> None:
    assert not (is_heard_again(answered) and is_unheard(OTHERS * 20, 0.0, answered))
    assert is_heard_again([True] * ANSWERED)


def member(config: GossipConfig = LAN) -> Swim:
    """`m1`, which has met `OTHERS`."""
    core = Swim(
        name="m1",
        address=ME,
        meta=b"",
        incarnation=10,
        came_later=lambda meta: False,
        group_of=lambda meta: None,
        tokens=count(1),
        wall=lambda now: WALL + now,
        peers=(),
        config=config,
        random=Random(1),
        now=0.0,
    )
    for name in OTHERS:
        core.receive(Alive(name, 1, address(int(name[1:]))), address(2), 0.0)
    return core


def live(
    core: Swim, start: float, end: float, *, directly: bool, accusers: tuple[str, ...] = OTHERS
) -> list[Output]:
    """All answer it, `directly` or by TCP alone, and `accusers` in turn hold it for a suspect each second."""
    output: list[Output] = []
    turn, now, accused_at = cycle(accusers), start, start
    while now < end:
        now = min(max(now, core.next_deadline()), accused_at)
        some = core.tick(now)
        if now >= accused_at:
            accused_at += 1.0
            if accusers:
                accuser = next(turn)
                incarnation = core.members.me.incarnation
                some += core.receive(Suspect("m1", incarnation, accuser), address(int(accuser[1:])), now)
        for item in some:
            match item:
                case Send(to, (Ping(number), *_)) if directly:
                    core.receive(Ack(number), to, now)
                case OpenStream(token, _, Ping(number)):
                    core.stream_answered(token, Ack(number), now)
                case OpenStream(token):
                    core.stream_answered(token, None, now)
                case _:
                    pass
        output += some
    return output


def test_whom_all_accuse_and_none_answers_directly_stands_aside_and_refutes_no_more() -> None:
    core = member()
    output = live(core, 1.0, 120.0, directly=False)
    assert output.count(StoodAside()) == 1
    assert core.members.me.state is State.SUSPECT
    told(core)
    incarnation = core.members.me.incarnation
    for claim in (Suspect("m1", incarnation, "m2"), Dead("m1", incarnation, "m2")):
        assert core.receive(claim, address(2), 120.0) == []
    assert core.receive(Suspect("m1", incarnation - 1, "m2"), address(2), 120.0) == []
    assert core.members.me.incarnation == incarnation
    assert told(core) == []


def test_whoever_asks_is_told_by_who_stands_aside_that_it_is_a_suspect() -> None:
    core = member()
    live(core, 1.0, 120.0, directly=False)
    table, _ = core.table_received(PushPull(False, ()), 120.0)
    assert [entry.state for entry in table.members if entry.name == "m1"] == [State.SUSPECT]


def test_who_stands_aside_accuses_nobody() -> None:
    core = member()
    live(core, 1.0, 120.0, directly=False)
    now, output = 120.0, list[Output]()
    while now < 150.0:
        now = max(now, core.next_deadline())
        output += core.tick(now)
    assert not any(isinstance(item, MemberChanged) for item in output)


def test_once_its_pings_are_answered_it_says_that_it_is_there() -> None:
    core = member()
    live(core, 1.0, 120.0, directly=False)
    incarnation = core.members.me.incarnation
    assert CameBack() not in live(core, 120.0, 125.0, directly=True)
    output = live(core, 125.0, 135.0, directly=True, accusers=())
    assert output.count(CameBack()) == 1
    assert core.members.me.state is State.ALIVE
    assert core.members.me.incarnation == incarnation + 1
    said = [message for item in output if isinstance(item, Send) for message in item.messages]
    assert core.members.me.alive() in said


def test_who_is_left_with_two_others_stands_aside_no_longer() -> None:
    core = member()
    live(core, 1.0, 120.0, directly=False)
    for name in ("m4", "m5"):
        core.receive(Dead(name, 1, name), address(2), 120.0)
    assert CameBack() in live(core, 120.0, 122.0, directly=False, accusers=())


def test_accusations_alone_make_nobody_stand_aside_however_many() -> None:
    """Without a key anybody can forge them."""
    assert StoodAside() not in live(member(), 1.0, 200.0, directly=True)


def test_two_accusers_make_nobody_stand_aside() -> None:
    assert StoodAside() not in live(member(), 1.0, 200.0, directly=False, accusers=("m2", "m3"))


def test_where_others_have_to_refute_too_it_is_the_network_and_nobody_stands_aside() -> None:
    core, now, output = member(), 1.0, list[Output]()
    for incarnation in count(2):
        for name in OTHERS:
            core.receive(Alive(name, incarnation, address(int(name[1:]))), address(2), now)
        output += live(core, now, now + 5.0, directly=False)
        if (now := now + 5.0) > 200.0:
            break
    assert StoodAside() not in output


def test_who_is_called_late_again_and_again_blames_itself_and_does_not_stand_aside() -> None:
    core, now, output = member(), 1.0, list[Output]()
    while now < 200.0:
        output += live(core, now, now + 10.0, directly=False)
        now += 13.0
    assert StoodAside() not in output


def test_with_memberlists_rules_nobody_stands_aside() -> None:
    core = member(replace(LAN, stands_aside=False))
    assert StoodAside() not in live(core, 1.0, 200.0, directly=False)


def test_who_leaves_while_it_stands_aside_has_left() -> None:
    core = member()
    live(core, 1.0, 120.0, directly=False)
    core.depart()
    live(core, 120.0, 150.0, directly=True, accusers=())
    assert core.members.me.state is State.LEFT
