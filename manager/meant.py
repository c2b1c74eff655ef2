"""What somebody may have meant who mistyped."""

from collections.abc import Iterable
from difflib import get_close_matches

KNOWN_MAX = 1_000
"""With more known words no suggestion is made: each costs some 20 µs."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`: did you mean …?`, or nothing where no known word is near."""
    words = sorted(set(known))
    if len(words) > KNOWN_MAX or not (near := get_close_matches(word[:100], words, 2)):
        return ""
    return f": did you mean {' or '.join(near)}?"
