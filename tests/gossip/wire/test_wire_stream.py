"""Streams: where a message ends, what bounds it, and what is refused of it."""

import time
import tracemalloc
from typing import Any

import pytest
from msgpack import packb

from gossip.errors import WireError
from gossip.messages import (
    Ack,
    Address,
    MemberState,
    Ping,
    PushPull,
    State,
    StreamError,
    StreamMessage,
    User,
)
from gossip.wire import MEMBERS_MAX, STREAM_BYTES_MAX, StreamReader, encode_stream
from gossip.wire.reasons import (
    BAD_COMPRESSION,
    BAD_FIELD,
    BAD_INCARNATION,
    BAD_META,
    BAD_MSGPACK,
    BAD_NAME,
    BAD_TYPE,
    BAD_VERSIONS,
    CRC_MISPLACED,
    EMPTY,
    ENCRYPTED,
    HTTP,
    LABEL,
    TOO_BIG,
    TRUNCATED,
)

HERE = Address("127.77.0.2", 7946)
MEMBER = MemberState("a2", HERE, b"\xff\x80", 1, State.LEFT)
EXCHANGE = PushPull(True, (MEMBER, MEMBER), b"\x02state")
MEMBER_FIELDS: dict[str, Any] = {
    "Addr": b"\x7f\x4d\x00\x02",
    "Incarnation": 1,
    "Meta": b"\xff\x80",
    "Name": b"a2",
    "Port": 7946,
    "State": 3,
    "Vsn": b"\1\5\2\2\5\5",
}

MESSAGES: list[StreamMessage] = [
    EXCHANGE,
    PushPull(False, ()),
    Ping(1, "b", HERE, "a"),
    Ack(1),
    User(b"\x03event"),
    User(b""),
    StreamError("No installed keys could decrypt the message"),
]


def pack(body: object) -> bytes:
    packed: bytes = packb(body, use_bin_type=False)
    return packed


def compressed(data: bytes) -> bytes:
    """Codes of nine bits, which they keep as long as a clear comes in time."""
    codes = [code for at, byte in enumerate(data) for code in ([256, byte] if at % 200 == 0 else [byte])]
    bits = "".join(f"{code:09b}"[::-1] for code in [*codes, 257])
    packed = int(bits[::-1], 2).to_bytes((len(bits) + 7) // 8, "little")
    return b"\x09" + pack({"Algo": 0, "Buf": packed})


def entry(**changes: Any) -> bytes:
    return pack({key: value for key, value in {**MEMBER_FIELDS, **changes}.items() if value is not None})


def exchange(entries: list[bytes], state: bytes = b"", **header: Any) -> bytes:
    fields = {"Join": True, "Nodes": len(entries), "UserStateLen": len(state), **header}
    return b"\x06" + pack(fields) + b"".join(entries) + state


def read(data: bytes) -> tuple[StreamMessage, list[str]]:
    reader = StreamReader()
    message = reader.feed(data)
    if message is None:
        reader.end()
    assert message is not None
    return message, reader.rejected


def reason_of(data: bytes) -> str:
    with pytest.raises(WireError) as refused:
        read(data)
    return refused.value.reason


def feed_pieces(data: bytes, step: int) -> StreamMessage | None:
    reader = StreamReader()
    for at in range(0, len(data), step):
        if (message := reader.feed(data[at : at + step])) is not None:
            return message
    return None


def reason_by_the_byte(data: bytes) -> str:
    with pytest.raises(WireError) as refused:
        feed_pieces(data, 1)
    return refused.value.reason


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("wrap", [bytes, compressed])
def test_a_message_is_read_whole_by_the_byte_and_with_a_tail(message: StreamMessage, wrap: Any) -> None:
    data = wrap(encode_stream(message))
    assert read(data) == (message, [])
    assert read(data + b"tail") == (message, [])
    reader = StreamReader()
    for at in range(len(data) - 1):
        assert reader.feed(data[at : at + 1]) is None
    assert reader.feed(data[-1:] + b"tail") == message


def test_a_push_pull_has_the_bytes_that_agents_write() -> None:
    assert encode_stream(PushPull(True, (MEMBER,), b"\x02")).hex() == (
        "0683a44a6f696ec3a54e6f64657301ac5573657253746174654c656e01"
        "87a441646472a47f4d0002ab496e6361726e6174696f6e01a44d657461a2ff80"
        "a44e616d65a26132a4506f7274cd1f0aa5537461746503a356736ea601050202050502"
    )


def test_a_reader_takes_no_notice_of_what_follows_its_message() -> None:
    reader = StreamReader()
    assert reader.feed(encode_stream(Ack(1))) == Ack(1)
    assert reader.feed(b"\xff" * 100) is None
    reader.end()


def test_a_reader_that_has_raised_takes_no_notice_of_what_follows() -> None:
    reader = StreamReader()
    with pytest.raises(WireError):
        reader.feed(b"\xff")
    assert reader.feed(encode_stream(Ack(1))) is None
    reader.end()


@pytest.mark.parametrize("size", [1, 2, 10, 40])
def test_a_stream_that_ends_inside_its_message_is_refused_at_its_end(size: int) -> None:
    reader = StreamReader()
    assert reader.feed(encode_stream(EXCHANGE)[:size]) is None
    with pytest.raises(WireError) as refused:
        reader.end()
    assert refused.value.reason == TRUNCATED


def test_a_connection_without_a_byte_is_empty() -> None:
    assert reason_of(b"") == EMPTY


@pytest.mark.parametrize("array", [False, True])
def test_an_entry_may_be_an_array_in_field_order(array: bool) -> None:
    fields = [b"a2", b"\x7f\x4d\x00\x02", 7946, b"\xff\x80", 1, 3, [1, 5, 2, 2, 5, 5]]
    header = pack([1, 2, True]) if array else pack({"Nodes": 1, "UserStateLen": 2, "Join": 1})
    assert read(b"\x06" + header + pack(fields) + b"xy") == (PushPull(True, (MEMBER,), b"xy"), [])


def test_signed_integers_of_newer_peers_are_read() -> None:
    header = b"\x83\xa4Join\xc2\xa5Nodes\xd1\x00\x01\xacUserStateLen\xd2\x00\x00\x00\x01"
    assert read(b"\x06" + header + entry() + b"x") == (PushPull(False, (MEMBER,), b"x"), [])


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (entry(Vsn=b"\1\5\2"), BAD_VERSIONS),
        (entry(Vsn=None), BAD_VERSIONS),
        (entry(Vsn=b"\0\5\2\2\5\5"), BAD_VERSIONS),
        (entry(Name=b"x" * 256), BAD_NAME),
        (entry(Name=None), BAD_NAME),
        (entry(Meta=b"x" * 513), BAD_META),
        (entry(Meta=b"x" * 200_000), BAD_META),
        (entry(Unknown=[0] * 100_000), TOO_BIG),
        (entry(State=4), BAD_FIELD),
        (entry(Port=65536), BAD_FIELD),
        (entry(Incarnation=4_000_000_000), BAD_INCARNATION),
        (b"\x07", BAD_MSGPACK),
        (b"\x81\x01\x01", BAD_MSGPACK),
    ],
)
def test_a_bad_entry_costs_only_itself(bad: bytes, reason: str) -> None:
    data = exchange([entry(), bad, entry()], b"state")
    assert read(data) == (PushPull(True, (MEMBER, MEMBER), b"state"), [reason])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x0a\x00\x00\x00\x2f", ENCRYPTED),
        (b"\xf4\x0ablue-group", LABEL),
        (b"\x0c\x00\x00\x00\x00", CRC_MISPLACED),
        (b"\x04\x80", BAD_TYPE),
        (b"\x07\x01", BAD_TYPE),
        (b"\xff", BAD_TYPE),
        (b"GETTING", BAD_TYPE),
        (b"GET / HTTP/1.1\r\n", HTTP),
        (b"POST /", HTTP),
        (b"PUT ", HTTP),
        (b"HEAD /", HTTP),
        (b"DELETE /", HTTP),
        (b"OPTIONS *", HTTP),
        (b"CONNECT host:1", HTTP),
        (b"PATCH /", HTTP),
        (b"TRACE /", HTTP),
        (b"\x06\xc1", BAD_MSGPACK),
        (b"\x06\x01", BAD_MSGPACK),
        (b"\x06" + b"\x91" * 2000, BAD_MSGPACK),
        (exchange([], Nodes=-1), BAD_FIELD),
        (exchange([], Nodes=MEMBERS_MAX + 1), TOO_BIG),
        (exchange([], Nodes=2**63), TOO_BIG),
        (exchange([], UserStateLen=-1), BAD_FIELD),
        (exchange([], UserStateLen=STREAM_BYTES_MAX + 1), TOO_BIG),
        (exchange([], Join=2), BAD_FIELD),
        (b"\x08" + pack({"UserMsgLen": STREAM_BYTES_MAX + 1}), TOO_BIG),
        (b"\x08" + pack({"UserMsgLen": -1}), BAD_FIELD),
        (b"\x0d" + pack({"Error": 1}), BAD_FIELD),
        (b"\x09" + pack({"Algo": 7, "Buf": b""}), BAD_COMPRESSION),
        (b"\x09" + pack({"Algo": 0, "Buf": b"\xff\xff"}), BAD_COMPRESSION),
        (compressed(b""), EMPTY),
        (compressed(compressed(b"\x02\x80")), BAD_TYPE),
        (compressed(b"\xf4\x01a\x02\x80"), BAD_TYPE),
        (compressed(encode_stream(EXCHANGE)[:-1]), TRUNCATED),
    ],
)
def test_what_no_peer_means_is_refused_for_its_reason(data: bytes, reason: str) -> None:
    assert reason_of(data) == reason
    assert reason_by_the_byte(data) == reason


def test_a_large_compressed_message_is_read_with_its_fields_in_either_order() -> None:
    state = b"\x02" + bytes(range(256)) * 400
    data = compressed(encode_stream(PushPull(False, (), state)))
    assert read(data) == (PushPull(False, (), state), [])
    buffer = data[data.index(b"Buf") + 3 :]
    assert len(buffer) > 100_000
    turned = b"\x09\x82\xa3Buf" + buffer + b"\xa4Algo\x00"
    assert read(turned) == (PushPull(False, (), state), [])
    assert read(b"\x09\x92\x00" + buffer) == (PushPull(False, (), state), [])


def test_as_many_members_as_allowed_are_read() -> None:
    data = exchange([entry()] * MEMBERS_MAX)
    message, rejected = read(data)
    assert isinstance(message, PushPull)
    assert (len(message.members), rejected) == (MEMBERS_MAX, [])


def test_a_stream_beyond_its_bound_is_refused_while_it_comes() -> None:
    data = b"\x0d\x81\xa5Error\xdb\x7f\xff\xff\xff" + bytes(STREAM_BYTES_MAX)
    assert feed_pieces(data[:STREAM_BYTES_MAX], 1024 * 1024) is None
    with pytest.raises(WireError) as refused:
        feed_pieces(data[: STREAM_BYTES_MAX + 1], 1024 * 1024)
    assert refused.value.reason == TOO_BIG


def test_a_message_within_the_bound_is_read_whatever_follows_it() -> None:
    assert read(encode_stream(Ack(1)) + bytes(STREAM_BYTES_MAX)) == (Ack(1), [])


@pytest.mark.parametrize(
    "data",
    [
        b"\x06\xdd\xff\xff\xff\xff" + b"\x90" * 1000,
        b"\x06\xdf\xff\xff\xff\xff" + b"\xa0" * 1000,
        b"\x06" + b"\xdd\x00\xff\xff\xff" * 500,
        b"\x06\xdb\xff\xff\xff\xff",
        exchange([], Nodes=MEMBERS_MAX, UserStateLen=STREAM_BYTES_MAX),
        b"\x08" + pack({"UserMsgLen": STREAM_BYTES_MAX}),
    ],
    ids=["array", "map", "arrays in arrays", "raw", "push/pull", "user message"],
)
def test_what_is_only_announced_takes_no_memory(data: bytes) -> None:
    tracemalloc.start()
    try:
        assert StreamReader().feed(data) is None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_containers_without_end_take_no_memory_beyond_their_bytes() -> None:
    data = b"\x06\xdc\xff\xff" + b"\x90" * 65535
    flood = b"\x06\x81\xa1x\xdd\x00\x1e\x84\x80" + b"\x90" * 2_000_000
    tracemalloc.start()
    try:
        assert reason_of(data) == TOO_BIG
        assert reason_of(flood) == TOO_BIG
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Built, they would take some 64 times their size.
    assert peak < 16 * len(flood)


def test_time_grows_with_the_bytes_and_not_with_the_pieces() -> None:
    data = exchange([entry()] * 2000, bytes(200_000))

    def seconds(step: int) -> float:
        started = time.process_time()
        assert feed_pieces(data, step) is not None
        return time.process_time() - started

    # By the byte it is 350 thousand calls, of a second; anything quadratic would take minutes.
    assert seconds(1) < 15.0
    assert seconds(1400) < 3.0
