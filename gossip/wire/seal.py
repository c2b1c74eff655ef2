"""AES-GCM as memberlist seals with it, and the keys of a group.

    version (1 byte)   nonce (12 bytes)   ciphertext   tag (16 bytes)

Version 1 is what everybody writes. Version 0, whose plaintext is padded to a multiple of 16 bytes, is read
as well. The version stands outside of what the tag covers, so whoever is between two members can change it,
and padding is believed only when all of it is right.
"""

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_SIZES: Final = (16, 24, 32)
"""Bytes of a key for AES-128, AES-192 and AES-256."""

KEYS_MAX: Final = 8
"""A payload that no key opens costs one attempt for each; a rotation needs two."""

NONCE_BYTES: Final = 12
SEAL_OVERHEAD: Final = 1 + NONCE_BYTES + 16
"""Bytes that sealing adds."""

_VERSION: Final = 1
_PADDED_VERSION: Final = 0
_BLOCK: Final = 16
_LARGE: Final = 64 * 1024


def read_key(text: str) -> bytes:
    """A key as people write it, in base64. Raises `ValueError`, whose text does not tell the key."""
    try:
        key = b64decode("".join(text.split()), validate=True)
    except (Base64Error, ValueError):
        raise ValueError("is not base64") from None
    check_key(key)
    return key


def key_text(key: bytes) -> str:
    """`key` as people write it: not for logs or errors."""
    return b64encode(key).decode("ascii")


def fingerprint(key: bytes) -> str:
    """16 hexadecimal digits by which people and members name `key` without telling it."""
    return blake2b(key, digest_size=8, person=b"kcm keyring").hexdigest()


def check_key(key: bytes) -> None:
    """Raises `ValueError` unless it is of a size that AES has."""
    if len(key) not in KEY_SIZES:
        raise ValueError(f"has {len(key)} bytes, not 16, 24 or 32")


class Keyring:
    """The keys that open what members send, 1 to `KEYS_MAX`; the first, the primary, also seals.

    A value: `add`, `use` and `remove` give another keyring. What is printed of it tells no key.
    """

    __slots__ = ("_ciphers", "keys")

    def __init__(self, keys: Iterable[bytes]) -> None:
        """`ValueError` for no key, too many, or one of a wrong size; one that stands twice counts once."""
        self.keys: Final = tuple(dict.fromkeys(keys))
        if not 0 < len(self.keys) <= KEYS_MAX:
            raise ValueError(f"has {len(self.keys)} keys, not 1 to {KEYS_MAX}")
        for key in self.keys:
            check_key(key)
        self._ciphers: Final = tuple(map(AESGCM, self.keys))

    def __repr__(self) -> str:
        return f"<Keyring of {len(self.keys)}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Keyring) and self.keys == other.keys

    def __hash__(self) -> int:
        return hash(self.keys)

    @property
    def primary(self) -> bytes:
        return self.keys[0]

    def add(self, key: bytes) -> "Keyring":
        """`key` opens too; nothing changes where it does already. `ValueError` where it is one too many."""
        return Keyring((*self.keys, key))

    def use(self, key: bytes) -> "Keyring":
        """`key` seals from now on. `ValueError` unless it is there."""
        if key not in self.keys:
            raise ValueError("the key is not installed: install it everywhere first")
        return Keyring((key, *self.keys))

    def remove(self, key: bytes) -> "Keyring":
        """`key` opens nothing any more. `ValueError` for the primary; one that is not there is no error."""
        if key == self.primary:
            raise ValueError("the key is in use: use another one first")
        return Keyring(kept for kept in self.keys if kept != key)

    def seal(self, plain: bytes, context: bytes, nonce: bytes) -> bytes:
        """`plain` under the primary key. The nonce must be random, and never the same twice."""
        assert len(nonce) == NONCE_BYTES
        return b"\x01" + nonce + self._ciphers[0].encrypt(nonce, plain, context)

    def open(self, payload: bytes, context: bytes) -> bytes | None:
        """What was sealed with the same `context`, under any of the keys; None where none opens it."""
        if len(payload) < SEAL_OVERHEAD or payload[0] not in (_VERSION, _PADDED_VERSION):
            return None
        nonce = payload[1 : 1 + NONCE_BYTES]
        # A view costs more than it saves with a packet, and a large copy more than a view.
        sealed = (payload if len(payload) < _LARGE else memoryview(payload))[1 + NONCE_BYTES :]
        for cipher in self._ciphers:
            try:
                plain = cipher.decrypt(nonce, sealed, context)
            except InvalidTag:
                continue
            return plain if payload[0] == _VERSION else _unpadded(plain)
        return None


class Nonces:
    """The nonces of what was opened lately: the last `most` at least, twice as many at most.

    Nobody honest uses one twice, so what comes with a known one was recorded and sent again.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._new: set[bytes] = set()
        self._old: set[bytes] = set()

    def __contains__(self, nonce: bytes) -> bool:
        return nonce in self._new or nonce in self._old

    def add(self, nonce: bytes) -> None:
        """Only of what a key has opened, else strangers decide what is kept."""
        if len(self._new) >= self._most:
            self._old, self._new = self._new, set()
        self._new.add(nonce)


def _unpadded(plain: bytes) -> bytes | None:
    padding = plain[-1] if plain else 0
    if len(plain) % _BLOCK or not 1 <= padding <= _BLOCK or plain[-padding:] != bytes((padding,)) * padding:
        return None
    return plain[:-padding]
