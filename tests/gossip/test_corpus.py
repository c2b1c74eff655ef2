"""What fuzzing learned, and found, as plain tests."""

from pathlib import Path

import pytest

from tests.gossip.fuzz import CORPUS, one_input


@pytest.mark.parametrize("file", sorted(CORPUS.iterdir()), ids=lambda file: file.name)
def test_whatever_fuzzing_learned_is_read_or_refused(file: Path) -> None:
    one_input(file.read_bytes())
