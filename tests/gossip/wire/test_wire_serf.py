"""Serf's messages and tags: their bytes, what is read of a state, and what is refused."""

import tracemalloc

import pytest
from msgpack import packb

from gossip.errors import WireError
from gossip.messages import JoinIntent, LeaveIntent, SerfOther, SerfState
from gossip.wire import decode_serf, decode_tags, encode_serf, encode_tags
from gossip.wire.reasons import BAD_FIELD, BAD_META, BAD_MSGPACK, BAD_NAME, BAD_TYPE, EMPTY, TOO_BIG

STATE = SerfState(9, (("a", 4), ("b", 2)), ("b",), 3, 5)
STATE_FIELDS = {
    "EventLTime": 3,
    "Events": [],
    "LTime": 9,
    "LeftMembers": ["b"],
    "QueryLTime": 5,
    "StatusLTimes": {"a": 4, "b": 2},
}


def pack(body: object, *, modern: bool = False) -> bytes:
    packed: bytes = packb(body, use_bin_type=modern)
    return packed


def reason_of(payload: bytes) -> str:
    with pytest.raises(WireError) as refused:
        decode_serf(payload)
    return refused.value.reason


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (LeaveIntent(5, "a4"), "0083a54c54696d6505a44e6f6465a26134a55072756e65c2"),
        (LeaveIntent(300, "b", prune=True), "0083a54c54696d65cd012ca44e6f6465a162a55072756e65c3"),
        (JoinIntent(1, "a2"), "0182a54c54696d6501a44e6f6465a26132"),
    ],
)
def test_an_intent_and_its_bytes_say_the_same(message: LeaveIntent | JoinIntent, text: str) -> None:
    assert encode_serf(message).hex() == text
    assert decode_serf(bytes.fromhex(text)) == message


def test_a_state_has_the_fields_of_an_agents_and_no_events() -> None:
    assert encode_serf(STATE) == b"\x02" + pack(STATE_FIELDS)
    assert decode_serf(encode_serf(STATE)) == STATE


@pytest.mark.parametrize(
    "events",
    [
        None,
        [None] * 512,
        [None] * 3 + [{"LTime": 3, "Events": [{"Name": "deploy", "Payload": b"17"}]}] + [None] * 508,
        [{"LTime": at, "Events": [{"Name": "n" * 500, "Payload": b"p" * 500}] * 3} for at in range(512)],
    ],
    ids=["nil", "idle", "one", "a megabyte"],
)
def test_the_events_of_a_state_are_passed_over(events: object) -> None:
    assert decode_serf(b"\x02" + pack({**STATE_FIELDS, "Events": events})) == STATE


def test_whatever_form_a_peer_may_write_is_read() -> None:
    assert decode_serf(b"\x02" + pack(STATE_FIELDS, modern=True)) == STATE
    assert decode_serf(b"\x02" + pack({**STATE_FIELDS, "Zone": [{}]})) == STATE
    in_order = [9, {"a": 4, "b": 2}, ["b"], 3, [None] * 512, 5]
    assert decode_serf(b"\x02" + pack(in_order)) == STATE
    assert decode_serf(b"\x01" + pack([7, "b"], modern=True)) == JoinIntent(7, "b")
    assert decode_serf(b"\x02\x80") == SerfState(0, event_ltime=0, query_ltime=0)
    assert decode_serf(b"\x02" + pack(dict.fromkeys(STATE_FIELDS))) == decode_serf(b"\x02\x80")


def test_a_name_that_no_member_can_have_does_not_spoil_a_state() -> None:
    fields = {"StatusLTimes": {"x" * 256: 1, "": 2, "a": 3}, "LeftMembers": ["x" * 256, "", "b"]}
    state = decode_serf(b"\x02" + pack(fields))
    assert state == SerfState(0, (("a", 3),), ("b",), 0, 0)


def test_a_state_of_many_names_is_read() -> None:
    state = SerfState(9, tuple((f"node-{at}", at) for at in range(20_000)), ("node-1",), 1, 1)
    assert decode_serf(encode_serf(state)) == state


@pytest.mark.parametrize("kind", [3, 6, 7, 8, 9])
def test_other_messages_of_serf_are_known_by_their_type_alone(kind: int) -> None:
    assert decode_serf(bytes((kind,)) + b"anything") == SerfOther(kind)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", EMPTY),
        (b"\x0a", BAD_TYPE),
        (b"K\x90", BAD_TYPE),
        (b"\x00", BAD_MSGPACK),
        (b"\x01\x81\xa4Node", BAD_MSGPACK),
        (b"\x01" + pack({"LTime": 1}), BAD_NAME),
        (b"\x00" + pack({"LTime": -1, "Node": "a"}), BAD_FIELD),
        (b"\x00" + pack({"LTime": 1, "Node": "a", "Prune": "yes"}), BAD_FIELD),
        (b"\x00" + pack({"LTime": 1, "Node": "x" * 256}), BAD_NAME),
        (b"\x02", BAD_MSGPACK),
        (b"\x02\xc0", BAD_MSGPACK),
        (encode_serf(STATE)[:-1], BAD_MSGPACK),
        (b"\x02" + pack({"LTime": "9"}), BAD_FIELD),
        (b"\x02" + pack({"StatusLTimes": {"a": "4"}}), BAD_FIELD),
        (b"\x02" + pack({"StatusLTimes": [1]}), BAD_MSGPACK),
        (b"\x02" + pack({"LeftMembers": {"a": 1}}), BAD_MSGPACK),
        (b"\x02" + pack({"LeftMembers": [1]}), BAD_FIELD),
        (b"\x02\x81\xabLeftMembers\xdd\x00\x01\x00\x01", TOO_BIG),
        (b"\x02\x81\xacStatusLTimes\xdf\xff\xff\xff\xff", TOO_BIG),
    ],
)
def test_what_no_agent_means_is_refused_for_its_reason(payload: bytes, reason: str) -> None:
    assert reason_of(payload) == reason


def test_containers_in_a_state_take_no_memory_beyond_their_bytes() -> None:
    flood = b"\xdd\x00\x1e\x84\x80" + b"\x90" * 2_000_000
    tracemalloc.start()
    try:
        assert decode_serf(b"\x02\x81\xa6Events" + flood) == decode_serf(b"\x02\x80")
        assert reason_of(b"\x02\x81\xa5LTime" + flood) == TOO_BIG
        assert reason_of(b"\x02\x81\xabLeftMembers\x91" + flood) == TOO_BIG
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Built, they would take some 64 times their size.
    assert peak < 16 * len(flood)


def test_tags_are_a_map_behind_a_mark() -> None:
    meta = bytes.fromhex("ff82a26463a178a4726f6c65a3776562")
    assert encode_tags({"role": "web", "dc": "x"}) == meta
    assert decode_tags(meta) == {"dc": "x", "role": "web"}
    assert encode_tags({}) == b"\xff\x80"


def test_meta_without_the_mark_is_the_role() -> None:
    assert decode_tags(b"web") == {"role": "web"}
    assert decode_tags(b"") == {}


def test_tags_in_modern_form_are_read() -> None:
    assert decode_tags(b"\xff" + pack({b"role": b"web"}, modern=True)) == {"role": "web"}
    assert decode_tags(b"\xff\xc0") == {}


def test_tags_that_do_not_fit_a_meta_are_not_written() -> None:
    # Mark, map, "k" and the value's header take seven bytes.
    assert len(encode_tags({"k": "v" * 505})) == 512
    with pytest.raises(ValueError, match="513 bytes"):
        encode_tags({"k": "v" * 506})


@pytest.mark.parametrize(
    "meta", [b"\xff", b"\xff\x81", b"\xff\x90", b"\xff\x01", b"\xff\x81\xa1a\x01", b"\xff\xc1"]
)
def test_malformed_tags_are_refused(meta: bytes) -> None:
    with pytest.raises(WireError) as refused:
        decode_tags(meta)
    assert refused.value.reason == BAD_META
