"""How often Python collects garbage in a manager."""

import gc
from collections.abc import Iterator

import pytest

from manager.garbage import GARBAGE_YOUNG, settle_garbage


@pytest.fixture
def as_before() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)
    gc.unfreeze()


@pytest.mark.usefixtures("as_before")
def test_ten_thousand_nodes_that_come_have_python_look_at_young_objects_alone() -> None:
    looked: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            looked.append(info["generation"])

    settle_garbage()
    gc.callbacks.append(note)
    try:
        kept = [[number] for number in range(500_000)]
    finally:
        gc.callbacks.remove(note)
    assert len(kept) // GARBAGE_YOUNG - 2 <= len(looked) <= len(kept) // GARBAGE_YOUNG + 2
    assert 2 not in looked
