"""Values as they stand on pages: MessagePack, in which a name may hold bytes that are not UTF-8."""

from typing import Any

import msgpack


def pack(value: object) -> bytes:
    """The bytes of a list, a number or a text, and of what such hold."""
    packed: bytes = msgpack.packb(value, unicode_errors="surrogateescape")
    return packed


def unpack(packed: bytes) -> Any:
    """What `pack` was given, tuples as lists; raises `ValueError` for everything else."""
    try:
        return msgpack.unpackb(packed, unicode_errors="surrogateescape")
    except (msgpack.UnpackException, RecursionError) as error:
        raise ValueError(str(error)) from error
