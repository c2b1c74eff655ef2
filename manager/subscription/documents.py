"""The subscription as a signed document: a JWS in compact form (RFC 7515), by Ed25519 (RFC 8037).

Whoever holds the private key is the issuer; a company can be its own. The payload is a JSON object:

| field | meaning |
| --- | --- |
| `group` | the group that it is for |
| `serial` | a whole number from 1; of two documents the higher one holds |
| `max_nodes` | how many nodes may run; null for any number |
| `issued`, `not_before`, `expires` | RFC 3339; the last two may be missing |
| `overage` | how far `max_nodes` may be exceeded: `none`, `1.25x`, `1.5x`, `2x` or `always` |
| `revoked` | true where the issuer takes the subscription back |

Unknown fields are ignored, so that a newer issuer can serve an older manager.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, get_args

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from node import jws
from node.jws import NotSigned, WrongSigner, seal, unseal

DOCUMENT_BYTES_MAX = 2048
MAX_NODES_MAX = 1_000_000
SERIAL_MAX = 2**53
"""Beyond it JSON numbers are not exact everywhere."""

Overage: TypeAlias = Literal["none", "1.25x", "1.5x", "2x", "always"]


class DocumentError(Exception):
    """The document is not to be used; the text says why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What the issuer grants. Times are seconds since 1970; `text` is the document as it was signed."""

    group: str
    serial: int
    max_nodes: int | None
    issued: float
    not_before: float
    expires: float | None
    overage: Overage
    revoked: bool
    text: str = ""

    @property
    def seats(self) -> int | None:
        """How many nodes may hold a seat, overage included; None for any number."""
        if self.max_nodes is None or self.overage == "always":
            return None
        return self.max_nodes if self.overage == "none" else int(self.max_nodes * float(self.overage[:-1]))


def read_private_key(pem: bytes) -> Ed25519PrivateKey:
    """Raises `ValueError` for anything else than an unencrypted Ed25519 key in PEM."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise ValueError("is not a private key in PEM without a password") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("is a key of another kind than Ed25519")
    return key


def read_public_key(text: str) -> Ed25519PublicKey:
    """The key in `text`; raises `ValueError` with what it must be."""
    try:
        return jws.read_public_key(text)
    except ValueError:
        raise ValueError(
            "must be the base64 of a public Ed25519 key, as `kcm subscription keygen` prints it"
        ) from None


def sign(document: Document, key: Ed25519PrivateKey) -> str:
    """`document` in signed form; its `text` is not looked at."""
    payload: dict[str, Any] = {
        "group": document.group,
        "serial": document.serial,
        "max_nodes": document.max_nodes,
        "issued": as_text(document.issued),
        "not_before": as_text(document.not_before),
        "overage": document.overage,
    }
    if document.expires is not None:
        payload["expires"] = as_text(document.expires)
    if document.revoked:
        payload["revoked"] = True
    return seal(payload, key)


def open_document(text: str, issuers: Sequence[Ed25519PublicKey], group: str) -> Document:
    """The document in `text`, signed by one of `issuers`, for `group`; raises `DocumentError`."""
    text = text.strip()
    if len(text) > DOCUMENT_BYTES_MAX:
        raise DocumentError(f"the document has {len(text)} bytes, more than {DOCUMENT_BYTES_MAX}")
    if not issuers:
        raise DocumentError(
            "this manager trusts no issuer: set subscription.issuers to the issuer's public key"
        )
    document = _read(_verified(text, issuers), text)
    if document.group != group:
        raise DocumentError(
            f"the document is for group {document.group!r}, this is group {group!r}: have one issued for it"
        )
    return document


def _verified(text: str, issuers: Sequence[Ed25519PublicKey]) -> bytes:
    """The payload, once its signature has held."""
    try:
        return unseal(text, issuers)
    except NotSigned:
        raise DocumentError(
            "what was given is not a signed subscription: `kcm subscription sign` makes one"
        ) from None
    except WrongSigner:
        raise DocumentError(
            "no issuer in subscription.issuers has signed this document: compare the key that "
            "`kcm subscription keygen` printed"
        ) from None


def _read(body: bytes, text: str) -> Document:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise DocumentError("the signed payload is not a JSON object")
    group, max_nodes = fields.get("group"), fields.get("max_nodes", "missing")
    overage, revoked = fields.get("overage", "none"), fields.get("revoked", False)
    if not isinstance(group, str):
        raise DocumentError("`group` must be the name of a group")
    if max_nodes is not None and not _is_count(max_nodes, 0, MAX_NODES_MAX):
        raise DocumentError(f"`max_nodes` must be a whole number from 0 to {MAX_NODES_MAX}, or null")
    if not _is_count(fields.get("serial"), 1, SERIAL_MAX):
        raise DocumentError(f"`serial` must be a whole number from 1 to {SERIAL_MAX}")
    if overage not in get_args(Overage):
        raise DocumentError(f"`overage` must be one of {', '.join(get_args(Overage))}")
    if not isinstance(revoked, bool):
        raise DocumentError("`revoked` must be true or false")
    issued = _time(fields, "issued")
    if issued is None:
        raise DocumentError("`issued` is missing: a time such as 2026-11-24T00:00:00Z")
    not_before = _time(fields, "not_before")
    return Document(
        group=group,
        serial=fields["serial"],
        max_nodes=max_nodes,
        issued=issued,
        not_before=issued if not_before is None else not_before,
        expires=_time(fields, "expires"),
        overage=overage,
        revoked=revoked,
        text=text,
    )


def parse_time(text: str) -> float:
    """Seconds since 1970 of a date or an RFC 3339 time; without a zone it is UTC. Raises `ValueError`."""
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _time(fields: dict[str, Any], name: str) -> float | None:
    text = fields.get(name)
    if text is None:
        return None
    try:
        return parse_time(text)
    except (ValueError, TypeError, OverflowError):
        raise DocumentError(f"`{name}` must be a time such as 2026-11-24T00:00:00Z") from None


def _is_count(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def as_text(unix_seconds: float) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
