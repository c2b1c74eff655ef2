"""Laws: decoding undoes encoding, and any bytes decode or raise `WireError`, nothing else."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.errors import WireError
from gossip.messages import (
    Ack,
    Address,
    Alive,
    Dead,
    IndirectPing,
    JoinIntent,
    LeaveIntent,
    MemberState,
    Message,
    Nack,
    Ping,
    PushPull,
    SerfState,
    State,
    StreamError,
    StreamMessage,
    Suspect,
    User,
    Versions,
)
from gossip.wire import (
    INCARNATION_LIMIT,
    Packet,
    StreamReader,
    decode_packet,
    decode_serf,
    decode_tags,
    encode_packet,
    encode_serf,
    encode_stream,
    encode_tags,
)
from gossip.wire.lzw import expand

Outcome: TypeAlias = tuple[StreamMessage | str | None, list[str]]

VECTORS = Path(__file__).parents[2] / "interop" / "vectors"


def recorded(transport: str) -> list[bytes]:
    """Plaintext payloads of real agents, and those that must be refused but for bombs, which are slow."""
    return [
        bytes.fromhex(vector["payload"])
        for file in sorted(VECTORS.glob("*.json"))
        for vector in json.loads(file.read_text()).get("vectors", [])
        if vector["transport"] == transport and not vector["keys"] and "bomb" not in vector["kind"]
    ]


PACKETS = recorded("udp")
STREAMS = recorded("tcp")

u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFF_FFFF)
u64 = st.integers(0, 0xFFFF_FFFF_FFFF_FFFF)
incarnations = st.integers(0, INCARNATION_LIMIT - 1)


def as_text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


names = st.binary(min_size=1, max_size=255).map(as_text)
names_or_none = st.binary(max_size=255).map(as_text)
Claim = TypeVar("Claim", Alive, MemberState)


def if_ipv4(claim: Claim) -> Claim:
    return replace(claim, mapped=claim.mapped and ":" not in claim.address.host)


addresses = st.builds(lambda ip, port: Address.of(str(ip), port), st.ip_addresses(), u16)
sources = st.none() | addresses.filter(lambda address: address.port != 0)
metas = st.binary(max_size=512)


@st.composite
def version_vectors(draw: st.DrawFn) -> Versions:
    low, high = sorted((draw(st.integers(1, 255)), draw(st.integers(1, 255))))
    delegate_low, delegate_high = sorted((draw(st.integers(0, 255)), draw(st.integers(0, 255))))
    spoken, delegate = draw(st.integers(0, 255)), draw(st.integers(0, 255))
    return Versions(low, high, spoken, delegate_low, delegate_high, delegate)


versions = version_vectors()
pings = st.builds(Ping, u32, names_or_none, sources, names_or_none)
acks = st.builds(Ack, u32, st.binary(max_size=300))
users = st.builds(User, st.binary(max_size=2000))
messages: st.SearchStrategy[Message] = st.one_of(
    pings,
    st.builds(IndirectPing, u32, names_or_none, addresses, st.booleans(), sources, names_or_none),
    acks,
    st.builds(Nack, u32),
    st.builds(Suspect, names, incarnations, names_or_none),
    st.builds(Alive, names, incarnations, addresses, metas, versions, st.booleans()).map(if_ipv4),
    st.builds(Dead, names, incarnations, names_or_none),
    users,
)
members = st.builds(
    MemberState, names, addresses, metas, incarnations, st.sampled_from(State), versions, st.booleans()
).map(if_ipv4)
exchanges = st.builds(
    PushPull, st.booleans(), st.lists(members, max_size=5).map(tuple), st.binary(max_size=2000)
)
stream_messages: st.SearchStrategy[StreamMessage] = st.one_of(
    exchanges, pings, acks, users, st.builds(StreamError, st.binary(max_size=300).map(as_text))
)
states = st.builds(
    SerfState,
    u64,
    st.dictionaries(names, u64, max_size=8).map(lambda times: tuple(times.items())),
    st.lists(names, max_size=5).map(tuple),
    u64,
    u64,
)
serf_messages = st.one_of(
    st.builds(LeaveIntent, u64, names, st.booleans()), st.builds(JoinIntent, u64, names), states
)
tag_texts = st.binary(max_size=20).map(as_text)


def spoilt(whole: list[bytes]) -> st.SearchStrategy[bytes]:
    """One of them with a few bytes changed, a piece cut out or put in, or its end missing."""

    @st.composite
    def spoil(draw: st.DrawFn) -> bytes:
        data = bytearray(draw(st.sampled_from(whole)))
        for _ in range(draw(st.integers(1, 4))):
            at = draw(st.integers(0, max(len(data) - 1, 0)))
            match draw(st.sampled_from(("flip", "set", "cut", "put", "end"))):
                case "flip" if data:
                    data[at] ^= 1 << draw(st.integers(0, 7))
                case "set" if data:
                    data[at] = draw(st.integers(0, 255))
                case "cut":
                    del data[at : at + draw(st.integers(1, 40))]
                case "put":
                    data[at:at] = draw(st.binary(max_size=10))
                case "end":
                    del data[at:]
                case _:
                    pass
        return bytes(data)

    return spoil()


typed_noise = st.builds(
    lambda kind, noise: bytes((kind,)) + noise, st.integers(0, 14), st.binary(max_size=300)
)
noise = st.binary(max_size=600) | typed_noise


def read_pieces(pieces: Iterable[bytes]) -> Outcome:
    """What a reader makes of the pieces: the message, the reason of a refusal, or neither yet."""
    reader = StreamReader()
    try:
        for piece in pieces:
            if (message := reader.feed(piece)) is not None:
                return message, reader.rejected
    except WireError as error:
        return error.reason, reader.rejected
    return None, reader.rejected


def by_the_byte(data: bytes) -> Iterable[bytes]:
    return (data[at : at + 1] for at in range(len(data)))


@given(st.lists(messages, min_size=1, max_size=12), st.booleans())
@settings(max_examples=300)
def test_decoding_a_packet_undoes_encoding_it(said: list[Message], crc: bool) -> None:
    assert decode_packet(encode_packet(said, crc)) == Packet(tuple(said), ())


@given(stream_messages, st.binary(max_size=20), st.integers(1, 2000))
@settings(max_examples=200)
def test_decoding_a_stream_undoes_encoding_it(said: StreamMessage, tail: bytes, step: int) -> None:
    data = encode_stream(said)
    assert read_pieces([data]) == (said, [])
    assert read_pieces([data + tail]) == (said, [])
    assert read_pieces(by_the_byte(data)) == (said, [])
    assert read_pieces(data[at : at + step] for at in range(0, len(data), step)) == (said, [])


@given(stream_messages)
def test_no_stream_is_whole_before_its_last_byte(said: StreamMessage) -> None:
    assert read_pieces([encode_stream(said)[:-1]]) == (None, [])


@given(serf_messages)
@settings(max_examples=200)
def test_decoding_a_serf_message_undoes_encoding_it(said: LeaveIntent | JoinIntent | SerfState) -> None:
    assert decode_serf(encode_serf(said)) == said


@given(st.dictionaries(tag_texts, tag_texts, max_size=10))
@settings(max_examples=200)
def test_decoding_tags_undoes_encoding_them(tags: dict[str, str]) -> None:
    assert decode_tags(encode_tags(tags)) == tags


@given(noise | spoilt(PACKETS))
@settings(max_examples=1500)
def test_any_packet_decodes_or_is_refused(data: bytes) -> None:
    """Row B40."""
    try:
        packet = decode_packet(data)
    except WireError:
        return
    assert packet.messages or packet.rejected


@given(noise | spoilt(PACKETS))
@settings(max_examples=300)
def test_what_was_read_can_be_written_and_reads_the_same(data: bytes) -> None:
    try:
        said = decode_packet(data).messages
    except WireError:
        return
    for message in said:
        assert decode_packet(encode_packet([message])).messages == (message,)


@given(noise | spoilt(STREAMS))
@settings(max_examples=300, deadline=None)
def test_any_stream_comes_to_the_same_end_however_it_is_cut(data: bytes) -> None:
    whole = read_pieces([data])
    assert read_pieces(by_the_byte(data)) == whole
    assert read_pieces([data[: len(data) // 2], data[len(data) // 2 :]]) == whole


@given(noise | spoilt([data[1:] for data in PACKETS if data[0] == 8]))
@settings(max_examples=500)
def test_any_serf_message_decodes_or_is_refused(data: bytes) -> None:
    try:
        decode_serf(data)
    except WireError:
        return


@given(noise.map(b"\x02".__add__) | states.map(encode_serf).flatmap(lambda state: spoilt([state])))
@settings(max_examples=300)
def test_any_serf_state_decodes_or_is_refused(data: bytes) -> None:
    try:
        decode_serf(data)
    except WireError:
        return


@given(noise | noise.map(b"\xff".__add__))
@settings(max_examples=500)
def test_any_meta_decodes_or_is_refused(meta: bytes) -> None:
    try:
        decode_tags(meta)
    except WireError:
        return


@given(st.binary(max_size=600))
@settings(max_examples=500)
def test_any_lzw_stream_expands_within_its_limit_or_is_refused(data: bytes) -> None:
    try:
        assert len(expand(data, 1000)) <= 1000
    except WireError:
        return
