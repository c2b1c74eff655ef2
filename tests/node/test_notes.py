"""What a node says of a failure is short, and keeps what matters of it."""

from hashlib import sha256

from node.codec import decode, encode
from node.configuration import Configuration
from node.effects import Send
from node.notes import NOTE_CHARS_MAX, in_short
from node.protocol import TEXT_MAX, Chunk, Data, Order, Try
from node.service import Service

SAID = "is not valid: Traceback\n" + "  File x\n" * 200 + "ValueError: no such backend"


def test_what_a_gateway_says_at_length_is_kept_with_its_last_line() -> None:
    assert len(SAID) > TEXT_MAX
    long = in_short(SAID)
    assert len(long) == NOTE_CHARS_MAX
    assert long.startswith("is not valid: Traceback")
    assert long.endswith("ValueError: no such backend")
    assert in_short("short") == "short"


def test_why_a_restart_failed_is_kept_in_the_same_way() -> None:
    service = Service("", (0, ""))
    service.received(Order(serial=1, writer="m1", action="restart"))
    service.restarted(SAID)
    assert service.note == in_short(SAID)


def test_the_answer_to_a_trial_is_a_frame_that_a_manager_reads_however_much_the_gateway_says() -> None:
    found, hash_ = Configuration(0), sha256(b"new").hexdigest()
    found.managed = True
    found.received(Try(number=4, sha256=hash_, size=3))
    found.received(Chunk(sha256=hash_, offset=0, data=Data(b"new")))
    [answer, *_] = found.staged(hash_, SAID)
    assert isinstance(answer, Send)
    assert decode(encode(answer.message)) == answer.message
