"""Whole groups are played here: as in a manager, garbage is looked for seldom, and once after each test."""

import gc
from collections.abc import Iterator

import pytest

from manager.garbage import settle_garbage


@pytest.fixture(scope="module", autouse=True)
def settled() -> Iterator[None]:
    before = gc.get_threshold()
    settle_garbage()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()
