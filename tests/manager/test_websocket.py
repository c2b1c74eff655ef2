"""The server's side of a WebSocket: what any bytes of a client come to."""

import contextlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.websocket import (
    MESSAGE_TOO_BIG,
    PROTOCOL_ERROR,
    REQUEST_BYTES_MAX,
    FrameError,
    Frames,
    Opcode,
    RequestError,
    accepted,
    close_code,
    close_frame,
    frame,
    read_request,
)

ASKED = (
    b"GET /v1/node?x=1 HTTP/1.1\r\nHost: m1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: a, b\r\n\r\n"
)


def client_frame(first: int, payload: bytes, mask: bytes = b"\x01\x02\x03\xff") -> bytes:
    size = len(payload)
    head = bytes((first, 0x80 | size)) if size < 126 else bytes((first, 0xFE)) + size.to_bytes(2, "big")
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def all_of(frames: Frames) -> list[tuple[Opcode, bytes]]:
    found = []
    while (one := frames.take()) is not None:
        found.append(one)
    return found


def test_the_example_of_the_rfc_is_answered_as_it_says() -> None:
    read = read_request(ASKED + b"rest")
    assert read is not None
    request, rest = read
    assert (request.path, request.key, rest) == ("/v1/node", "dGhlIHNhbXBsZSBub25jZQ==", b"rest")
    assert request.subprotocols == ["a", "b"]
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in accepted(request.key or "", "b")


@given(st.integers(0, len(ASKED) - 1))
def test_a_request_is_waited_for_until_it_is_whole(size: int) -> None:
    assert read_request(ASKED[:size]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01",
        b"hello\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"G" * (REQUEST_BYTES_MAX + 1),
        b"GET / HTTP/1.1\r\nx: " + b"y" * REQUEST_BYTES_MAX + b"\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused_as_soon_as_that_is_certain(data: bytes) -> None:
    with pytest.raises(RequestError):
        read_request(data)


@pytest.mark.parametrize(
    "without",
    [b"Connection: keep-alive, Upgrade\r\n", b"Upgrade: WebSocket\r\n", b"Sec-WebSocket-Version: 13\r\n"],
)
def test_who_does_not_ask_for_a_websocket_has_no_key(without: bytes) -> None:
    read = read_request(ASKED.replace(without, b""))
    assert read is not None
    assert read[0].key is None


@given(st.lists(st.tuples(st.binary(max_size=300), st.binary(min_size=4, max_size=4))), st.data())
def test_messages_are_the_same_however_their_bytes_arrive(
    said: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    stream = b"".join(client_frame(0x82, payload, mask) for payload, mask in said)
    frames, found, at = Frames(1000), [], 0
    while at < len(stream):
        size = data.draw(st.integers(1, len(stream) - at))
        frames.feed(stream[at : at + size])
        found += all_of(frames)
        at += size
    assert found == [(Opcode.BINARY, payload) for payload, _ in said]


def test_a_message_in_parts_is_put_together_and_a_ping_may_come_between() -> None:
    frames = Frames(1000)
    frames.feed(client_frame(0x02, b"one ") + client_frame(0x89, b"?") + client_frame(0x00, b"two "))
    frames.feed(client_frame(0x80, b"three") + client_frame(0x82, b"next"))
    assert [found for found in all_of(frames) if found[0] is not Opcode.CONTINUATION] == [
        (Opcode.PING, b"?"),
        (Opcode.BINARY, b"one two three"),
        (Opcode.BINARY, b"next"),
    ]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(Opcode.BINARY, b"no mask"), PROTOCOL_ERROR),
        (client_frame(0xC2, b"compressed"), PROTOCOL_ERROR),
        (client_frame(0x83, b"of no kind"), PROTOCOL_ERROR),
        (client_frame(0x80, b"goes on from nothing"), PROTOCOL_ERROR),
        (client_frame(0x02, b"a") + client_frame(0x82, b"within another"), PROTOCOL_ERROR),
        (client_frame(0x09, b"a ping in parts"), PROTOCOL_ERROR),
        (client_frame(0x89, bytes(126)), PROTOCOL_ERROR),
        (client_frame(0x82, bytes(1001)), MESSAGE_TOO_BIG),
        (b"\x82\xff" + (2**63).to_bytes(8, "big"), MESSAGE_TOO_BIG),
        (client_frame(0x02, bytes(600)) + client_frame(0x80, bytes(600)), MESSAGE_TOO_BIG),
    ],
)
def test_a_broken_frame_is_known_by_its_head(data: bytes, code: int) -> None:
    frames = Frames(1000)
    frames.feed(data)
    with pytest.raises(FrameError) as caught:
        all_of(frames)
    assert caught.value.code == code


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_an_error(data: bytes) -> None:
    frames = Frames(1000)
    frames.feed(data)
    with contextlib.suppress(FrameError):
        all_of(frames)


def test_a_long_reason_for_the_end_is_cut_between_characters() -> None:
    whole = close_frame(1002, "ü" * 200)
    assert len(whole) <= 127
    assert close_code(whole[2:]) == 1002
    assert whole[4:].decode() == "ü" * 61
    assert close_code(b"") is None


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_a_frame_of_ours_says_how_long_it_is(size: int) -> None:
    data = frame(Opcode.BINARY, os.urandom(size))
    assert len(data) == size + (2 if size < 126 else 4 if size < 65536 else 10)
