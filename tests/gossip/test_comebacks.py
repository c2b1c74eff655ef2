"""A member that comes back from the dead again and again: once given up, it then has time to answer."""

from dataclasses import replace

from gossip.comebacks import Comebacks
from gossip.config import LAN
from gossip.messages import Ack, Alive, Dead, Ping, State, Suspect
from gossip.swim import Swim
from tests.gossip.test_swim import address, sent, state_of, swim

OTHERS = ("m2", "m3", "m4", "m5", "m6")
RETURN = Alive("m2", 2, address(2))


def run(core: Swim, start: float, end: float) -> None:
    """All but `m2` answer."""
    now = start
    while (now := max(now, core.next_deadline())) < end:
        for to, messages in sent(core.tick(now)):
            match messages[0]:
                case Ping(number, target) if target != "m2":
                    core.receive(Ack(number), to, now)


def lasts(core: Swim, start: float) -> float:
    """For how long `m2`, accused by all at `start`, is only suspected."""
    member = core.members.get("m2")
    assert member is not None
    for accuser in OTHERS[1:]:
        core.receive(Suspect("m2", member.incarnation, accuser), address(3), start)
    assert member.suspicion is not None
    return core._claims.suspects._end(member) - start


def returned(alive: Alive = RETURN) -> Swim:
    """`m2` was declared dead, and is back at 10 s."""
    core = swim(*OTHERS)
    core.receive(Dead("m2", 1, "m3"), address(3), 5.0)
    run(core, 5.0, 10.0)
    core.receive(alive, alive.address, 10.0)
    assert state_of(core, "m2") is State.ALIVE
    return core


def test_who_came_back_from_the_dead_is_next_given_up_as_slowly_as_if_nobody_confirmed_it() -> None:
    assert lasts(returned(), 31.0) == 24.0


def test_where_that_was_a_while_ago_it_is_given_up_as_quickly_as_ever() -> None:
    assert lasts(returned(), 41.0) == 3.0


def test_who_is_another_process_than_before_is_given_up_as_quickly_as_ever() -> None:
    assert lasts(returned(replace(RETURN, meta=b"new start")), 31.0) == 3.0
    assert lasts(returned(replace(RETURN, address=address(9))), 31.0) == 3.0


def test_whom_another_declares_dead_is_dead_whenever_it_came_back() -> None:
    """The group agrees, also with agents, and with a member that came later: the least patient decides."""
    core = returned()
    core.receive(Dead("m2", 2, "m3"), address(3), 11.0)
    assert state_of(core, "m2") is State.DEAD


def test_a_refutation_that_came_after_the_usual_time_counts_as_one_more_return() -> None:
    core = returned()
    assert lasts(core, 31.0) == 24.0
    core.receive(replace(RETURN, incarnation=3), address(2), 50.0)
    assert lasts(core, 109.0) == 24.0


def test_one_that_came_at_once_does_not() -> None:
    core = returned()
    assert lasts(core, 31.0) == 24.0
    core.receive(replace(RETURN, incarnation=3), address(2), 32.0)
    assert lasts(core, 41.0) == 3.0


def test_patience_doubles_with_each_return_up_to_eight_minutes_and_ten_quiet_minutes_end_it() -> None:
    comebacks, now = Comebacks(LAN), 0.0
    for patience in (30.0, 60.0, 120.0, 240.0, 480.0, 480.0):
        now += 500.0
        comebacks.note("m2", now)
        assert comebacks.lately("m2", now + patience - 1.0)
        assert not comebacks.lately("m2", now + patience + 1.0)
    comebacks.note("m2", now + 601.0)
    assert not comebacks.lately("m2", now + 601.0 + 31.0)


def test_however_many_come_back_a_bounded_number_is_remembered() -> None:
    comebacks = Comebacks(LAN)
    for number in range(5000):
        comebacks.note(f"m{number}", 1.0)
    assert len(comebacks._of) == 1024
    assert comebacks.lately("m4999", 2.0)
    assert not comebacks.lately("m1", 2.0)
