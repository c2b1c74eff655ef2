"""Sweeps over several processes."""

import time
from functools import partial
from pathlib import Path

from simulations.report import Line
from simulations.sweep import Log, Progress, read_lines, sweep


def work(record: Path, cell: str) -> Line:
    """`slow` ends when the line of `quick` is in the file."""
    ends = time.monotonic() + 60.0
    while cell == "slow" and not record.exists() and time.monotonic() < ends:
        time.sleep(0.01)
    return {"seen": record.exists()}


def test_a_line_is_written_when_it_is_there_and_lines_are_given_in_the_order_of_cells(tmp_path: Path) -> None:
    """Else what a sweep that is stopped has of the quick ones would be lost with one that takes long."""
    record = tmp_path / "sweep.jsonl"
    lines = list(
        sweep(
            "test",
            ["slow", "quick"],
            partial(work, record),
            jobs=2,
            log=Log(record),
            progress=Progress("cells"),
        )
    )
    assert [line["cell"] for line in lines] == ["slow", "quick"]
    assert [line["seen"] for line in lines] == [True, False]
    assert [line["cell"] for line in read_lines([record])] == ["quick", "slow"]


def test_what_no_commit_has_computed_comes_first(tmp_path: Path) -> None:
    """Else each commit begins with the same seeds again, and no night comes to the last ones."""
    record = tmp_path / "sweep.jsonl"
    earlier = Log(record)
    earlier._commit = "earlier"
    for cell in ("1", "2"):
        earlier.append("test", cell, {})
    log = Log(record)
    log._commit = "present"
    log.append("test", "3", {})
    lines = sweep("test", ["1", "2", "3", "4"], lambda _: {}, jobs=1, log=log, progress=Progress("cells"))
    assert [line["cell"] for line in lines] == ["4", "1", "2"]
