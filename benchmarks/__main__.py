"""`python -m benchmarks`: take all figures, or those named, and print them as markdown."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys

from benchmarks import formation, gossip, heartbeats, idle, joins, limits, load, machine, news
from benchmarks.figures import Table, with_part
from benchmarks.processes import BenchmarkError
from node.loop import run

FIGURES = {"formation": formation.measure, "news": news.measure, "idle": idle.measure}
ASKED_FOR = {
    "gossip": gossip.measure,
    "joins": joins.measure,
    "heartbeats": heartbeats.measure,
    "limits": limits.measure,
    "load": load.measure,
}
"""They take long, or need root: only when named."""
RESULTS = machine.ROOT / "benchmarks" / "RESULTS.md"


async def measure(names: list[str], options: argparse.Namespace) -> list[Table]:
    """The tables of the figures `names`, one after the other; SIGTERM ends it as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    tables: list[Table] = []
    for name in names:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        if name in ASKED_FOR:
            tables += await ASKED_FOR[name](options)
        else:
            tables += await FIGURES[name](options.rounds)
    return tables


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 with figures, 1 where something could not be measured, 130 when interrupted."""
    given = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="FIGURE",
        help=f"of {', '.join(FIGURES)} (default: these), {', '.join(ASKED_FOR)}",
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each is taken (default 5)")
    parser.add_argument("--write", action="store_true", help="also write them to benchmarks/RESULTS.md")
    parser.add_argument(
        "--nodes", type=int, default=load.NODES, help="of `load` and `heartbeats` (default 10000)"
    )
    gossip.add_options(parser)
    options = parser.parse_args(given)
    if unknown := sorted(set(options.names) - {*FIGURES, *ASKED_FOR}):
        parser.error(f"no figure is called {unknown[0]!r}; there are {', '.join([*FIGURES, *ASKED_FOR])}")
    if options.rounds < 1:
        parser.error("--rounds must be 1 at least")
    load_before = os.getloadavg()[0]
    try:
        tables = run(measure(options.names or [*FIGURES], options))
    except (BenchmarkError, TimeoutError) as error:
        print(f"cannot measure: {error or 'took too long'}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    # Taken apart, they are written apart: those of other runs stay, with the commit and machine of theirs.
    title = f"# Figures: {', '.join(options.names)}" if options.names else "# Figures"
    head = [title, "", *machine.description(" ".join(["python -m benchmarks", *given]), load_before)]
    text = "\n".join([*head, *(f"\n{table.markdown()}" for table in tables)]) + "\n"
    print(text, end="")
    if options.write:
        RESULTS.write_text(with_part(RESULTS.read_text(encoding="utf-8"), text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
