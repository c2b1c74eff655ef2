"""The table of others' bugs in `gossip/PROTOCOL.md` names tests that there are."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROWS = re.findall(
    r"^\| (B\d+) \|[^|]+\| (.+) \|$", (TESTS.parent / "gossip" / "PROTOCOL.md").read_text(), re.MULTILINE
)


def test_each_row_has_a_test_that_there_is_or_says_why_it_cannot_happen() -> None:
    written = "\n".join(file.read_text() for file in TESTS.rglob("test_*.py"))
    there = set(re.findall(r"def (test_\w+)\(", written))
    assert len(ROWS) >= 35
    for row, against in ROWS:
        named = re.findall(r"`(test_\w+)`", against)
        assert named or against.startswith("cannot happen: "), row
        assert set(named) <= there, row


def test_each_row_that_a_docstring_names_is_in_the_table() -> None:
    rows = {row for row, _ in ROWS}
    for file in TESTS.rglob("test_*.py"):
        for line in re.findall(r'"""Rows? (B\d[^:.]*)', file.read_text()):
            assert set(re.findall(r"B\d+", line)) <= rows, (file, line)
