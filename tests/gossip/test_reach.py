"""Who answers, by UDP and by TCP apart; and whom an operator wants joined."""

from random import Random

from gossip.effects import JoinTried, OpenStream, Output, Reached, ReachedMember, Send
from gossip.group import Group
from gossip.kinship import LEDGER_PROTOCOL, TAG_GROUP, TAG_SPEAKS
from gossip.messages import OUR_VERSIONS, Ack, Address, Alive, Dead, MemberState, Ping, PushPull, State
from gossip.reach import ASKED_MAX, REACH_SECONDS
from gossip.wire import encode_tags

HERE, S2, S3 = (Address(f"10.0.0.{number}", 7946) for number in (1, 2, 3))


def member(*others: str) -> Group:
    """m1, which knows s2, alive, s3, dead, and `others`."""
    group = Group(
        name="m1",
        address=HERE,
        group_name="blue",
        tags={},
        random=Random(1),
        now=0.0,
        wall_offset=1_800_000_000.0,
    )
    group.packet_received([Alive("s2", 1, S2), Alive("s3", 1, S3), Dead("s3", 1, "s2")], S2, 0.0)
    for number, name in enumerate(others):
        group.packet_received(
            [Alive(name, 1, Address(f"10.1.{number // 250}.{number % 250}", 7946))], S2, 0.0
        )
    return group


def pings(output: list[Output]) -> dict[str, Ping]:
    return {
        message.target: message
        for item in output
        if isinstance(item, Send)
        for message in item.messages
        if isinstance(message, Ping)
    }


def streams(output: list[Output]) -> dict[Address, OpenStream]:
    return {item.address: item for item in output if isinstance(item, OpenStream)}


def test_the_dead_are_asked_as_well_and_answers_by_udp_and_tcp_are_told_apart() -> None:
    group = member()
    asked = group.reach(1.0)
    s2, s3 = streams(asked)[S2], streams(asked)[S3]
    assert isinstance(s2.message, Ping)
    group.packet_received([Ack(pings(asked)["s2"].number)], S2, 1.25)
    group.stream_answered(s3.token, None, 1.25, "connection refused")
    assert group.stream_answered(s2.token, Ack(s2.message.number), 1.5) == []
    [reached] = [item for item in group.tick(1.0 + REACH_SECONDS) if isinstance(item, Reached)]
    assert reached.members == (
        ReachedMember("s2", S2, State.ALIVE, 0.25, 0.5, ""),
        ReachedMember("s3", S3, State.DEAD, None, None, "connection refused"),
    )


def test_it_is_over_as_soon_as_everybody_has_answered() -> None:
    group = member()
    group.force_leave("s3", 0.5, prune=False)
    asked = group.reach(1.0)
    [stream] = streams(asked).values()
    assert isinstance(stream.message, Ping)
    group.stream_answered(stream.token, Ack(stream.message.number), 1.1)
    output = group.packet_received([Ack(pings(asked)["s2"].number)], S2, 1.2)
    assert any(isinstance(item, Reached) for item in output)


def test_a_lost_datagram_is_no_silence() -> None:
    group = member()
    first = pings(group.reach(1.0))["s2"]
    again = pings(group.tick(1.5))
    assert again["s2"] == first


def test_who_asks_meanwhile_begins_no_second_round() -> None:
    group = member()
    group.reach(1.0)
    assert group.reach(1.1) == []


def test_alone_it_is_over_at_once() -> None:
    group = member()
    for name in ("s2", "s3"):
        group.packet_received([Dead(name, 1, name)], S2, 0.5)
    group.force_leave("s3", 0.5, prune=False)
    assert group.reach(1.0) == [Reached((), 0)]


def test_no_more_are_asked_than_a_bound_and_the_rest_is_counted() -> None:
    group = member(*(f"x{number}" for number in range(ASKED_MAX)))
    asked = group.reach(1.0)
    assert len(streams(asked)) == ASKED_MAX
    assert S3 not in streams(asked)
    [reached] = [item for item in group.tick(1.0 + REACH_SECONDS) if isinstance(item, Reached)]
    assert reached.left_out == 2


def test_an_answer_to_an_ordinary_probe_is_none_to_an_operator() -> None:
    group = member()
    group.reach(1.0)
    assert group.packet_received([Ack(12345)], S2, 1.1) == []


# Joining


def answer_of(group_name: str) -> PushPull:
    tags = {TAG_SPEAKS: LEDGER_PROTOCOL, TAG_GROUP: group_name}
    meta = encode_tags(tags)
    there = MemberState("m9", Address("10.0.0.9", 7946), meta, 1, State.ALIVE, OUR_VERSIONS)
    return PushPull(True, (there,))


def tried(output: list[Output]) -> JoinTried:
    [found] = [item for item in output if isinstance(item, JoinTried)]
    return found


def test_whoever_is_there_and_whom_it_knows_are_reached() -> None:
    group = member()
    token, [stream] = group.join(Address("10.0.0.9", 7946), 1.0)
    assert isinstance(stream, OpenStream)
    assert tried(group.stream_answered(token, answer_of("blue"), 1.1)) == JoinTried(token, ("m9",), "")
    assert [member.name for member in group.kin()] == ["m9"]


def test_why_nobody_was_reached_is_told() -> None:
    group = member()
    token, _ = group.join(Address("10.0.0.9", 7946), 1.0)
    assert tried(group.stream_answered(token, None, 1.1, "connection refused")).why == "connection refused"
    token, _ = group.join(Address("10.0.0.9", 7946), 2.0)
    assert "another group, 'green'" in tried(group.stream_answered(token, answer_of("green"), 2.1)).why
    assert group.join(HERE, 3.0)[1] == [JoinTried(token + 1, (), "that is this manager itself")]
