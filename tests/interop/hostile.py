"""What a stranger may send: bytes that no honest member ever wrote, by the kind of harm that they try."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import msgpack

from gossip.messages import Address, Alive, Dead, MemberState, PushPull, State, Suspect, User
from gossip.wire import encode_message, encode_stream, join_parts

VECTORS: Final = Path(__file__).parent / "vectors"
NOWHERE: Final = Address("127.0.0.1", 9)
ABSURD: Final = 3_999_999_998


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of harm. Where it is read, one of `reasons` is counted."""

    name: str
    reasons: frozenset[str]
    packets: Callable[[], Iterator[bytes]] = field(default=lambda: iter(()))
    streams: Callable[[], Iterator[bytes]] = field(default=lambda: iter(()))


def recorded(transport: str) -> list[bytes]:
    """What real agents sent in plain text."""
    files = (json.loads(file.read_text()) for file in sorted(VECTORS.glob("*.json")))
    vectors = [vector for file in files for vector in file.get("vectors", [])]
    return [
        bytes.fromhex(vector["payload"])
        for vector in vectors
        if vector["transport"] == transport and not vector["keys"] and "bomb" not in vector["kind"]
    ]


def noise() -> Iterator[bytes]:
    random = Random(1)
    for _ in range(400):
        yield random.randbytes(random.randrange(1, 1400))
        yield bytes((random.randrange(14),)) + random.randbytes(random.randrange(200))


def spoilt(transport: str) -> Iterator[bytes]:
    """Each recording cut short, and each with one bit turned."""
    random = Random(2)
    for whole in recorded(transport):
        if len(whole) > 1:
            yield whole[: random.randrange(1, len(whole))]
            turned = bytearray(whole)
            turned[random.randrange(len(turned))] ^= 1 << random.randrange(8)
            yield bytes(turned)


def body(fields: dict[bytes, Any]) -> bytes:
    packed: bytes = msgpack.packb(fields, use_bin_type=False)
    return packed


BODIES: Final[dict[int, dict[bytes, Any]]] = {
    0: {b"Node": b"m1", b"SeqNo": 1, b"SourceAddr": bytes(4), b"SourceNode": b"x", b"SourcePort": 9},
    1: {b"Nack": True, b"Node": b"m1", b"Port": 9, b"SeqNo": 1, b"Target": bytes(4)},
    2: {b"Payload": None, b"SeqNo": 1},
    3: {b"From": b"x", b"Incarnation": 1, b"Node": b"x"},
    4: {
        b"Addr": bytes(4),
        b"Incarnation": 1,
        b"Meta": None,
        b"Node": b"x",
        b"Port": 9,
        b"Vsn": bytes((1, 5, 2, 2, 5, 5)),
    },
    5: {b"From": b"x", b"Incarnation": 1, b"Node": b"x"},
    9: {b"Algo": 0, b"Buf": b"x"},
    11: {b"SeqNo": 1},
}
WRONG: Final[list[Any]] = [
    *(None, True, -1, -(2**63), 2**63, 2**64 - 1, 1.5, b"", b"x", bytes(3), bytes(15), bytes(300)),
    *([], [1, 2], [-1, 999], {}, {b"a": {b"b": []}}, msgpack.ExtType(5, b"x"), [[[[[[[[]]]]]]]]),
]


def wrong_types() -> Iterator[bytes]:
    """Every field of every message with everything that it is not."""
    for kind, fields in BODIES.items():
        for key in fields:
            for value in WRONG:
                yield bytes((kind,)) + body({**fields, key: value})
        yield bytes((kind,)) + body({})
        for other in WRONG:
            yield bytes((kind,)) + msgpack.packb(other, use_bin_type=False)


def lying_lengths() -> Iterator[bytes]:
    """Containers and texts that announce up to 2^32 elements, compounds that announce more than there is."""
    for kind in (*BODIES, 6, 8, 10, 12, 13):
        for start in (b"\xdf", b"\xdd", b"\xdb", b"\xc6", b"\xc9"):
            yield bytes((kind,)) + start + b"\xff\xff\xff\xff" + b"x" * 20
            yield bytes((kind, 0x81)) + b"\xa4Node" + start + b"\xff\xff\xff\xff" * 2
    for count in (1, 127, 255):
        yield bytes((7, count))
        yield bytes((7, count)) + b"\xff\xff" * count
        yield bytes((7, count)) + b"\x00\x00" * count


def nested() -> Iterator[bytes]:
    """Compounds in compounds, containers in containers, wrappings in wrappings."""
    inner = encode_message(Suspect("m1", 1, "x"))
    for _ in range(200):
        inner = b"\x07\x01" + len(inner).to_bytes(2) + inner
    yield inner
    for kind in BODIES:
        for start in (b"\x91", b"\x81\xa1a", b"\xdd\x00\x00\x03\xff"):
            yield bytes((kind,)) + start * (60_000 // len(start))
    yield b"\x0c" * 1000
    yield b"\xf4\x01x" * 400


def lzw(codes: Iterator[int]) -> bytes:
    """Codes as Go's LZW packs them."""
    out, bits, count, width, size = bytearray(), 0, 0, 9, 258
    fresh = True
    for code in codes:
        bits |= code << count
        count += width
        while count >= 8:
            out.append(bits & 0xFF)
            bits >>= 8
            count -= 8
        if code == 256:
            width, size, fresh = 9, 258, True
        elif fresh:
            fresh = False
        elif size <= 0xFFF:
            size += 1
            if size == 1 << width and width < 12:
                width += 1
    return bytes(out) + bytes((bits & 0xFF, 0))


def bomb(length: int) -> bytes:
    """A compressed message of some `length` bytes that unpacks to a thousand times as many."""

    def codes() -> Iterator[int]:
        yield ord("a")
        yield from range(258, 4096)
        yield from (4095 for _ in range(length * 2 // 3))

    return b"\x09" + body({b"Algo": 0, b"Buf": lzw(codes())[:length]})


def treadmill(length: int) -> bytes:
    """As much work as unpacking can be, for little: literals, and the table cleared again and again."""
    period = lzw(256 if at % 248 == 0 else 97 for at in range(8 * 31))[:-2]
    return b"\x09" + body({b"Algo": 0, b"Buf": period * (length // len(period))})


def accusations() -> Iterator[bytes]:
    """That cannot be refuted, were they believed, and that outbid each other."""
    for name in ("m1", "m2"):
        for number in range(100):
            yield encode_message(Suspect(name, ABSURD - number, f"x{number}"))
            yield encode_message(Dead(name, ABSURD - number, name if number % 2 else "x"))
            yield encode_message(Alive(name, ABSURD - number, NOWHERE))


def members(count: int) -> list[Alive]:
    return [Alive(f"forged{at:05}", 1, Address("127.0.0.1", 1 + at % 60_000)) for at in range(count)]


def forged_members() -> Iterator[bytes]:
    """Thousands who do not exist, and each suspected at once."""
    everybody = members(6000)
    for at in range(0, len(everybody), 15):
        some = everybody[at : at + 15]
        yield join_parts([encode_message(alive) for alive in some])
        yield join_parts([encode_message(Suspect(alive.node, 1, "x")) for alive in some])


def forged_table() -> Iterator[bytes]:
    """Whole tables of them, with the real ones dead beyond refuting."""
    real = [
        MemberState(name, NOWHERE, b"", ABSURD, state)
        for name in ("m1", "m2")
        for state in (State.DEAD, State.LEFT, State.SUSPECT, State.ALIVE)
    ]
    forged = [MemberState(alive.node, alive.address, b"", 1, State.ALIVE) for alive in members(9000)]
    for join in (True, False):
        yield encode_stream(PushPull(join, (*real, *forged)))


def lying_streams() -> Iterator[bytes]:
    for count in (2**63, 2**63 - 1, 2**32, 10_001, -1, -(2**63), 1.5, None, b"x"):
        for key in (b"Nodes", b"UserStateLen", b"Join"):
            yield b"\x06" + body({b"Join": True, b"Nodes": 1, b"UserStateLen": 1, key: count}) + bytes(100)
        yield b"\x08" + body({b"UserMsgLen": count}) + bytes(100)
    yield b"\x06" + b"\x81\xa5Nodes" + b"\xdd\xff\xff\xff\xff" * 10_000
    yield b"\x0a" + b"\xff\xff\xff\xff" + bytes(1000)


def long_streams() -> Iterator[bytes]:
    noise = Random(3).randbytes(1 << 20) * 16
    yield noise
    yield b"\x06" + body({b"Join": True, b"Nodes": 0, b"UserStateLen": len(noise) - 1}) + noise
    yield b"\x08" + body({b"UserMsgLen": len(noise)}) + noise
    yield b"\x09" + noise
    yield b"\x0a\x00\xff\xff\xff" + noise


def ledger_bombs() -> Iterator[bytes]:
    for payload in (
        b"K" + b"\xdd\xff\xff\xff\xff" * 200_000,
        b"K\x94\x03\xa2m2\x00" + b"\x91" * (8 << 20),
        b"K\x94\x03\xa2m2\x00\xdd\x00\xff\xff\xff" + b"\x97\xa1b\x01\x00\x09\x00\xc2\x90" * 400_000,
        b"K\x94\x02\xa2m2\x00\xdf\x00\xff\xff\xff" + b"\xa1b\x92\x01\x01" * 1_000_000,
    ):
        yield encode_stream(User(payload))


def foreign_events() -> Iterator[bytes]:
    """User events and queries of Serf, each to be passed on once, more than anybody can."""
    random = Random(4)
    for number in range(1500):
        yield encode_message(User(b"\x03" + random.randbytes(900) + number.to_bytes(2)))
    yield encode_message(User(b"\x03" + bytes(50_000)))
    for ltime in (2**64 - 1, 2**63, -1):
        yield encode_message(User(b"\x00" + body({b"LTime": ltime, b"Node": b"m1", b"Prune": True})))


def in_pieces(packets: Callable[[], Iterator[bytes]]) -> Callable[[], Iterator[bytes]]:
    """Packets as streams, which none of them is."""
    return lambda: (packet for at, packet in enumerate(packets()) if at % 7 == 0)


_ODD: Final = frozenset({"bad_type", "bad_msgpack", "bad_field", "empty"})
CASES: Final = (
    Case("noise", _ODD, noise, in_pieces(noise)),
    Case("spoilt recordings", _ODD, lambda: spoilt("udp"), lambda: spoilt("tcp")),
    Case("wrong types in every field", frozenset({"bad_field"}), wrong_types, in_pieces(wrong_types)),
    Case("lying lengths", frozenset({"bad_msgpack"}), lying_lengths, lying_streams),
    Case("nesting", frozenset({"too_deep"}), nested, nested),
    Case(
        "bombs", frozenset({"too_big"}), lambda: iter([bomb(40_000)] * 20), lambda: iter([bomb(4 << 20)] * 3)
    ),
    Case(
        "slow to unpack",
        frozenset({"too_big", "bad_compression"}),
        lambda: iter([treadmill(60_000)] * 10),
        lambda: iter([treadmill(19 << 20), treadmill(4 << 20)] * 2),
    ),
    Case("bombs in the ledger", frozenset({"bad_ledger"}), streams=ledger_bombs),
    Case("long streams", frozenset({"too_big", "bad_type"}), streams=long_streams),
    Case("accusations beyond refuting", frozenset({"absurd_incarnation"}), accusations),
    Case("events of strangers", frozenset({"too_many_to_pass_on"}), foreign_events),
    Case("forged members", frozenset(), forged_members, forged_table),
)
