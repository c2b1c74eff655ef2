"""Our short way with WebSocket frames, beside `websockets`, which knows all of them."""

from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from manager.seed.frames import begins_report, frame_size, framed, message_in
from node.codec import encode
from node.protocol import Fetch, Here, Leave, NodeMessage, Report

SIZES = st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536])
FRAMES = st.builds(
    Frame,
    opcode=st.sampled_from([Opcode.BINARY, Opcode.TEXT, Opcode.CONT]),
    data=st.one_of(st.binary(max_size=40), SIZES.map(lambda size: b"x" * size)),
    fin=st.booleans(),
)


@given(FRAMES, st.booleans(), st.binary(max_size=20))
def test_a_frame_is_as_long_as_it_was_made_and_not_known_to_be_before_its_head_is_there(
    frame: Frame, mask: bool, after: bytes
) -> None:
    made = frame.serialize(mask=mask)
    assert frame_size(made + after) == len(made)
    assert [frame_size(made[:size]) for size in range(min(14, len(made)))].count(None) >= 2


@given(FRAMES, st.booleans())
def test_only_a_whole_masked_binary_message_is_taken_and_as_it_was_sent(frame: Frame, mask: bool) -> None:
    alone = mask and frame.opcode is Opcode.BINARY and frame.fin and len(frame.data) < 65_536
    made = frame.serialize(mask=mask)
    assert message_in(made) == (bytes(frame.data) if alone else None)


@given(SIZES)
def test_a_client_reads_what_is_framed_here(size: int) -> None:
    message = b"m" * size
    frame = framed(message)
    if frame is None:
        assert size == 65_536
        return
    client = ClientProtocol(parse_uri("ws://m/"), state=State.OPEN)
    client.receive_data(frame)
    assert client.events_received() == [Frame(Opcode.BINARY, message)]


@given(st.integers(0, 2**63 - 1), st.booleans(), st.integers(0, 15))
def test_a_report_is_told_from_every_other_word_by_its_beginning(number: int, mask: bool, cut: int) -> None:
    def framed_by_a_node(message: NodeMessage) -> bytes:
        return Frame(Opcode.BINARY, encode(message)).serialize(mask=mask)

    report = framed_by_a_node(Report(number=number, limits_version=1, counters={"requests": 1.0}))
    assert begins_report(report) == mask
    assert not begins_report(report[:cut])
    for other in (Here(number=number), Leave(reason="report"), Fetch(sha256="report", offset=0)):
        assert not begins_report(framed_by_a_node(other))
