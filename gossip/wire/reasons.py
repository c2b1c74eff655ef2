"""Why bytes were refused: the only values `WireError.reason` takes here, fit for a metric's label."""

from typing import Final

EMPTY: Final = "empty"
"""Nothing at all, or nothing inside a wrapping."""

TRUNCATED: Final = "truncated"
"""The bytes end before what they announce."""

TOO_BIG: Final = "too_big"
"""Over a bound: packed, unpacked, a length announced, or a count of entries."""

TOO_DEEP: Final = "too_deep"
"""Wrappings in wrappings, or containers in containers, beyond what anybody sends."""

BAD_TYPE: Final = "bad_type"
"""A message type that is not known, or does not belong where it stands."""

BAD_MSGPACK: Final = "bad_msgpack"
"""Not msgpack, cut short inside a value, or no map where a message body belongs."""

BAD_FIELD: Final = "bad_field"
"""A field of the wrong type, or a number out of its range."""

BAD_NAME: Final = "bad_name"
"""A member's name that is missing, or longer than 255 bytes."""

BAD_ADDRESS: Final = "bad_address"
"""An IP address of neither 4 nor 16 bytes."""

BAD_META: Final = "bad_meta"
"""Meta of more than 512 bytes, or tags that cannot be read."""

BAD_INCARNATION: Final = "bad_incarnation"
"""An incarnation that leaves no room to refute it."""

BAD_VERSIONS: Final = "bad_versions"
"""A version vector that is not six bytes, starts at 0, or whose ranges are crossed."""

BAD_CRC: Final = "bad_crc"
"""The checksum does not match."""

CRC_MISPLACED: Final = "crc_misplaced"
"""A checksum anywhere but outermost in a packet."""

BAD_COMPRESSION: Final = "bad_compression"
"""An algorithm that is not LZW, or not an LZW stream."""

EMPTY_PART: Final = "empty_part"
"""A compound with a part of no bytes, which nobody honest sends: it stops serf 0.9.4."""

ENCRYPTED: Final = "encrypted"
"""A stream under a key, where we have none."""

PLAINTEXT: Final = "plaintext"
"""Not under a key, where we have one."""

UNDECRYPTABLE: Final = "undecryptable"
"""Under a key that we do not have, changed on its way, or noise."""

REPLAYED: Final = "replayed"
"""A sealed packet that came before, byte for byte."""

LABEL: Final = "label"
"""A group label that is not ours, where we have none, or not at all where we have one."""

HTTP: Final = "http"
"""A web client on the gossip port."""
