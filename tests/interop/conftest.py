"""One group of managers and agents for each story."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import cluster
from tests.interop.agents import NOT_UNDERSTOOD, MixedGroup

__all__ = ["cluster", "group"]


@pytest.fixture
def group(tmp_path: Path) -> Iterator[MixedGroup]:
    """An empty group; whatever the story starts in it is ended with it.

    In no story may an agent have met what it cannot read.
    """
    group = MixedGroup(tmp_path)
    try:
        yield group
        for agent in group.agents:
            assert not [line for line in group.complaints(agent) if NOT_UNDERSTOOD.search(line)]
    finally:
        group.close()
