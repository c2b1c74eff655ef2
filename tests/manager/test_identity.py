"""Ids and tickets: a key gives one id everywhere in a group, and nobody else's ticket is taken."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.identity import Identity, Ticket, TicketError
from node.protocol import is_node_id


@given(st.binary(min_size=32, max_size=32))
def test_a_key_has_one_id_in_a_group_and_another_in_another(key: bytes) -> None:
    id_ = Identity("blue", "s").id_of(key)
    assert is_node_id(id_)
    assert Identity("blue", "s").id_of(key) == id_
    assert Identity("blue", "other").id_of(key) != id_
    assert Identity("blue", "").id_of(key) != Identity("green", "").id_of(key)


@given(st.integers(0, 2**62))
def test_a_sealed_ticket_opens_to_itself(stamp: int) -> None:
    identity = Identity("blue", "s")
    ticket = Ticket("blue", identity.id_of(bytes(32)), stamp)
    assert identity.open(identity.seal(ticket)) == ticket


def test_a_ticket_of_another_group_is_named_as_such() -> None:
    other = Identity("green", "s")
    with pytest.raises(TicketError, match="group 'green', this is group 'blue'"):
        Identity("blue", "s").open(other.seal(Ticket("green", other.id_of(bytes(32)), 1)))


def test_a_ticket_under_another_secret_is_refused() -> None:
    other = Identity("blue", "other")
    with pytest.raises(TicketError, match=r"another group\.secret"):
        Identity("blue", "s").open(other.seal(Ticket("blue", other.id_of(bytes(32)), 1)))


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_ticket_with_any_byte_changed_is_refused(at: int, flip: int) -> None:
    identity = Identity("blue", "s")
    sealed = bytearray(urlsafe_b64decode(identity.seal(Ticket("blue", identity.id_of(bytes(32)), 7))))
    sealed[at % len(sealed)] ^= flip
    with pytest.raises(TicketError):
        identity.open(urlsafe_b64encode(bytes(sealed)).decode())


@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda data: urlsafe_b64encode(data).decode()))
def test_any_other_text_is_no_ticket(text: str) -> None:
    with pytest.raises(TicketError):
        Identity("blue", "s").open(text)
