"""Signed JSON: a JWS in compact form (RFC 7515), by Ed25519 (RFC 8037)."""

import json
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


class NotSigned(Exception):
    """The text is no JWS by Ed25519."""


class WrongSigner(Exception):
    """None of the keys has signed it."""


def public_text(key: Ed25519PrivateKey | Ed25519PublicKey) -> str:
    """The public key as it stands in files: 32 bytes in base64."""
    return b64encode(_raw(key.public_key() if isinstance(key, Ed25519PrivateKey) else key)).decode()


def read_public_key(text: str) -> Ed25519PublicKey:
    """The key in `text`; raises `ValueError` where there is none."""
    return Ed25519PublicKey.from_public_bytes(b64decode(text, validate=True))


def seal(payload: Mapping[str, Any], key: Ed25519PrivateKey) -> str:
    """`payload` in signed form."""
    header = {"alg": "EdDSA", "kid": sha256(_raw(key.public_key())).hexdigest()[:16]}
    signed = f"{_encode(_json(header))}.{_encode(_json(payload))}"
    return f"{signed}.{_encode(key.sign(signed.encode()))}"


def unseal(text: str, keys: Iterable[Ed25519PublicKey]) -> bytes:
    """The payload, once its signature by one of `keys` has held; raises `NotSigned`, `WrongSigner`."""
    try:
        header, payload, signature = text.encode("ascii").split(b".")
        fields = json.loads(_decode(header))
        # Never the algorithm that a stranger names: there is one.
        if not isinstance(fields, dict) or fields.get("alg") != "EdDSA":
            raise NotSigned
        sealed, body = _decode(signature), _decode(payload)
    except (ValueError, RecursionError):
        raise NotSigned from None
    for key in keys:
        try:
            key.verify(sealed, header + b"." + payload)
        except InvalidSignature:
            continue
        return body
    raise WrongSigner


def _raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _json(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":"), sort_keys=True).encode()


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(encoded: bytes) -> bytes:
    return urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4))
