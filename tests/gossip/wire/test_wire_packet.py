"""Packets: the bytes of each message, what is taken leniently, and what is not taken."""

from dataclasses import replace
from typing import Any
from zlib import crc32

import pytest
from msgpack import packb

from gossip.errors import WireError
from gossip.messages import (
    Ack,
    Address,
    Alive,
    Dead,
    IndirectPing,
    Message,
    Nack,
    Ping,
    Suspect,
    User,
    Versions,
)
from gossip.wire import (
    COMPOUND_OVERHEAD,
    CRC_OVERHEAD,
    PARTS_MAX,
    Packet,
    decode_packet,
    encode_message,
    encode_packet,
    join_parts,
    part_cost,
)
from gossip.wire.reasons import (
    BAD_ADDRESS,
    BAD_COMPRESSION,
    BAD_CRC,
    BAD_FIELD,
    BAD_INCARNATION,
    BAD_META,
    BAD_MSGPACK,
    BAD_NAME,
    BAD_TYPE,
    BAD_VERSIONS,
    CRC_MISPLACED,
    EMPTY,
    EMPTY_PART,
    LABEL,
    TOO_BIG,
    TOO_DEEP,
    TRUNCATED,
)

HERE = Address("127.77.0.2", 7946)
ALIVE = Alive("a2", 1, HERE, b"\xff\x80")
ALIVE_HEX = (
    "0486a441646472a47f4d0002ab496e6361726e6174696f6e01a44d657461a2ff80"
    "a44e6f6465a26132a4506f7274cd1f0aa356736ea6010502020505"
)
ALIVE_FIELDS: dict[str, Any] = {
    "Addr": b"\x7f\x4d\x00\x02",
    "Incarnation": 1,
    "Meta": b"\xff\x80",
    "Node": b"a2",
    "Port": 7946,
    "Vsn": b"\1\5\2\2\5\5",
}

TABLE: list[tuple[Message, str]] = [
    (Ping(1, "b"), "0082a44e6f6465a162a55365714e6f01"),
    (
        Ping(300, "b", HERE, "a"),
        "0085a44e6f6465a162a55365714e6fcd012c"
        + "aa536f7572636541646472a47f4d0002aa536f757263654e6f6465a161aa536f75726365506f7274cd1f0a",
    ),
    (
        IndirectPing(7, "b", HERE, nack=True),
        "0185a44e61636bc3a44e6f6465a162a4506f7274cd1f0aa55365714e6f07a6546172676574a47f4d0002",
    ),
    (Ack(1), "0282a75061796c6f6164c0a55365714e6f01"),
    (Ack(70_000, b"\1x"), "0282a75061796c6f6164a20178a55365714e6fce00011170"),
    (Suspect("b", 1, "a"), "0383a446726f6da161ab496e6361726e6174696f6e01a44e6f6465a162"),
    (Dead("b", 2, "b"), "0583a446726f6da162ab496e6361726e6174696f6e02a44e6f6465a162"),
    (ALIVE, ALIVE_HEX),
    (User(b""), "08"),
    (User(b"\x01x"), "080178"),
    (Nack(200), "0b81a55365714e6fccc8"),
]


def lzw(codes: list[int]) -> bytes:
    """Codes of nine bits, which they keep as long as a clear comes in time."""
    bits = sum(code << 9 * at for at, code in enumerate(codes))
    return bits.to_bytes(len(codes) * 9 // 8 + 1, "little")


def compressed(data: bytes) -> bytes:
    codes = [code for at, byte in enumerate(data) for code in ([256, byte] if at % 200 == 0 else [byte])]
    return b"\x09" + pack({"Algo": 0, "Buf": lzw([*codes, 257])})


def bomb(runs: int) -> bytes:
    """A user message of `runs` times 31375 bytes: each code stands for one more than the one before."""
    return b"\x09" + pack({"Algo": 0, "Buf": lzw([256, 8, *range(258, 507)] * runs + [257])})


def compound(parts: list[bytes]) -> bytes:
    lengths = b"".join(len(part).to_bytes(2, "big") for part in parts)
    return bytes((7, len(parts))) + lengths + b"".join(parts)


def pack(body: object, *, modern: bool = False) -> bytes:
    packed: bytes = packb(body, use_bin_type=modern)
    return packed


def alive(**changes: Any) -> bytes:
    """An alive message with some fields changed, or left out if None."""
    fields = {**ALIVE_FIELDS, **changes}
    return b"\x04" + pack({key: value for key, value in fields.items() if value is not None})


def reason_of(data: bytes) -> str:
    with pytest.raises(WireError) as refused:
        decode_packet(data)
    return refused.value.reason


@pytest.mark.parametrize(("message", "text"), TABLE)
def test_a_message_and_its_bytes_say_the_same(message: Message, text: str) -> None:
    assert encode_message(message).hex() == text
    assert encode_packet([message]).hex() == text
    assert decode_packet(bytes.fromhex(text)) == Packet((message,), ())


def test_an_ipv6_address_takes_sixteen_bytes() -> None:
    message = replace(ALIVE, address=Address("2001:db8::1", 1))
    assert bytes.fromhex("20010db8000000000000000000000001") in encode_message(message)
    assert decode_packet(encode_message(message)).messages == (message,)


def test_a_mapped_ipv4_address_is_the_ipv4_address_and_is_written_as_it_came() -> None:
    mapped = bytes.fromhex("00000000000000000000ffff7f4d0002")
    packet = alive(Addr=mapped)
    message = replace(ALIVE, mapped=True)
    assert decode_packet(packet).messages == (message,)
    assert decode_packet(encode_message(message)).messages == (message,)
    assert mapped in encode_message(message)


def test_a_name_that_is_not_utf8_comes_back_as_it_was() -> None:
    name = b"node-\xff\xfe".decode("utf-8", "surrogateescape")
    message = Dead(name, 1, name)
    assert b"node-\xff\xfe" in encode_message(message)
    assert decode_packet(encode_message(message)).messages == (message,)


@pytest.mark.parametrize(
    "data",
    [
        b"\x04" + pack({key: ALIVE_FIELDS[key] for key in reversed(ALIVE_FIELDS)}),
        b"\x04" + pack(ALIVE_FIELDS, modern=True),
        b"\x04" + pack({key.encode(): value for key, value in ALIVE_FIELDS.items()}, modern=True),
        alive(Node=b"a2", Zone={"a": [1, [2, {"b": None}]]}, Weight=-1.5),
        b"\x04" + pack([1, b"a2", b"\x7f\x4d\x00\x02", 7946, b"\xff\x80", b"\1\5\2\2\5\5"]),
        b"\x04"
        + pack([1, "a2", b"\x7f\x4d\x00\x02", 7946, b"\xff\x80", [1, 5, 2, 2, 5, 5], "more"], modern=True),
        alive(Vsn=[1, 5, 2, 2, 5, 5]),
        alive() + b"after it",
        bytes.fromhex(ALIVE_HEX).replace(b"Incarnation\x01", b"Incarnation\xd3\0\0\0\0\0\0\0\1"),
        bytes.fromhex(ALIVE_HEX).replace(b"Incarnation\x01", b"Incarnation\xce\0\0\0\1"),
        bytes.fromhex(ALIVE_HEX).replace(b"Incarnation\x01", b"Incarnation\xd0\1"),
        bytes.fromhex(ALIVE_HEX).replace(b"Node\xa2", b"Node\xd9\2"),
        bytes.fromhex(ALIVE_HEX).replace(b"Node\xa2", b"Node\xdb\0\0\0\2"),
        bytes.fromhex(ALIVE_HEX).replace(b"Node\xa2", b"Node\xc5\0\2"),
    ],
    ids=[
        "keys in another order",
        "str and bin",
        "bin keys",
        "unknown keys",
        "array in field order",
        "longer array, str and bin",
        "versions as numbers",
        "bytes after the body",
        "signed 64-bit integer",
        "wide unsigned integer",
        "signed 8-bit integer",
        "str8",
        "raw32",
        "bin16",
    ],
)
def test_whatever_form_a_peer_may_write_is_read(data: bytes) -> None:
    assert decode_packet(data) == Packet((ALIVE,), ())


@pytest.mark.parametrize("empty", [b"\xc0", b"\xa0", b"\xc4\x00"])
def test_nil_and_no_bytes_are_the_same(empty: bytes) -> None:
    assert decode_packet(b"\x02\x82\xa7Payload" + empty + b"\xa5SeqNo\x01").messages == (Ack(1),)


def test_missing_and_nil_fields_are_zero() -> None:
    assert decode_packet(b"\x02\x80").messages == (Ack(0),)
    assert decode_packet(b"\x00" + pack({"Node": None, "SeqNo": None})).messages == (Ping(0, ""),)
    assert decode_packet(alive(Port=None, Meta=None)).messages == (
        replace(ALIVE, address=Address(HERE.host, 0), meta=b""),
    )


@pytest.mark.parametrize(
    ("stated", "nack"), [(True, True), (1, True), (False, False), (0, False), (None, False)]
)
def test_a_bool_may_be_a_number_or_nil(stated: object, nack: bool) -> None:
    body = {"SeqNo": 1, "Target": b"\x7f\0\0\1", "Port": 1, "Node": "b", "Nack": stated}
    assert decode_packet(b"\x01" + pack(body)).messages == (
        IndirectPing(1, "b", Address("127.0.0.1", 1), nack),
    )


@pytest.mark.parametrize("partly", [{"SourceAddr": b"\x7f\0\0\1"}, {"SourcePort": 7946}, {"SourceAddr": b""}])
def test_a_ping_that_gives_only_half_of_its_source_gives_none(partly: dict[str, Any]) -> None:
    assert decode_packet(b"\x00" + pack({"SeqNo": 1, **partly})).messages == (Ping(1, ""),)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", EMPTY),
        (b"\x0e\x80", BAD_TYPE),
        (b"\x0a\x80", BAD_TYPE),
        (b"\x06\x83", BAD_TYPE),
        (b"\x0d\x81\xa5Error\xa0", BAD_TYPE),
        (b"\xf4\x01a\x00", LABEL),
        (b"\x04", BAD_MSGPACK),
        (b"\x04\xc0", BAD_MSGPACK),
        (b"\x04\xc1", BAD_MSGPACK),
        (b"\x04\x81\x01\x01", BAD_MSGPACK),
        (b"\x04\xdd\xff\xff\xff\xff", BAD_MSGPACK),
        (b"\x02" + b"\x91" * 30 + b"\x01", TOO_DEEP),
        (b"\x02\x81\xa1x" + b"\x91" * 30 + b"\x01", TOO_DEEP),
        (b"\x02" + b"\x91" * 2000, BAD_MSGPACK),
        (b"\x02\x81\xa5SeqNo\xff", BAD_FIELD),
        (b"\x02\x81\xa5SeqNo\xcf\x00\x00\x00\x01\x00\x00\x00\x00", BAD_FIELD),
        (b"\x02\x81\xa5SeqNo\xc3", BAD_FIELD),
        (b"\x02\x81\xa5SeqNo\xa11", BAD_FIELD),
        (b"\x02\x81\xa7Payload\x01", BAD_FIELD),
        (b"\x02\x81\xa7Payload\x91\xcd\x01\x00", BAD_FIELD),
        (b"\x01" + pack({"Target": b"\x7f\0\0\1", "Nack": 2}), BAD_FIELD),
        (b"\x01" + pack({"Target": b"\x7f\0\0"}), BAD_ADDRESS),
        (b"\x00" + pack({"SourceAddr": b"abc", "SourcePort": 1}), BAD_ADDRESS),
        (alive(Addr=None), BAD_ADDRESS),
        (alive(Port=65536), BAD_FIELD),
        (alive(Port=1.0), BAD_FIELD),
        (alive(Node=None), BAD_NAME),
        (alive(Node=b"x" * 256), BAD_NAME),
        (alive(Node=7), BAD_FIELD),
        (alive(Node=[97]), BAD_FIELD),
        (alive(Meta=b"x" * 513), BAD_META),
        (alive(Incarnation=4_000_000_000), BAD_INCARNATION),
        (alive(Incarnation=-1), BAD_INCARNATION),
        (b"\x03" + pack({"Incarnation": 2**32 - 1, "Node": "b"}), BAD_INCARNATION),
        (b"\x05" + pack({"Incarnation": 4_000_000_000, "Node": "b"}), BAD_INCARNATION),
        (b"\x05" + pack({"Incarnation": 1, "From": "b"}), BAD_NAME),
        (b"\x03" + pack({"Node": "b", "From": "x" * 256}), BAD_NAME),
        (alive(Vsn=None), BAD_VERSIONS),
        (alive(Vsn=b"\1\5\2\2\5"), BAD_VERSIONS),
        (alive(Vsn=b"\1\5\2\2\5\5\5"), BAD_VERSIONS),
        (alive(Vsn=b"\0\5\2\2\5\5"), BAD_VERSIONS),
        (alive(Vsn=b"\5\1\2\2\5\5"), BAD_VERSIONS),
        (alive(Vsn=b"\1\5\2\5\2\5"), BAD_VERSIONS),
        (alive(Vsn=[1, 5, 2, 2, 5, 256]), BAD_FIELD),
        (b"\x09" + pack({"Algo": 1, "Buf": b""}), BAD_COMPRESSION),
        (b"\x09" + pack({"Algo": 0, "Buf": b""}), BAD_COMPRESSION),
        (compressed(b""), EMPTY),
        (b"\x07", TRUNCATED),
        (b"\x07\x00", EMPTY),
        (b"\x07\x02\x00\x02\x00", TRUNCATED),
        (compound([b"", encode_message(ALIVE)]), EMPTY_PART),
        (b"\x0c\x00\x00", TRUNCATED),
        (b"\x0c\x00\x00\x00\x00", EMPTY),
        (b"\x0c\x00\x00\x00\x00" + encode_message(ALIVE), BAD_CRC),
    ],
)
def test_what_no_peer_means_is_refused_for_its_reason(data: bytes, reason: str) -> None:
    assert reason_of(data) == reason


def test_the_largest_acceptable_values_are_accepted() -> None:
    message = Alive("x" * 255, 3_999_999_999, Address("255.255.255.255", 65535), b"m" * 512)
    assert decode_packet(encode_message(message)).messages == (message,)


def test_a_member_without_serf_is_read() -> None:
    message = replace(ALIVE, versions=Versions(1, 5, 2, 0, 0, 0))
    assert decode_packet(encode_message(message)).messages == (message,)


def test_several_messages_go_in_a_compound_in_order() -> None:
    messages = [message for message, _ in TABLE]
    packet = encode_packet(messages)
    assert packet == compound([encode_message(message) for message in messages])
    assert decode_packet(packet) == Packet(tuple(messages), ())


def test_a_part_costs_what_part_cost_says() -> None:
    parts = [encode_message(message) for message, _ in TABLE]
    packet = join_parts(parts)
    assert len(packet) == COMPOUND_OVERHEAD + sum(part_cost(len(part)) for part in parts)
    assert len(join_parts(parts, crc=True)) == len(packet) + CRC_OVERHEAD


def test_a_compound_takes_127_parts_and_no_more() -> None:
    full = [Nack(number) for number in range(PARTS_MAX)]
    assert PARTS_MAX == 127
    assert decode_packet(encode_packet(full)).messages == tuple(full)
    with pytest.raises(AssertionError):
        encode_packet([*full, Nack(127)])


@pytest.mark.parametrize("parts", [[], [b""], [b"\x08", b""], [b"\x08", b"\x08" * 65536]])
def test_a_packet_that_would_harm_a_peer_is_not_written(parts: list[bytes]) -> None:
    with pytest.raises(AssertionError):
        join_parts(parts)


def test_up_to_255_parts_are_read() -> None:
    many = tuple(Nack(number) for number in range(255))
    assert decode_packet(compound([encode_message(nack) for nack in many])).messages == many


def test_a_checksum_covers_what_follows_it() -> None:
    bare = encode_message(ALIVE)
    packet = encode_packet([ALIVE], crc=True)
    assert packet == b"\x0c" + crc32(bare).to_bytes(4, "big") + bare
    assert decode_packet(packet) == Packet((ALIVE,), ())
    assert reason_of(packet[:-1] + b"\xff") == BAD_CRC


def test_a_checksum_stands_outermost_or_nowhere() -> None:
    packet = encode_packet([ALIVE], crc=True)
    twice = b"\x0c" + crc32(packet).to_bytes(4, "big") + packet
    assert reason_of(twice) == CRC_MISPLACED
    assert reason_of(compressed(packet)) == CRC_MISPLACED
    assert decode_packet(compound([packet])).rejected == (CRC_MISPLACED,)


def test_a_bad_part_costs_only_itself() -> None:
    parts = [encode_message(Nack(1)), alive(Vsn=b"\1"), b"\xff", encode_message(Nack(2))]
    assert decode_packet(compound(parts)) == Packet((Nack(1), Nack(2)), (BAD_VERSIONS, BAD_TYPE))


def test_a_compound_cut_short_is_worth_its_whole_parts() -> None:
    packet = encode_packet([Nack(1), Nack(2), Nack(3)])
    assert decode_packet(packet[:-1]) == Packet((Nack(1), Nack(2)), (TRUNCATED,))
    assert decode_packet(packet[:8]) == Packet((), (TRUNCATED,))


def test_compression_and_compounds_may_stand_in_each_other() -> None:
    inner = compound([compressed(encode_message(Nack(1))), encode_message(Nack(2))])
    assert decode_packet(compressed(compound([inner, encode_message(Nack(3))]))) == Packet(
        (Nack(1), Nack(2), Nack(3)), ()
    )


def test_four_wrappings_are_opened_and_a_fifth_is_not() -> None:
    packet = encode_message(ALIVE)
    for _ in range(4):
        packet = compressed(packet)
    assert decode_packet(packet).messages == (ALIVE,)
    assert reason_of(compressed(packet)) == TOO_DEEP
    for _ in range(5):
        packet = compound([packet])
    assert decode_packet(packet) == Packet((), (TOO_DEEP,))


def test_a_packet_unpacks_to_64_kib_in_all() -> None:
    assert reason_of(bomb(3)) == TOO_BIG
    # Two of 31375 bytes leave no room for a third, however small each of them is.
    opened = decode_packet(compound([bomb(1), bomb(1), bomb(1), encode_message(Nack(1))]))
    assert len(opened.messages) == 3
    assert opened.rejected == (TOO_BIG,)


def test_refused_compression_uses_up_the_room_of_a_packet() -> None:
    broken = b"\x09" + pack({"Algo": 0, "Buf": lzw([256, 300])})
    opened = decode_packet(compound([broken, compressed(encode_message(Nack(1)))]))
    assert opened == Packet((), (BAD_COMPRESSION, TOO_BIG))
