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
