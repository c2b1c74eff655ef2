"""WebSocket frames as nearly all are: a whole binary message in one (RFC 6455, section 5.2).

All others are left to `websockets`, which takes several times as long: a manager reads thousands a second.
"""

try:
    from websockets.speedups import apply_mask
except ImportError:  # where it was built without
    from websockets.utils import apply_mask

from node.codec import REPORT_BEGINS

TOGETHER_SECONDS = 0.1
"""A report waits so long for those of other nodes: to wake up for each costs more than what it says."""
_BINARY = 0x82
"""FIN, no extension, opcode 2."""
_MASKED = 0x80
_HEAD_BYTES = 8 + len(REPORT_BEGINS)
"""Of a report: the longest head of a frame that is read here, and the beginning of the message."""
_IN_TWO, _IN_EIGHT = 126, 127
"""In the place of a length: so many bytes with the length follow."""


def begins_report(data: bytes) -> bool:
    """Whether `data` begins with a node's report, of which there are many."""
    head = data[:_HEAD_BYTES]
    return len(head) == _HEAD_BYTES and (message_in(head) or b"").startswith(REPORT_BEGINS)


def frame_size(data: bytes) -> int | None:
    """How long the frame is with which `data` begins, its head included; None: that has not come yet."""
    if len(data) < 2:
        return None
    size, head = data[1] & 0x7F, 6 if data[1] & _MASKED else 2
    if size < _IN_TWO:
        return head + size
    wide = 2 if size == _IN_TWO else 8
    return None if len(data) < 2 + wide else head + wide + int.from_bytes(data[2 : 2 + wide])


def message_in(frame: bytes) -> bytes | None:
    """The message of a node's whole `frame`; None where it is not one by itself."""
    if frame[0] != _BINARY or not frame[1] & _MASKED or frame[1] & 0x7F == _IN_EIGHT:
        return None
    at = 4 if frame[1] & 0x7F == _IN_TWO else 2
    return apply_mask(frame[at + 4 :], frame[at : at + 4])


def framed(message: bytes) -> bytes | None:
    """The frame in which a manager sends `message`; None where that is too long for such a one."""
    size = len(message)
    if size < _IN_TWO:
        return bytes((_BINARY, size)) + message
    return None if size > 0xFFFF else bytes((_BINARY, _IN_TWO)) + size.to_bytes(2) + message
