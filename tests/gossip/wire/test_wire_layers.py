"""Seals and labels: only what a key of the group has sealed, with the label of the group, is taken."""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.errors import WireError
from gossip.messages import Ack, Nack, Ping, PushPull, StreamError, StreamMessage, User
from gossip.wire import (
    KEYS_MAX,
    LABEL_BYTES_MAX,
    PLAIN,
    STREAM_BYTES_MAX,
    Keyring,
    Layers,
    Nonces,
    Packet,
    StreamReader,
    decode_packet,
    encode_packet,
    encode_stream,
    read_key,
)
from gossip.wire.reasons import (
    BAD_TYPE,
    EMPTY,
    ENCRYPTED,
    HTTP,
    LABEL,
    PLAINTEXT,
    TOO_BIG,
    UNDECRYPTABLE,
)

KEY = bytes(range(32))
OTHER = bytes(range(16))
NONCE = bytes(12)
PING = Ping(1, "b")
PING_HEX = "0082a44e6f6465a162a55365714e6f01"
LATE_PING = Ping(200, "b")
"""Its last byte cannot be taken for padding: see `test_a_changed_version_may_cut_what_looks_padded`."""

keys = st.sampled_from((16, 24, 32)).flatmap(lambda size: st.binary(min_size=size, max_size=size))
keyrings = st.lists(keys, min_size=1, max_size=KEYS_MAX, unique=True).map(Keyring)
labels = st.binary(max_size=LABEL_BYTES_MAX)
nonces = st.binary(min_size=12, max_size=12)


def layers_with(
    nonce: bytes = NONCE, keyring: Keyring | None = None, label: bytes = b"", key: bytes = KEY
) -> Layers:
    return Layers(keyring or Keyring([key]), label, lambda count: nonce)


all_layers = st.builds(layers_with, nonces, keyrings, labels)


def reason_for(read: Callable[[], object]) -> str:
    with pytest.raises(WireError) as refused:
        read()
    return refused.value.reason


def read_stream(data: bytes, layers: Layers, *, answer: bool = False) -> StreamMessage | None:
    return StreamReader(layers, answer=answer).feed(data)


def padded(plain: bytes, padding: bytes | None = None) -> bytes:
    """`plain` under KEY as version 0 seals it."""
    rest = 16 - len(plain) % 16
    plain += bytes((rest,)) * rest if padding is None else padding
    return b"\x00" + NONCE + AESGCM(KEY).encrypt(NONCE, plain, None)


# Keys


@pytest.mark.parametrize("size", [16, 24, 32])
def test_a_key_is_16_24_or_32_bytes_in_base64(size: int) -> None:
    assert read_key(f" {b64encode(KEY[:size]).decode()}\n") == KEY[:size]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has 0 bytes, not 16, 24 or 32"),
        (b64encode(KEY[:31]).decode(), "has 31 bytes, not 16, 24 or 32"),
        (KEY.hex()[:-1] + "!", "is not base64"),
        ("hush", "has 3 bytes"),
        ("hüsh", "is not base64"),
    ],
)
def test_what_is_no_key_is_told_by_its_size_alone(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as error:
        read_key(text)
    assert not text or text not in str(error.value)


def test_the_first_key_seals_and_all_open() -> None:
    old, new = Keyring([OTHER]), Keyring([KEY])
    both = old.add(KEY)
    assert both.keys == (OTHER, KEY)
    assert old.open(both.seal(b"x", b"", NONCE), b"") == b"x"
    assert both.open(new.seal(b"x", b"", NONCE), b"") == b"x"
    assert both.use(KEY).keys == (KEY, OTHER)
    assert new.open(both.use(KEY).seal(b"x", b"", NONCE), b"") == b"x"
    assert both.use(KEY).remove(OTHER) == new


def test_a_rotation_has_its_order() -> None:
    ring = Keyring([OTHER])
    with pytest.raises(ValueError, match="not installed"):
        ring.use(KEY)
    with pytest.raises(ValueError, match="in use"):
        ring.remove(OTHER)
    assert ring.add(OTHER) == ring.remove(KEY) == ring


def test_the_number_of_keys_is_bounded_and_none_is_no_keyring() -> None:
    many = [bytes((at,)) * 16 for at in range(KEYS_MAX)]
    full = Keyring([*many, *many])
    assert full.keys == tuple(many)
    with pytest.raises(ValueError, match=f"has {KEYS_MAX + 1} keys"):
        full.add(KEY)
    with pytest.raises(ValueError, match="has 0 keys"):
        Keyring([])
    with pytest.raises(ValueError, match="has 17 bytes"):
        Keyring([b"x" * 17])


def test_no_key_is_in_what_is_printed() -> None:
    text = f"{layers_with()!r} {layers_with()} {Keyring([KEY, OTHER])!r}"
    assert "Keyring of 2" in text
    assert repr(KEY)[2:10] not in text
    assert KEY.hex() not in text
    assert b64encode(KEY).decode() not in text


# Undoing


@given(st.binary(max_size=400), all_layers, st.binary(max_size=10))
@settings(max_examples=200, deadline=None)
def test_opening_undoes_sealing_in_its_context_alone(plain: bytes, layers: Layers, context: bytes) -> None:
    assert layers.keyring is not None
    sealed = layers.sealed(plain, context)
    for key in layers.keyring.keys:
        opened = Keyring([key]).open(sealed, context)
        assert opened == (plain if key == layers.keyring.primary else None)
    assert layers.keyring.open(sealed, context) == plain
    assert layers.keyring.open(sealed, context + b"!") is None


@given(all_layers, st.booleans())
@settings(max_examples=100, deadline=None)
def test_decoding_undoes_encoding_under_any_key_and_label(layers: Layers, crc: bool) -> None:
    said = (PING, Nack(3))
    packet = encode_packet(said, crc, layers)
    assert len(packet) == len(encode_packet(said, crc)) + layers.overhead
    assert decode_packet(packet, layers) == Packet(said)
    for answer in (False, True):
        stream = encode_stream(PING, layers, answer=answer)
        assert read_stream(stream, layers, answer=answer) == PING
        if layers.label:
            assert reason_for(lambda: read_stream(stream, layers, answer=not answer)) == LABEL  # noqa: B023


@given(all_layers, st.data())
@settings(max_examples=300, deadline=None)
def test_a_flipped_bit_is_refused(layers: Layers, data: st.DataObject) -> None:
    def flipped(whole: bytes) -> bytes:
        at = data.draw(st.integers(0, len(whole) * 8 - 1))
        return bytes(byte ^ (1 << at % 8 if place == at // 8 else 0) for place, byte in enumerate(whole))

    packet = flipped(encode_packet([LATE_PING], layers=layers))
    assert reason_for(lambda: decode_packet(packet, layers)) in (UNDECRYPTABLE, LABEL, PLAINTEXT)
    stream = flipped(encode_stream(LATE_PING, layers))
    reader = StreamReader(layers)
    try:
        assert reader.feed(stream) is None
    except WireError:
        return
    # The length became larger, and so many bytes never come.
    with pytest.raises(WireError):
        reader.end()


def test_every_single_bit_of_a_packet_counts() -> None:
    layers = layers_with(label=b"blue")
    whole = encode_packet([LATE_PING], layers=layers)
    for at in range(len(whole) * 8):
        spoilt = bytearray(whole)
        spoilt[at // 8] ^= 1 << at % 8
        with pytest.raises(WireError):
            decode_packet(bytes(spoilt), layers)


# Versions


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 300])
def test_version_0_is_opened_and_its_padding_is_gone(length: int) -> None:
    message = User(b"x" * length)
    assert decode_packet(padded(encode_packet([message])), layers_with()) == Packet((message,))


@pytest.mark.parametrize(
    "padding",
    [
        b"",
        b"\x00" * 16,
        b"\x11" * 17,
        b"\x01" * 15 + b"\x02",
        b"\x10" * 15,
        b"\x20" * 32,
    ],
)
def test_padding_is_right_in_full_or_the_packet_is_refused(padding: bytes) -> None:
    payload = padded(b"\x08 a user message", padding)
    assert Keyring([KEY]).open(payload, b"") is None
    assert reason_for(lambda: decode_packet(payload, layers_with())) == UNDECRYPTABLE


def test_a_changed_version_may_cut_what_looks_padded() -> None:
    """What accepting version 0 costs: the version is not authenticated, in memberlist's protocol."""
    sealed = encode_packet([User(b"ends like padding: \x03\x03\x03"[-15:])], layers=layers_with())
    assert decode_packet(b"\x00" + sealed[1:], layers_with()) == Packet((User(b"like padding: "[-12:]),))


def test_version_1_is_written() -> None:
    assert encode_packet([PING], layers=layers_with())[0] == 1
    assert encode_stream(PING, layers_with())[5] == 1


# Where things stand


def test_the_label_is_outermost_and_the_answering_side_writes_none() -> None:
    layers = Layers(label=b"blue")
    assert encode_packet([PING], layers=layers).hex() == "f404626c7565" + PING_HEX
    assert encode_stream(PING, layers).hex() == "f404626c7565" + PING_HEX
    assert encode_stream(PING, layers, answer=True).hex() == PING_HEX


def test_a_frame_and_its_label_are_what_a_stream_authenticates() -> None:
    layers = layers_with(label=b"blue")
    plain = bytes.fromhex(PING_HEX)
    frame = b"\x0a\x00\x00\x00" + bytes((len(plain) + 29,))
    sealed = AESGCM(KEY).encrypt(NONCE, plain, frame + b"blue")
    assert encode_stream(PING, layers, answer=True) == frame + b"\x01" + NONCE + sealed
    # What opens on one transport does not open on the other.
    packet = encode_packet([PING], layers=layers)[6:]
    assert reason_for(lambda: read_stream(frame + packet, layers, answer=True)) == UNDECRYPTABLE


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        ("f4", LABEL),
        ("f400", LABEL),
        ("f4ff", LABEL),
        ("f405626c75652d", LABEL),
        ("f403726564", LABEL),
        ("", LABEL),
        ("f404626c7565f404626c7565", LABEL),
    ],
)
def test_any_other_label_is_refused(start: str, reason: str) -> None:
    data = bytes.fromhex(start + PING_HEX)
    assert reason_for(lambda: decode_packet(data, Layers(label=b"blue"))) == reason


def test_a_label_where_we_have_none_is_refused_at_its_first_byte() -> None:
    for layers in (PLAIN, layers_with()):
        assert reason_for(lambda: read_stream(b"\xf4", layers)) == LABEL  # noqa: B023
        assert reason_for(lambda: decode_packet(b"\xf4\x04blue\x00", layers)) == LABEL  # noqa: B023


def test_nothing_under_a_seal_is_sealed_or_checked_again() -> None:
    layers = layers_with()
    inner = encode_stream(PING, layers)
    frame = b"\x0a\x00\x00\x00" + bytes((len(inner) + 29,))
    assert reason_for(lambda: read_stream(frame + layers.sealed(inner, frame), layers)) == BAD_TYPE
    empty = b"\x0a\x00\x00\x00\x1d"
    assert reason_for(lambda: read_stream(empty + layers.sealed(b"", empty), layers)) == EMPTY
    assert reason_for(lambda: decode_packet(layers.sealed(b"", b""), layers)) == EMPTY


# Who has a key and who has none


@pytest.mark.parametrize("crc", [False, True])
@pytest.mark.parametrize("said", [[PING], [User(b"x")], [PING, Nack(1)], [Ack(1)]])
def test_plain_text_is_told_from_noise_where_there_is_a_key(
    said: list[Ping | User | Nack | Ack], crc: bool
) -> None:
    assert reason_for(lambda: decode_packet(encode_packet(said, crc), layers_with())) == PLAINTEXT
    for noise in (b"", b"\x00", b"\x01" * 40, b"\x0c" * 40, b"\xff" * 40, b"\x00\x81\xa4Node\x07"):
        assert reason_for(lambda: decode_packet(noise, layers_with())) == UNDECRYPTABLE  # noqa: B023


def test_streams_say_which_of_both_is_missing() -> None:
    layers = layers_with()
    for message in (PING, PushPull(True, ()), User(b"x"), StreamError("x")):
        data = encode_stream(message)
        assert reason_for(lambda: read_stream(data[:1], layers)) == PLAINTEXT  # noqa: B023
        assert reason_for(lambda: read_stream(encode_stream(message, layers)[:1], PLAIN)) == ENCRYPTED  # noqa: B023
    assert reason_for(lambda: read_stream(b"\x63", layers)) == BAD_TYPE
    assert (
        reason_for(lambda: read_stream(encode_stream(PING, layers), layers_with(key=OTHER))) == UNDECRYPTABLE
    )


def test_a_web_client_is_known_whatever_the_layers() -> None:
    for layers in (PLAIN, layers_with(), Layers(label=b"blue"), layers_with(label=b"blue")):
        assert reason_for(lambda: read_stream(b"GET / HTTP/1.1\r\n", layers)) == HTTP  # noqa: B023


# Bounds


def test_a_frame_beyond_the_bound_is_refused_by_its_announcement() -> None:
    frame = b"\x0a" + (STREAM_BYTES_MAX + 1).to_bytes(4)
    assert reason_for(lambda: read_stream(frame, layers_with())) == TOO_BIG


def test_the_largest_frame_is_taken() -> None:
    layers = layers_with(label=b"x" * LABEL_BYTES_MAX)
    head = len(encode_stream(User(b""), Layers()))
    message = User(b"x" * (STREAM_BYTES_MAX - 29 - head - 4))
    assert read_stream(encode_stream(message, layers), layers) == message


def test_a_label_has_255_bytes_at_most() -> None:
    with pytest.raises(ValueError, match="256 bytes"):
        Layers(label=b"x" * 256)


def test_a_nonce_is_remembered_and_the_memory_is_bounded() -> None:
    layers = layers_with(label=b"blue", nonce=b"twelve bytes")
    assert layers.nonce(encode_packet([PING], layers=layers)) == b"twelve bytes"
    recent = Nonces(10)
    for number in range(100):
        nonce = number.to_bytes(12)
        assert nonce not in recent
        recent.add(nonce)
        assert all(max(0, known).to_bytes(12) in recent for known in range(number - 9, number + 1))
    assert sum(number.to_bytes(12) in recent for number in range(100)) <= 20


def test_layers_are_compared_by_label_and_keys() -> None:
    assert layers_with() == replace(layers_with(), random_bytes=bytes)
    assert layers_with() != layers_with(key=OTHER)
