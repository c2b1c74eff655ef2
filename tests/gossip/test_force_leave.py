"""An operator declares a member gone, at one manager, for all."""

from random import Random

import pytest

from gossip.effects import MemberChanged
from gossip.errors import ForceLeaveRefused
from gossip.group import Group
from gossip.messages import Address, Alive, Dead, LeaveIntent, State, Suspect, User
from gossip.wire import decode_serf

HERE = Address("10.0.0.1", 7946)


def member() -> Group:
    """m1, with s2, which is alive, s3, which is suspected, s4, which is dead, and nothing left to tell."""
    group = Group(
        name="m1",
        address=HERE,
        group_name="blue",
        tags={},
        random=Random(1),
        now=0.0,
        wall_offset=1_800_000_000.0,
    )
    for number in (2, 3, 4):
        address = Address(f"10.0.0.{number}", 7946)
        group.packet_received([Alive(f"s{number}", 1, address)], address, 0.0)
    group.packet_received([Suspect("s3", 1, "s2"), Dead("s4", 1, "s2")], Address("10.0.0.2", 7946), 0.0)
    group.swim.broadcasts.take(10**6, 0, 1, 10**6)
    return group


def told(group: Group) -> list[object]:
    """The Serf messages that it would gossip now."""
    messages = group.swim.broadcasts.take(10**6, 0, 1, 10**6)
    return [decode_serf(message.payload) for message in messages if isinstance(message, User)]


def test_a_dead_member_has_left_by_an_operators_word_and_all_are_told_as_serf_tells_it() -> None:
    group = member()
    [changed] = group.force_leave("s4", 1.0, prune=False)
    assert isinstance(changed, MemberChanged)
    assert (changed.before, changed.after) == (State.DEAD, State.LEFT)
    [intent] = told(group)
    assert isinstance(intent, LeaveIntent)
    assert (intent.node, intent.prune) == ("s4", False)


def test_nobody_looks_any_more_for_whom_an_operator_declared_gone() -> None:
    group = member()
    assert group.swim.members.lost
    group.force_leave("s4", 1.0, prune=False)
    assert not group.swim.members.lost


def test_who_was_declared_gone_comes_back_when_it_says_something_newer() -> None:
    group = member()
    group.force_leave("s4", 1.0, prune=False)
    address = Address("10.0.0.4", 7946)
    assert group.packet_received([Alive("s4", 1, address)], address, 2.0) == []
    assert MemberChanged("s4", State.LEFT, State.ALIVE, "came back") in group.packet_received(
        [Alive("s4", 2, address)], address, 2.0
    )


def test_a_pruned_member_is_not_listed_and_a_second_word_finds_nobody() -> None:
    group = member()
    group.force_leave("s4", 1.0, prune=True)
    assert group.swim.members.get("s4") is None
    [intent] = told(group)
    assert isinstance(intent, LeaveIntent)
    assert intent.prune
    with pytest.raises(KeyError):
        group.force_leave("s4", 2.0, prune=True)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("m1", "this manager itself: `kcm leave` ends it"),
        ("s2", "is alive, and would say so at once: end it by `serf leave` there"),
        ("s3", "try again when it is dead"),
    ],
)
def test_who_lives_is_not_declared_gone(name: str, why: str) -> None:
    group = member()
    with pytest.raises(ForceLeaveRefused, match=why):
        group.force_leave(name, 1.0, prune=True)
    assert told(group) == []
