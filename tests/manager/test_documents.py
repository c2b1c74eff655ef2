"""Signed subscriptions: what is taken, and what is refused with which reason."""

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from manager.cli.subscription import new_private_key
from manager.subscription.documents import (
    DOCUMENT_BYTES_MAX,
    Document,
    DocumentError,
    open_document,
    read_private_key,
    read_public_key,
    sign,
)
from node.jws import public_text

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ISSUERS = [read_public_key(public_text(KEY))]
GRANT = Document(
    group="blue",
    serial=3,
    max_nodes=10,
    issued=1_800_000_000.0,
    not_before=1_800_000_000.0,
    expires=1_900_000_000.0,
    overage="1.25x",
    revoked=False,
)


def forged(payload: object, header: Mapping[str, object] = MappingProxyType({"alg": "EdDSA"})) -> str:
    """Signed by the issuer, whatever it says."""
    signed = f"{in_base64(json.dumps(dict(header)).encode())}.{in_base64(json.dumps(payload).encode())}"
    return f"{signed}.{in_base64(KEY.sign(signed.encode()))}"


def in_base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def refusal(text: str) -> str:
    with pytest.raises(DocumentError) as refused:
        open_document(text, ISSUERS, "blue")
    return str(refused.value)


@given(
    serial=st.integers(1, 2**53),
    max_nodes=st.none() | st.integers(0, 1_000_000),
    expires=st.none() | st.integers(0, 4_000_000_000).map(float),
    overage=st.sampled_from(["none", "1.25x", "1.5x", "2x", "always"]),
    revoked=st.booleans(),
)
def test_what_was_signed_is_what_is_read(
    serial: int, max_nodes: int | None, expires: float | None, overage: str, revoked: bool
) -> None:
    document = replace(
        GRANT,
        serial=serial,
        max_nodes=max_nodes,
        expires=expires,
        overage=overage,  # type: ignore[arg-type]
        revoked=revoked,
    )
    text = sign(document, KEY)
    assert open_document(f"{text}\n", ISSUERS, "blue") == replace(document, text=text)


def test_a_key_in_pem_is_read_back() -> None:
    pem = new_private_key()
    assert b"BEGIN PRIVATE KEY" in pem
    assert public_text(read_private_key(pem)) != public_text(KEY)
    for wrong in (b"", b"no key", pem[:40]):
        with pytest.raises(ValueError, match="is not a private key"):
            read_private_key(wrong)


def test_another_issuers_document_is_refused() -> None:
    assert "no issuer in subscription.issuers" in refusal(sign(GRANT, Ed25519PrivateKey.generate()))
    with pytest.raises(DocumentError, match="trusts no issuer"):
        open_document(sign(GRANT, KEY), [], "blue")


def test_another_groups_document_is_refused() -> None:
    assert "is for group 'green', this is group 'blue'" in refusal(sign(replace(GRANT, group="green"), KEY))


def test_one_changed_letter_is_refused() -> None:
    text = sign(GRANT, KEY)
    for at in range(0, len(text), 7):
        other = "A" if text[at] != "A" else "B"
        refusal(text[:at] + other + text[at + 1 :])


@pytest.mark.parametrize("text", ["", "x", "a.b", "a.b.c", "é.é.é", "....", "x" * (DOCUMENT_BYTES_MAX + 1)])
def test_what_is_no_document_is_refused(text: str) -> None:
    refusal(text)


@given(st.text())
def test_any_text_is_refused(text: str) -> None:
    refusal(text)


def test_no_other_algorithm_is_believed() -> None:
    for algorithm in ("none", "HS256", "ES256", None):
        assert "is not a signed subscription" in refusal(forged({"group": "blue"}, {"alg": algorithm}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("group", 7),
        ("serial", 0),
        ("serial", 2**60),
        ("serial", True),
        ("serial", None),
        ("max_nodes", -1),
        ("max_nodes", "many"),
        ("max_nodes", 10**9),
        ("issued", None),
        ("issued", "tomorrow"),
        ("expires", 7),
        ("not_before", "9" * 30),
        ("overage", "3x"),
        ("overage", ["none"]),
        ("revoked", "yes"),
    ],
)
def test_a_refusal_names_the_field(field: str, value: object) -> None:
    payload = {"group": "blue", "serial": 1, "max_nodes": 5, "issued": "2026-11-24T00:00:00Z"}
    open_document(forged(payload), ISSUERS, "blue")
    assert f"`{field}`" in refusal(forged({**payload, field: value}))


def test_fields_of_a_newer_issuer_are_passed_over() -> None:
    payload = {"group": "blue", "serial": 1, "max_nodes": None, "issued": "2026-11-24", "colour": "red"}
    assert open_document(forged(payload), ISSUERS, "blue").seats is None


@pytest.mark.parametrize(
    ("overage", "seats"), [("none", 10), ("1.25x", 12), ("1.5x", 15), ("2x", 20), ("always", None)]
)
def test_overage_adds_seats(overage: str, seats: int | None) -> None:
    assert replace(GRANT, overage=overage).seats == seats  # type: ignore[arg-type]
