"""Notes on a page about pages: what their owner has taken over, and which of them go."""

from collections.abc import Iterable, Mapping

from gossip.pages import NOTHING, Mark, Page

SUCCEEDS = "succeeds"
"""Key on a page: the owner took over what stood on its earlier ones, under each generation up to a mark.

For each generation then version, 8 bytes each, big-endian, ascending. Whoever kept a newer copy, or one of a
generation that is not among them, still has something for the owner.
"""
FORGOTTEN = "forgotten/"
"""Keys `forgotten/<owner>` on any page: the owner's page goes, up to a mark, and nobody takes it again (L6).

Generation, version, and when that was written in seconds since 1970, 8 bytes each, big-endian.
"""
SUCCEEDED_MAX = 32
"""Generations in that note; of a lower one the owner takes over again what somebody still kept."""


_NUMBER_BYTES = 8


def succession_note(known: Mapping[int, int], news: Iterable[Mark]) -> bytes:
    """The value of `succeeds` of a page that has taken over `known` already, and now `news` too."""
    marks = sorted({**known, **dict(sorted(news))}.items())[-SUCCEEDED_MAX:]
    return b"".join(number.to_bytes(_NUMBER_BYTES) for mark in marks for number in mark)


def read_succession(note: bytes | None) -> dict[int, int]:
    """Generation → version up to which a page takes over its owner's earlier ones."""
    numbers = _numbers(note or b"")
    return dict(zip(numbers[::2], numbers[1::2], strict=False))


def succeeds(page: Page, mark: Mark) -> bool:
    """Whether `page` has taken over an earlier one of its owner up to `mark`."""
    return read_succession(page.get(SUCCEEDS)).get(mark.generation, -1) >= mark.version


def forgotten_note(mark: Mark, at: float) -> bytes:
    """The value of `forgotten/<owner>`, written at `at`."""
    return b"".join(number.to_bytes(_NUMBER_BYTES) for number in (*mark, max(0, int(at))))


def read_forgotten(note: bytes | None) -> tuple[Mark, float]:
    """Up to where a page goes, and when that was written; `NOTHING` where the note is none."""
    match _numbers(note or b""):
        case [generation, version, at, *_]:
            return Mark(generation, version), float(at)
        case _:
            return NOTHING, 0.0


def _numbers(note: bytes) -> list[int]:
    """The whole numbers that are in it; the tail of a note that is cut short is none."""
    ends = range(_NUMBER_BYTES, len(note) + 1, _NUMBER_BYTES)
    return [int.from_bytes(note[end - _NUMBER_BYTES : end]) for end in ends]
