"""What Serf's agents say, and what they must hear of us."""

from dataclasses import replace
from itertools import count
from random import Random

from gossip.config import LAN
from gossip.effects import MemberChanged, Rejected, Send
from gossip.keys import Keys
from gossip.kinship import Kinship
from gossip.messages import (
    Address,
    Alive,
    Dead,
    JoinIntent,
    LeaveIntent,
    Message,
    SerfAnswer,
    SerfQuery,
    SerfState,
    State,
    User,
)
from gossip.serf import LTIME_AHEAD_MAX, Serf
from gossip.swim import Swim
from gossip.wire import decode_serf, encode_serf

EVENT = bytes((3,)) + b"anything"


class Agent:
    """What `m1` keeps of Serf, with the members `s2`, running, and `s3`, dead, and nothing left to tell."""

    def __init__(self) -> None:
        self.swim = Swim(
            name="m1",
            address=Address("10.0.0.1", 7946),
            meta=b"",
            incarnation=10,
            came_later=lambda meta: False,
            group_of=lambda meta: None,
            tokens=count(1),
            wall=lambda now: 1.8e9 + now,
            peers=(),
            config=LAN,
            random=Random(1),
            now=0.0,
        )
        for number in (2, 3):
            address = Address(f"10.0.0.{number}", 7946)
            self.swim.receive(Alive(f"s{number}", 1, address), address, 0.0)
        self.swim.receive(Dead("s3", 1, "s2"), Address("10.0.0.2", 7946), 0.0)
        keys = Keys(
            kinship=Kinship("m1", "blue", 1),
            members=self.swim.members,
            unmet=list,
            keyring=None,
            kept=False,
            random=Random(1),
        )
        self.serf = Serf("m1", self.swim, keys)
        self.told()

    def told(self) -> list[Message]:
        """What it would gossip now, once."""
        return self.swim.broadcasts.take(10**6, 0, 1, 10**6)

    def state_of(self, name: str) -> State:
        member = self.swim.members.get(name)
        assert member is not None
        return member.state

    def says(self) -> SerfState:
        state = decode_serf(self.serf.state)
        assert isinstance(state, SerfState)
        return state


def test_a_leave_intent_about_us_is_answered_by_a_newer_join_intent() -> None:
    us = Agent()
    assert us.serf.received(encode_serf(LeaveIntent(7, "m1")), 1.0) == []
    assert us.told() == [User(encode_serf(JoinIntent(8, "m1")))]
    assert dict(us.says().status_ltimes)["m1"] == 8


def test_who_holds_us_for_left_in_a_push_pull_is_answered_by_a_newer_join_intent() -> None:
    us = Agent()
    us.serf.merge(encode_serf(SerfState(9, (("m1", 7),), ("m1",))), 1.0)
    assert us.told() == [User(encode_serf(JoinIntent(9, "m1")))]


def test_an_intent_of_an_earlier_life_is_answered_once_by_a_newer_join_intent() -> None:
    """An agent that hears it only after that we are here would else list us as leaving for good."""
    us = Agent()
    for number in range(3):
        us.serf.merge(encode_serf(SerfState(9, (("m1", 12),))), 1.0)
        assert us.told() == ([] if number else [User(encode_serf(JoinIntent(14, "m1")))])
    assert dict(us.says().status_ltimes)["m1"] == 14


def test_an_intent_about_us_is_not_answered_while_we_leave() -> None:
    us = Agent()
    us.swim.leaving = True
    us.serf.received(encode_serf(LeaveIntent(7, "m1")), 1.0)
    assert us.told() == []


def test_a_dead_member_that_an_operator_declares_gone_has_left_and_others_are_told() -> None:
    us = Agent()
    said = encode_serf(LeaveIntent(7, "s3"))
    [changed] = us.serf.received(said, 1.0)
    assert isinstance(changed, MemberChanged)
    assert (changed.name, changed.after) == ("s3", State.LEFT)
    assert us.told() == [User(said)]
    assert us.serf.received(said, 2.0) == []
    assert us.told() == []


def test_an_operators_word_that_was_lost_comes_with_a_push_pull() -> None:
    us = Agent()
    theirs = encode_serf(SerfState(9, (("s2", 3), ("s3", 7)), ("s3",)))
    [changed] = us.serf.merge(theirs, 1.0)
    assert isinstance(changed, MemberChanged)
    assert (changed.name, changed.after) == ("s3", State.LEFT)
    assert us.says().left == ("s3",)


def test_exchanging_who_left_again_and_again_makes_no_times_grow() -> None:
    us = Agent()
    us.serf.merge(encode_serf(SerfState(9, (("s3", 7),), ("s3",))), 1.0)
    said = us.says()
    for _ in range(3):
        assert us.serf.merge(us.serf.state, 1.0) == []
    assert us.says().status_ltimes == said.status_ltimes


def test_an_old_word_in_a_push_pull_does_not_make_a_dead_member_left() -> None:
    us = Agent()
    us.serf.received(encode_serf(JoinIntent(8, "s3")), 1.0)
    assert us.serf.merge(encode_serf(SerfState(9, (("s3", 7),), ("s3",))), 1.0) == []
    assert us.state_of("s3") is State.DEAD


def test_a_push_pull_does_not_make_a_running_member_left() -> None:
    us = Agent()
    assert us.serf.merge(encode_serf(SerfState(9, (("s2", 7),), ("s2",))), 1.0) == []
    assert us.state_of("s2") is State.ALIVE


def test_a_query_that_asks_for_it_is_acknowledged_to_members_once() -> None:
    us, asker = Agent(), Address("10.0.0.2", 7946)
    query = SerfQuery(5, 9, asker, "_serf_ping", acked=True, source_name="s2")
    came = User(encode_serf(SerfAnswer(5, 9, "m1", ack=True)))
    assert us.serf.received(encode_serf(query), 1.0) == [Send(asker, (came,))]
    assert us.serf.received(encode_serf(query), 1.1) == []
    for odd in (
        replace(query, number=10, acked=False),
        replace(query, number=12, source=Address("10.9.9.9", 7946)),
        replace(query, number=13, source=Address("10.0.0.1", 7946)),
    ):
        assert us.serf.received(encode_serf(odd), 2.0) == []


def test_times_absurdly_far_ahead_are_not_taken() -> None:
    us = Agent()
    absurd = LTIME_AHEAD_MAX + 10
    assert us.serf.received(encode_serf(LeaveIntent(absurd, "s3")), 1.0) == [Rejected("absurd_ltime")]
    assert us.serf.merge(encode_serf(SerfState(absurd, (("s3", absurd),), ("s3",))), 1.0) == []
    assert us.state_of("s3") is State.DEAD
    assert us.says().ltime == 1


def test_a_user_event_is_passed_on_once() -> None:
    us = Agent()
    for _ in range(2):
        us.serf.received(EVENT, 1.0)
    assert us.told() == [User(EVENT)]


def test_an_operators_word_that_comes_before_the_death_holds_once_it_is_known() -> None:
    us = Agent()
    us.serf.received(encode_serf(LeaveIntent(7, "s2")), 1.0)
    assert us.state_of("s2") is State.ALIVE
    died = us.swim.receive(Dead("s2", 1, "s3"), Address("10.0.0.3", 7946), 2.0)
    assert isinstance(died[0], MemberChanged)
    us.serf.member_changed("s2", died[0].after, 2.0)
    assert us.state_of("s2") is State.LEFT


def test_an_operators_word_about_one_that_answers_after_all_is_dropped() -> None:
    us = Agent()
    us.serf.received(encode_serf(LeaveIntent(7, "s2")), 1.0)
    us.serf.received(encode_serf(JoinIntent(8, "s2")), 1.1)
    us.swim.receive(Dead("s2", 1, "s3"), Address("10.0.0.3", 7946), 2.0)
    us.serf.member_changed("s2", State.DEAD, 2.0)
    assert us.state_of("s2") is State.DEAD


def test_who_is_pruned_by_an_agents_operator_is_not_listed_any_more() -> None:
    us = Agent()
    us.serf.received(encode_serf(LeaveIntent(7, "s3")), 1.0)
    us.serf.received(encode_serf(LeaveIntent(8, "s3", prune=True)), 2.0)
    assert us.swim.members.get("s3") is None
    us.serf.received(encode_serf(LeaveIntent(9, "s2", prune=True)), 3.0)
    assert us.state_of("s2") is State.ALIVE
