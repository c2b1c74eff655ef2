"""Messages to bytes and back: memberlist's packets and streams, and what Serf puts in them.

Pure functions of bytes: no sockets, no clock, no chance. Whatever a peer sends either decodes or
raises `WireError`, with a reason out of `gossip.wire.reasons`.
"""

from gossip.wire.bodies import encode_message
from gossip.wire.fields import INCARNATION_LIMIT
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
from gossip.wire.serf import decode_serf, decode_tags, encode_serf, encode_tags
from gossip.wire.stream import MEMBERS_MAX, STREAM_BYTES_MAX, StreamReader, encode_stream

__all__ = [
    "COMPOUND_OVERHEAD",
    "CRC_OVERHEAD",
    "INCARNATION_LIMIT",
    "MEMBERS_MAX",
    "PARTS_MAX",
    "PART_OVERHEAD",
    "STREAM_BYTES_MAX",
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
    "join_parts",
    "part_cost",
]
