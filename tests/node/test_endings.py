"""How a connection ended, in words."""

import pytest

from node import protocol
from node.endings import in_words


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        (1006, "", "broke without a goodbye: the manager died, or the network was cut"),
        (1006, "connection reset by peer", "the network was cut (connection reset by peer)"),
        (1002, "hello: key", "do their versions go together? (hello: key)"),
        (4008, "silent for too long", "the node was held up, or the network was cut"),
        (4711, "", "it closed the connection with code 4711"),
        (4711, "why", "with code 4711 (why)"),
    ],
)
def test_a_close_code_is_told_in_words(code: int, reason: str, words: str) -> None:
    assert words in in_words(code, reason)


def test_every_code_of_the_protocol_that_a_manager_sends_has_its_words() -> None:
    codes = {value for name, value in vars(protocol).items() if name.startswith("CLOSE_")}
    for code in codes - {protocol.CLOSE_MOVING}:
        assert "with code" not in in_words(code, "")
