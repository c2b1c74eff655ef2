"""Messages about keys as bytes: `R` (as in ring), then a MessagePack array that starts with the kind.

They travel as user messages by UDP, like those of the ledger, and only where packets are sealed.
"""

from typing import Any, Final

import msgpack

from gossip.errors import WireError
from gossip.key_messages import KeyAsk, KeyMessage, KeySays, Verb
from gossip.ledger_messages import Sender
from gossip.wire.ledger import read_name, read_number
from gossip.wire.seal import KEY_SIZES, KEYS_MAX

KEYS_PREFIX: Final = b"R"
_FINGERPRINT_CHARS: Final = 16
_WHY_CHARS_MAX: Final = 300
_BYTES_MAX: Final = 4096


def encode_keys(message: KeyMessage) -> bytes:
    """The payload of a user message."""
    match message:
        case KeyAsk(sender, to, number, verb, key):
            fields: list[Any] = [0, *sender, *to, number, verb.value, key]
        case KeySays(sender, number, why, fingerprints):
            fields = [1, *sender, number, why[:_WHY_CHARS_MAX], list(fingerprints)]
    packed: bytes = msgpack.packb(fields, unicode_errors="surrogateescape")
    return KEYS_PREFIX + packed


def decode_keys(payload: bytes) -> KeyMessage:
    """The message in `payload`, which starts with `KEYS_PREFIX`; raises `WireError` for anything else."""
    if len(payload) > _BYTES_MAX:
        raise WireError("bad_keys", "a message about keys that is too long")
    try:
        fields = msgpack.unpackb(payload[len(KEYS_PREFIX) :], unicode_errors="surrogateescape")
        match fields:
            case [0, name, start, to_name, to_start, number, str(verb), bytes(key), *_]:
                if (verb == Verb.LIST) != (not key) or (key and len(key) not in KEY_SIZES):
                    raise ValueError("no key of a size that AES has")
                to = Sender(read_name(to_name), read_number(to_start))
                sender = Sender(read_name(name), read_number(start))
                return KeyAsk(sender, to, read_number(number), Verb(verb), key)
            case [1, name, start, number, str(why), list(fingerprints), *_] if len(why) <= _WHY_CHARS_MAX:
                sender = Sender(read_name(name), read_number(start))
                return KeySays(sender, read_number(number), why, _fingerprints(fingerprints))
            case _:
                raise ValueError("no message about keys of this version")
    except (ValueError, msgpack.UnpackException, RecursionError):
        # Not the cause's text, which may tell a part of a key.
        raise WireError("bad_keys", "no message about keys") from None


def _fingerprints(values: list[Any]) -> tuple[str, ...]:
    if len(values) > KEYS_MAX or not all(
        isinstance(value, str) and len(value) == _FINGERPRINT_CHARS for value in values
    ):
        raise ValueError("no list of fingerprints")
    return tuple(values)
