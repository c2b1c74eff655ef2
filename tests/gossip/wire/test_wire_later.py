"""What a later version adds to what managers tell each other is ignored, and bounded."""

from typing import Any

import msgpack
import pytest

from gossip.errors import WireError
from gossip.key_messages import KeyAsk, KeySays, Verb
from gossip.ledger_messages import DigestIs, Heard, LedgerMessage, Pieces, Push, Sender, Summary, Sync
from gossip.pages import Entry, Mark, Piece
from gossip.wire.keys import decode_keys, encode_keys
from gossip.wire.ledger import decode_ledger, encode_ledger

WHO = Sender("m1", 7)
DIGEST = {"m1": Mark(1, 2), "m2": Mark(3, 4)}
PIECES = (Piece("m1", 1, 0, 3, 0, (Entry("a", 1, b"x"), Entry("b", 3, None)), False),)
MESSAGES: tuple[LedgerMessage, ...] = (
    Heard(WHO, "m2", Mark(1, 2), Mark(3, 4)),
    Summary(WHO, bytes(8)),
    DigestIs(WHO, DIGEST),
    Push(WHO, PIECES),
    Sync(WHO, DIGEST),
    Pieces(WHO, DIGEST, PIECES, True),
)
NEWS: list[Any] = ["news", {"with": [1, {"more": None}]}, list(range(100))]


def later(payload: bytes, news: list[Any]) -> bytes:
    fields = msgpack.unpackb(payload[1:])
    packed: bytes = msgpack.packb([*fields, *news])
    return payload[:1] + packed


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_further_fields_of_a_message_of_the_ledger_are_passed_over(message: LedgerMessage) -> None:
    assert decode_ledger(later(encode_ledger(message), NEWS)) == message


def test_further_fields_of_what_is_in_a_message_are_passed_over() -> None:
    fields = msgpack.unpackb(encode_ledger(Pieces(WHO, DIGEST, PIECES, True))[1:])
    fields[3] = {owner: [*mark, "news"] for owner, mark in fields[3].items()}
    fields[4] = [[*piece[:6], [[*entry, "news"] for entry in piece[6]], *NEWS] for piece in fields[4]]
    assert decode_ledger(b"K" + msgpack.packb(fields)) == Pieces(WHO, DIGEST, PIECES, True)


@pytest.mark.parametrize("message", [KeyAsk(WHO, WHO, 3, Verb.LIST), KeySays(WHO, 3, "", ("0" * 16,))])
def test_further_fields_of_a_message_about_keys_are_passed_over(message: KeyAsk | KeySays) -> None:
    assert decode_keys(later(encode_keys(message), NEWS)) == message


def test_a_kind_that_is_not_known_is_counted_and_not_taken() -> None:
    with pytest.raises(WireError, match="no ledger message of this version"):
        decode_ledger(b"K" + msgpack.packb([6, "m1", 7, *NEWS]))


def test_nobody_adds_without_end() -> None:
    message = encode_ledger(MESSAGES[0])
    with pytest.raises(WireError, match="not known here"):
        decode_ledger(later(message, ["news"] * 17))
    with pytest.raises(WireError):
        decode_ledger(message[:2] + b"\xdd\xff\xff\xff\xff" + message[2:])
