"""Messages to bytes and back: memberlist's packets and streams, and what Serf puts in them.

Pure functions of bytes: no sockets, no clock, no chance. Whatever a peer sends either decodes or
raises `WireError`, with a reason out of `gossip.wire.reasons`.
"""

from gossip.wire.bodies import encode_message
from gossip.wire.fields import INCARNATION_LIMIT
from gossip.wire.layers import LABEL_BYTES_MAX, PLAIN, Layers
from gossip.wire.packet import (
    COMPOUND_OVERHEAD,
    CRC_OVERHEAD,
    PART_OVERHEAD,
    PARTS_MAX,
    Packet,
    decode_packet,
    encode_packet,
    join_parts,
    part_cost,
)
from gossip.wire.seal import KEYS_MAX, Keyring, Nonces, fingerprint, key_text, read_key
from gossip.wire.serf import decode_serf, decode_tags, encode_serf, encode_tags
from gossip.wire.stream import MEMBERS_MAX, STREAM_BYTES_MAX, StreamReader, encode_stream

__all__ = [
    "COMPOUND_OVERHEAD",
    "CRC_OVERHEAD",
    "INCARNATION_LIMIT",
    "KEYS_MAX",
    "LABEL_BYTES_MAX",
    "MEMBERS_MAX",
    "PARTS_MAX",
    "PART_OVERHEAD",
    "PLAIN",
    "STREAM_BYTES_MAX",
    "Keyring",
    "Layers",
    "Nonces",
    "Packet",
    "StreamReader",
    "decode_packet",
    "decode_serf",
    "decode_tags",
    "encode_message",
    "encode_packet",
    "encode_serf",
    "encode_stream",
    "encode_tags",
    "fingerprint",
    "join_parts",
    "key_text",
    "part_cost",
    "read_key",
]
