"""Long sweeps: many cells over a few processes, a line appended for each, to be taken up again.

A cell is whatever one call computes: a seed of drawn faults, a mutant, a cell of a grid. Its line says what
it was, of which commit, and what came out. What a file already has of the present commit is not computed
again; what it has of no commit comes first, so that sweeps that are stopped early still get through all.
"""

import gc
import json
import platform
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import Pool
from pathlib import Path
from typing import TextIO

from simulations.report import Line

_BAR = 24
_ROOMS = ("gossip", "manager", "node", "simulations")


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `index` (from 1) of `count` equal parts of a sweep."""

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """`i/n`. Raises `ValueError`."""
        index, slash, count = text.partition("/")
        if not (slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
            raise ValueError(f"a shard is i/n with i from 1 to n, such as 2/4, not {text!r}")
        return cls(int(index), int(count))

    def of(self, cells: Iterable[str]) -> Iterator[str]:
        """The cells that are this shard's."""
        return islice(cells, self.index - 1, None, self.count)


def commit() -> str:
    """The last one that changed what is simulated, with `+` where the code differs from it.

    `unknown` outside of a checkout.
    """
    here = Path(__file__).parents[1]

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", *_ROOMS)
        return git("log", "-1", "--format=%h", "--abbrev=12", "--", *_ROOMS) + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


class Log:
    """A file of lines; None for none."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._commit = commit()

    def done(self, kind: str) -> dict[str, Line]:
        """The lines of `kind` for this very code, by cell; code with changes is never the same."""
        if self._path is None or not self._path.exists() or self._commit.endswith("+"):
            return {}
        lines = read_lines([self._path])
        return {
            line["cell"]: line for line in lines if (line["kind"], line["commit"]) == (kind, self._commit)
        }

    def of_any_commit(self, kind: str) -> set[str]:
        """The cells of `kind` that are there."""
        if self._path is None or not self._path.exists():
            return set()
        return {line["cell"] for line in read_lines([self._path]) if line["kind"] == kind}

    def append(self, kind: str, cell: str, outcome: Line) -> Line:
        """Add a line, at once and whole, and give it."""
        line = {"kind": kind, "cell": cell, "commit": self._commit, "python": platform.python_version()}
        line |= outcome
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        return line


def read_lines(paths: Iterable[Path]) -> list[Line]:
    """The lines of all files. Of one cell and commit the last counts. Raises `OSError`, `ValueError`."""
    lines: dict[tuple[str, str, str], Line] = {}
    for path in paths:
        for number, text in enumerate(path.read_text().splitlines(), start=1):
            try:
                line = json.loads(text)
                lines[line["kind"], line["cell"], line["commit"]] = line
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path}, line {number} is not a line of a sweep") from error
    return list(lines.values())


def sweep(
    kind: str,
    cells: Sequence[str],
    work: Callable[[str], Line],
    *,
    jobs: int,
    log: Log,
    progress: "Progress",
) -> Iterator[Line]:
    """Compute `cells` and give their lines, in their order; those come first that no commit has computed.

    `work` can be sent to another process.

    Each line is written as soon as it is there: a cell that takes long costs no other its line.
    """
    done = log.done(kind)
    before = log.of_any_commit(kind)
    left = sorted((cell for cell in cells if cell not in done), key=before.__contains__)
    progress.begin(len(cells), len(cells) - len(left))
    if jobs == 1 or len(left) < 2:
        for cell in left:
            yield progress.step(log.append(kind, *_of_cell(work, cell)))
        return
    # Ctrl-C is for us: it ends them when we leave this block.
    with Pool(jobs, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)) as pool:
        lines: dict[str, Line] = {}
        waiting = deque(left)
        for cell, outcome in pool.imap_unordered(partial(_of_cell, work), left):
            lines[cell] = progress.step(log.append(kind, cell, outcome))
            while waiting and waiting[0] in lines:
                yield lines.pop(waiting.popleft())


def _of_cell(work: Callable[[str], Line], cell: str) -> tuple[str, Line]:
    outcome = work(cell)
    gc.collect()  # what a world was goes at once: by itself Python looks for it seldom here
    return cell, outcome


class Played:
    """On a terminal how far one story is, whose end nobody knows; nothing elsewhere."""

    def __init__(self, name: str, stream: TextIO = sys.stderr) -> None:
        self._name = name
        self._stream = stream
        self._shown = stream.isatty()
        self._started = time.perf_counter()

    def at(self, now: float) -> None:
        """The story's clock is there."""
        if self._shown:
            took = time.perf_counter() - self._started
            text = f"{self._name}: {now:.0f} s are played, in {took:.0f} s of real time"
            print(f"\r\x1b[K{text}", end="", file=self._stream, flush=True)

    def stop(self) -> None:
        """It is over: what it told takes the line."""
        if self._shown:
            print("\r\x1b[K", end="", file=self._stream, flush=True)


class Progress:
    """A bar on a terminal, and nothing elsewhere."""

    def __init__(self, what: str, stream: TextIO = sys.stderr) -> None:
        self._what = what
        self._stream = stream
        self._shown = stream.isatty()
        self._total = self._at = self._before = self._broken = 0
        self._started = time.perf_counter()

    def begin(self, total: int, done: int) -> None:
        """There are `total`, `done` of them from before."""
        self._total, self._at, self._before = total, done, done
        self._started = time.perf_counter()
        if done:
            print(f"{done} of {total} {self._what} are there already", file=self._stream)
        if done < total:
            self._draw()

    def step(self, line: Line) -> Line:
        """One more is done."""
        self._at += 1
        self._broken += bool(line.get("broken"))
        self._draw()
        return line

    def _draw(self) -> None:
        if self._shown:
            share = self._at / max(1, self._total)
            full = round(share * _BAR)
            rate = (self._at - self._before) / max(1e-9, time.perf_counter() - self._started)
            broken = f", {self._broken} broken" if self._broken else ""
            bar = f"[{'#' * full}{'.' * (_BAR - full)}] {share:4.0%}"
            text = f"{bar}  {self._at} of {self._total} {self._what}, {rate:.1f} a second{broken}"
            end = "\n" if self._at == self._total else ""
            print(f"\r\x1b[K{text}", end=end, file=self._stream, flush=True)

    def stop(self) -> None:
        """It ends early."""
        if self._shown and self._at < self._total:
            print(file=self._stream)
