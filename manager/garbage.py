"""How seldom a manager has Python look for garbage among all that lives."""

import gc

GARBAGE_YOUNG, GARBAGE_MIDDLE, GARBAGE_ALL = 20_000, 20, 50
"""After so many new objects the young ones are looked through; the older, and all, every so many times."""


def settle_garbage() -> None:
    """Have Python look for cycles seldom, and never among what was there when this manager started.

    By default it looks through all that lives again and again while nodes join: a third of the CPU. What it
    is for is rare here, since sessions and records end by their count of references.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_YOUNG, GARBAGE_MIDDLE, GARBAGE_ALL)
