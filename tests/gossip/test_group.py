"""A member as a whole: how it tells what it wrote, and when it may go."""

from random import Random

from gossip.effects import OpenStream, Output, Send
from gossip.group import Group
from gossip.kinship import LEDGER_PROTOCOL, TAG_GROUP, TAG_SPEAKS, TAG_STARTED
from gossip.ledger_messages import Heard, Push, Sender
from gossip.messages import OUR_VERSIONS, Address, Alive, Dead, Suspect, User
from gossip.pages import NOTHING, Entry, Mark, Piece
from gossip.wire import encode_tags
from gossip.wire.ledger import PREFIX, decode_ledger, encode_ledger

M2 = Address("10.0.0.2", 7946)
S3 = Address("10.0.0.3", 7946)


def member() -> Group:
    """m1, with m2 of the same group, and something written that m2 has not answered for."""
    group = Group(
        name="m1",
        address=Address("10.0.0.1", 7946),
        group_name="blue",
        tags={},
        random=Random(1),
        now=0.0,
        wall_offset=1_800_000_000.0,
    )
    meta = encode_tags({TAG_SPEAKS: LEDGER_PROTOCOL, TAG_GROUP: "blue", TAG_STARTED: "0" * 16})
    group.packet_received([Alive("m2", 1, M2, meta, OUR_VERSIONS)], M2, 0.0)
    group.ledger.put("key", b"value")
    group.flush(0.0)
    return group


def comes_back(group: Group, now: float) -> None:
    """m2 is called dead, and alive again: what it has is not known any more."""
    alive = group.swim.members.get("m2")
    assert alive is not None
    group.packet_received([Dead("m2", 1, "m3")], S3, now)
    group.packet_received([Alive("m2", 2, M2, alive.meta, OUR_VERSIONS)], M2, now)


def m2_has_heard_all(group: Group, now: float) -> list[Output]:
    said = Heard(Sender("m2", 0), "m1", group.ledger.own.mark, NOTHING)
    group.packet_received([User(encode_ledger(said))], M2, now)
    return group.flush(now)


def departures(output: list[Output]) -> set[Address]:
    return {
        item.address
        for item in output
        if isinstance(item, Send) and any(isinstance(message, Dead) for message in item.messages)
    }


def test_an_entry_that_fits_into_no_packet_is_told_by_a_stream_and_others_are_not() -> None:
    group = member()
    for size, streams in ((1000, 0), (1400, 1), (4000, 1)):
        m2_has_heard_all(group, 1.0)
        group.ledger.put("key", b"v" * size)
        told = [item for item in group.flush(1.0) if isinstance(item, Send | OpenStream)]
        assert sum(isinstance(item, OpenStream) for item in told) == streams, size
        assert sum(isinstance(item, Send) for item in told) == 1 - streams, size


def test_among_kin_a_member_departs_as_soon_as_all_have_what_it_wrote() -> None:
    group = member()
    assert not departures(group.leave(1.0) + group.flush(1.0))
    assert departures(m2_has_heard_all(group, 1.01)) == {M2}


def test_who_leaves_asks_those_that_have_come_back_whether_they_have_what_it_wrote() -> None:
    group = member()
    m2_has_heard_all(group, 1.0)
    comes_back(group, 2.0)
    asked = group.leave(3.0) + group.flush(3.0)
    assert not departures(asked)
    messages = [message for item in asked if isinstance(item, Send) for message in item.messages]
    payloads = [message.payload for message in messages if isinstance(message, User)]
    told = [decode_ledger(payload) for payload in payloads if payload.startswith(PREFIX)]
    last = group.ledger.piece("m1", Mark(group.ledger.own.generation, group.ledger.own.version - 1))
    assert last is not None
    assert [message.pieces for message in told if isinstance(message, Push)] == [(last,)]
    assert departures(m2_has_heard_all(group, 3.01)) == {M2}


def test_a_member_departs_although_somebody_does_not_answer_for_what_it_wrote() -> None:
    group = member()
    group.leave(1.0)
    assert departures(group.tick(1.6)) == {M2}


def test_an_agent_has_time_to_hear_that_a_member_means_to_leave() -> None:
    group = member()
    group.packet_received([Alive("s3", 1, S3, b"", OUR_VERSIONS)], S3, 0.5)
    group.leave(1.0)
    assert not departures(m2_has_heard_all(group, 1.01))
    assert departures(group.tick(1.6)) == {M2, S3}


def test_a_packet_of_a_hundred_outdated_accusations_is_answered_once() -> None:
    group = member()
    accusations = [Suspect("m1", 1, f"x{number}") for number in range(100)]
    [answer] = group.packet_received(accusations, M2, 1.0)
    assert isinstance(answer, Send)
    assert (answer.address, len(answer.messages)) == (M2, 1)


def test_packets_that_come_together_are_answered_once_for_each_page() -> None:
    group = member()
    m2_has_heard_all(group, 1.0)
    for version in (1, 2, 3):
        piece = Piece("m2", 7, version - 1, version, 0, (Entry(f"k{version}", version, b"v"),))
        pushed = User(encode_ledger(Push(Sender("m2", 0), (piece,))))
        assert not [item for item in group.packet_received([pushed], M2, 1.0) if isinstance(item, Send)]
    [answer] = [item for item in group.flush(1.0) if isinstance(item, Send)]
    [message] = answer.messages
    assert isinstance(message, User)
    heard = decode_ledger(message.payload)
    assert isinstance(heard, Heard)
    assert (answer.address, heard.owner, heard.upto) == (M2, "m2", Mark(7, 3))
    assert not group.flush(1.1)
