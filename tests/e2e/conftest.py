"""One cluster of real processes for each story."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """An empty cluster; whatever the story starts in it is ended with it."""
    cluster = Cluster(tmp_path)
    try:
        yield cluster
    finally:
        cluster.close()
