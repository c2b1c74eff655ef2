"""How often Python collects garbage in a manager: seldom, since little here forms cycles."""

import gc

GARBAGE_YOUNG, GARBAGE_MIDDLE, GARBAGE_ALL = 20_000, 20, 50
"""New objects before a young collection, young ones before a middle one, middle ones before a full one."""


def settle_garbage() -> None:
    """Collect garbage seldom, and never among what was there when this manager started.

    With the defaults full collections take a third of the CPU while nodes join. They find little here, since
    sessions and records are freed by their reference counts.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_YOUNG, GARBAGE_MIDDLE, GARBAGE_ALL)
