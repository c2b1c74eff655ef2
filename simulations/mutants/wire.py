"""Bugs of packets that others shipped (the report beside each), put back one at a time."""

from collections.abc import Sequence
from zlib import crc32

from gossip.wire import packet
from gossip.wire.bodies import CRC
from simulations.mutants.patch import Patch

_COUNTED = 4
"""memberlist's count went up to 255; no packet of ours has so many parts."""


def compound_count_wraps(patch: Patch) -> None:
    """The count of a compound's parts overflows, and those beyond are lost (memberlist 8d2a27a)."""
    right = packet.join_parts

    def join(parts: Sequence[bytes], crc: bool = False) -> bytes:
        data = right(parts)
        if len(parts) > 1:
            data = bytes((data[0], len(parts) % _COUNTED)) + data[2:]
        return _checked(data) if crc else data

    patch(packet, "join_parts", join)


def buffer_not_truncated(patch: Patch) -> None:
    """Behind a packet stands what is left of a longer one before it (foca#35)."""
    right, before = packet.join_parts, [b""]

    def join(parts: Sequence[bytes], crc: bool = False) -> bytes:
        data = right(parts)
        before[0] = data = data + before[0][len(data) :]
        return _checked(data) if crc else data

    patch(packet, "join_parts", join)


def _checked(data: bytes) -> bytes:
    return bytes((CRC,)) + crc32(data).to_bytes(4) + data
