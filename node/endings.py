"""How a connection to a manager ended, in words: what its close code means for whoever reads the log."""

from node.protocol import CLOSE_GOING, CLOSE_PROTOCOL, CLOSE_REFUSED, CLOSE_SILENT, CLOSE_SUPERSEDED

CLOSE_NORMAL = 1000
_ABNORMAL = 1006
_WORDS = {
    CLOSE_NORMAL: "it closed the connection",
    CLOSE_GOING: "it stops",
    CLOSE_PROTOCOL: "it cannot make sense of what this node says: do their versions go together?",
    1003: "it takes no such messages: is that the node port of a manager?",
    _ABNORMAL: "the connection broke without a goodbye: the manager died, or the network was cut",
    1007: "it cannot read what this node says: do their versions go together?",
    1008: "it does not serve this node",
    1009: "a message was larger than it takes",
    1011: "one of the two failed at it: its log says at what",
    CLOSE_REFUSED: "it refused this node",
    CLOSE_SILENT: "it had not heard this node for so long that it counts as down: the node was held up, or "
    "the network was cut",
    CLOSE_SUPERSEDED: "another session of this node has taken over",
}


def in_words(code: int, reason: str) -> str:
    """What `code` means, and what the other end said beside it, or the system, where that says more."""
    words = _WORDS.get(code, f"it closed the connection with code {code}")
    return f"{words} ({reason})" if reason else words
