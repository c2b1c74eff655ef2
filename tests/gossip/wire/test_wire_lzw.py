"""The decoder against an encoder written from the same description, and against broken streams."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.errors import WireError
from gossip.wire.lzw import expand
from gossip.wire.reasons import BAD_COMPRESSION, TOO_BIG

CLEAR, END = 256, 257


def packed(codes: list[tuple[int, int]]) -> bytes:
    """Codes with their widths in bits, least significant bit first."""
    bits = at = 0
    for code, width in codes:
        bits |= code << at
        at += width
    return bits.to_bytes((at + 7) // 8, "little")


def compress(data: bytes) -> bytes:
    """As Go's encoder does it, byte for byte."""
    codes = [(CLEAR, 9)]
    table: dict[bytes, int] = {}
    width, high, string = 9, 257, b""
    for byte in data:
        longer = string + bytes((byte,))
        if len(longer) == 1 or longer in table:
            string = longer
            continue
        codes.append((table[string] if len(string) > 1 else string[0], width))
        high += 1
        if high == 1 << width:
            width += 1
        if high == 4095:
            codes.append((CLEAR, 12))
            table, width, high = {}, 9, 257
        else:
            table[longer] = high
        string = longer[-1:]
    if string:
        codes.append((table[string] if len(string) > 1 else string[0], width))
        high += 1
        if high == 1 << width:
            width += 1
    codes.append((END, width))
    return packed(codes)


@given(st.binary(max_size=2000) | st.text(alphabet="ab", max_size=4000).map(str.encode))
def test_expanding_undoes_compressing(data: bytes) -> None:
    assert expand(compress(data), len(data)) == data


@pytest.mark.parametrize("size", [0, 1, 255, 256, 511, 4096, 40_000])
def test_every_width_and_a_full_table_are_read(size: int) -> None:
    noise = bytes((at * at * 7 + at // 251) % 256 for at in range(size))
    assert expand(compress(noise), size) == noise


def test_a_table_that_nobody_clears_stays_as_it_is() -> None:
    # 3838 codes fill the table; the hundred after them define nothing and still mean what they did.
    codes = [(CLEAR, 9)]
    high = 257
    for at in range(3938):
        codes.append((at % 256, min(max(high.bit_length(), 9), 12)))
        high += 1
    codes.append((END, 12))
    assert expand(packed(codes), 4000) == bytes(at % 256 for at in range(3938))


def test_a_code_that_is_just_being_assigned_repeats_the_one_before() -> None:
    assert expand(packed([(CLEAR, 9), (97, 9), (258, 9), (259, 9), (END, 9)]), 10) == b"a" * 6


def test_bytes_after_the_end_code_are_ignored() -> None:
    assert expand(compress(b"gossip") + b"tail", 10) == b"gossip"


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        compress(b"gossip")[:-2],
        packed([(CLEAR, 9), (258, 9), (END, 9)]),
        packed([(CLEAR, 9), (97, 9), (259, 9), (END, 9)]),
        packed([(CLEAR, 9), (97, 9), (98, 9), (CLEAR, 9), (258, 9), (END, 9)]),
    ],
    ids=["nothing", "no end", "first code unknown", "code beyond the next", "code from before a clear"],
)
def test_what_is_no_lzw_stream_is_refused(stream: bytes) -> None:
    with pytest.raises(WireError) as refused:
        expand(stream, 1000)
    assert refused.value.reason == BAD_COMPRESSION


def test_output_may_reach_the_limit_and_not_pass_it() -> None:
    bomb = compress(bytes(100_000))
    assert expand(bomb, 100_000) == bytes(100_000)
    with pytest.raises(WireError) as refused:
        expand(bomb, 99_999)
    assert refused.value.reason == TOO_BIG


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = compress(bytes(400_000))
    started = time.perf_counter()
    with pytest.raises(WireError):
        expand(bomb * 500, 64 * 1024)
    assert time.perf_counter() - started < 0.5
