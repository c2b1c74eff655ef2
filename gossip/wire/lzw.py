"""LZW as Go's `compress/lzw` writes it: least significant bit first, 8-bit literals, 9 to 12 bits a code.

memberlist compresses every TCP message by default, so no group can be joined without reading it.
Nobody requires us to write it.
"""

from typing import Final

from gossip.errors import WireError
from gossip.wire.reasons import BAD_COMPRESSION, TOO_BIG

_CLEAR: Final = 256
_END: Final = 257
_FIRST_WIDTH: Final = 9
_LAST_WIDTH: Final = 12
_ROOTS: Final = [bytes((byte,)) for byte in range(256)] + [b"", b""]
"""Literals, and two places that stand for clear and end."""


def expand(data: bytes, limit: int) -> bytes:
    """The plain bytes of an LZW stream, at most `limit` of them.

    Bytes after the end code are ignored. Raises `WireError`: `too_big` as soon as the output
    passes `limit` (by less than one entry, 4 KiB), `bad_compression` for a code that stands for
    nothing yet and for a stream without its end code.
    """
    table = _ROOTS.copy()
    size = len(table)
    width = _FIRST_WIDTH
    mask = (1 << width) - 1
    previous = b""
    bits = count = 0
    out = bytearray()
    for byte in data:
        bits |= byte << count
        count += 8
        if count < width:
            continue
        # A code is wider than a byte, so a byte completes at most one.
        code = bits & mask
        bits >>= width
        count -= width

        if code < size:
            entry = table[code]
            if not entry:
                if code == _END:
                    return bytes(out)
                size = len(_ROOTS)
                del table[size:]
                width = _FIRST_WIDTH
                mask = (1 << width) - 1
                previous = b""
                continue
        elif code == size and previous:
            entry = previous + previous[:1]
        else:
            raise WireError(BAD_COMPRESSION, f"LZW code {code} where {size} is the next to be assigned")

        out += entry
        if len(out) > limit:
            raise WireError(TOO_BIG, f"unpacks to more than {limit} bytes")
        # The first code after a clear defines nothing; a full table stays as it is.
        if previous and size <= 0xFFF:
            table.append(previous + entry[:1])
            size += 1
            if size > mask and width < _LAST_WIDTH:
                width += 1
                mask = (1 << width) - 1
        previous = entry
    raise WireError(BAD_COMPRESSION, "LZW stream without its end code")
