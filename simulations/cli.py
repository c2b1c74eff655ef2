"""`python -m simulations`, or `kcm sim`: whole groups in virtual time, with every fault.

Exit codes: 0 every checker held (and every mutant was killed), 1 something broke, 2 wrong usage.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

from manager.cli.tables import table
from manager.terms import Policy
from simulations import fuzz, scenarios, speed, summary
from simulations.literature.grids import GRIDS, cells
from simulations.literature.rules import RULES
from simulations.mutants import MUTANTS, OF_DISKS, OF_STRICT
from simulations.mutants.hunt import PART, SEEDS_MAX, hunt_part, merged, parts
from simulations.report import Line, Report, Size
from simulations.story import PLAYED_TO
from simulations.sweep import Log, Played, Progress, Shard, read_lines, sweep

KINDS_OF: dict[Policy, str] = {"available": "fuzz", "strict": "strict"}
"""What the lines of a sweep are called."""
_POLICIES = tuple(KINDS_OF)
_UNTIL_FAILURE = 10**9
INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command and give its exit code."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        return _carry_out(parser, given)
    except KeyboardInterrupt:
        kept = "what is done is recorded, and not done again" if getattr(given, "record", None) else ""
        print(f"\nstopped{kept and ': '}{kept}", file=sys.stderr)
        return INTERRUPTED


def _carry_out(parser: argparse.ArgumentParser, given: argparse.Namespace) -> int:
    action: str = given.command
    match action:
        case "list":
            return _list()
        case "run":
            return _run(parser, given)
        case "fuzz":
            return _fuzz(parser, given)
        case "replay":
            return _replay(parser, given.token, given.policy, disks=given.disks, fire=given.fire)
        case "mutants":
            return _mutants(parser, given)
        case "grid":
            return _grid(parser, given)
        case "speed":
            return _speed(given)
        case _:
            return _report(parser, given.files)


def names() -> list[str]:
    """The scenarios that there are."""
    return sorted(module.name.replace("_", "-") for module in iter_modules(scenarios.__path__))


def scenario(name: str) -> ModuleType:
    """The one that is called so."""
    return import_module(f"simulations.scenarios.{name.replace('-', '_')}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=os.environ.get("KCM_SIM_PROGRAM", "python -m simulations"),
        description="Whole groups in virtual time: the programs' own logic, without a network.",
        epilog="Exit codes: 0 every checker held, 1 something broke, 2 wrong usage.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("list", help="the scenarios, a line each")
    run = commands.add_parser("run", help="run one scenario, and print what was seen")
    run.add_argument("name", metavar="NAME", choices=names(), help="one of `list`")
    run.add_argument("--managers", type=_count, help="how many managers")
    run.add_argument("--nodes", type=_count, help="how many nodes")
    run.add_argument("--seed", type=_seed, default=1, help="all chance follows from it (default 1)")
    run.add_argument("--minutes", type=_minutes, help="how long what happens lasts")
    run.add_argument("--plot", type=Path, metavar="FILE", help="draw it; needs matplotlib")
    run.add_argument("--trace", type=Path, metavar="FILE", help="write all of it as lines of JSON")
    many = commands.add_parser("fuzz", help="random faults, seed after seed")
    many.add_argument("--seeds", type=_count, help="how many (default 100)")
    many.add_argument("--first-seed", type=_seed, default=1, metavar="S", help="(default 1)")
    many.add_argument("--policy", choices=_POLICIES, default="available", help="(default available)")
    many.add_argument(
        "--until-failure", action="store_true", help="end at the first seed that breaks a promise"
    )
    _add_disks(many)
    _add_sweep(many)
    again = commands.add_parser("replay", help="play one seed of fuzz again, and tell what broke when")
    again.add_argument("token", help="SEED, or SEED:MUTANT with a bug put in")
    _add_disks(again)
    again.add_argument("--policy", choices=_POLICIES, default="available", help="(default available)")
    again.add_argument("--fire", type=_count, metavar="SECONDS", help="how long things break: another story")
    bugs = commands.add_parser("mutants", help="put known bugs into the core: which checker names each?")
    bugs.add_argument(
        "--seeds",
        type=_count,
        default=SEEDS_MAX,
        help="how many each gets before it is given up (default 1000)",
    )
    bugs.add_argument("--first-seed", type=_seed, default=1, metavar="S", help="(default 1)")
    bugs.add_argument(
        "--only", action="append", choices=list(MUTANTS), metavar="MUTANT", help="this one alone"
    )
    _add_sweep(bugs)
    grid = commands.add_parser("grid", help="others' experiments, cell by cell, by their rules and by ours")
    grid.add_argument(
        "name", metavar="NAME", nargs="?", choices=list(GRIDS), help=f"{', '.join(GRIDS)} (default all)"
    )
    grid.add_argument(
        "--rules", action="append", choices=list(RULES), metavar="RULES", help=f"one of {', '.join(RULES)}"
    )
    grid.add_argument("--seed", type=_seed, default=1, help="of this repetition (default 1)")
    grid.add_argument(
        "--cells", action="append", default=[], metavar="PATTERN", help="only such, e.g. '*/n3/*/I0/*'"
    )
    grid.add_argument("--limit", type=_count, metavar="N", help="the first N cells alone: a fair sample")
    _add_sweep(grid)
    fast = commands.add_parser("speed", help="how fast a group is played on this machine")
    fast.add_argument("--managers", type=_count, default=9, help="(default 9)")
    fast.add_argument("--nodes", type=_count, default=100, help="(default 100)")
    fast.add_argument("--seconds", type=_count, default=120, help="of the group's time (default 120)")
    fast.add_argument("--seed", type=_seed, default=1, help="(default 1)")
    report = commands.add_parser("report", help="merge the files that --record wrote")
    report.add_argument("files", type=Path, nargs="+", metavar="FILE")
    return parser


def _add_sweep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=_count, default=1, help="processes (default 1)")
    parser.add_argument("--shard", type=_shard, default=Shard(), metavar="I/N", help="only this part of N")
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="append a line for each, and skip what is there"
    )


def _add_disks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--disks", action="store_true", help="managers keep their state, and their disks fail too"
    )


def _count(text: str) -> int:
    if text.isdecimal() and 0 < int(text) < 10**9:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number above 0, not {text!r}")


def _seed(text: str) -> int:
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number, not {text!r}")


def _minutes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if 0.1 <= value <= 10_000:
        return value
    raise argparse.ArgumentTypeError(f"must be a number from 0.1 to 10000, not {text!r}")


def _shard(text: str) -> Shard:
    try:
        return Shard.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _list() -> int:
    rows = []
    for name in names():
        module = scenario(name)
        size: Size = module.SIZE
        story = (module.__doc__ or "").splitlines()[0]
        rows.append({"name": name, "managers": size.managers, "nodes": size.nodes, "story": story})
    print(table(rows, ("name", "managers", "nodes", "story"), colour=False))
    return 0


def _run(parser: argparse.ArgumentParser, given: argparse.Namespace) -> int:
    module = scenario(given.name)
    size: Size = module.SIZE
    managers, nodes = given.managers or size.managers, given.nodes or size.nodes
    if managers < size.managers_min or nodes < size.nodes_min:
        parser.error(
            f"{given.name} needs --managers {size.managers_min} and --nodes {size.nodes_min} at least"
        )
    if given.plot is not None:
        try:
            from simulations.plots import FORMATS, draw
        except ImportError:
            parser.error("--plot needs matplotlib: .venv/bin/pip install -e '.[plots]' in the checkout")
        if given.plot.suffix.lstrip(".") not in FORMATS:
            parser.error(f"--plot writes {', '.join(FORMATS)} by the file's suffix, not {given.plot.name!r}")
    for path in (given.plot, given.trace):
        if path is not None and (why := _unwritable(path)):
            parser.error(f"cannot write {path}: {why}")
    started = time.perf_counter()
    played = Played(given.name)
    PLAYED_TO.set(played.at)
    try:
        report: Report = module.run(managers, nodes, given.seed, given.minutes or size.minutes)
    finally:
        played.stop()
    seconds = time.perf_counter() - started
    print(report.text())
    print(f"{seconds:.1f} s of real time, {report.events / seconds:.0f} events a second")
    try:
        if given.trace is not None:
            given.trace.write_text("".join(f"{line}\n" for line in report.lines()))
        if given.plot is not None:
            draw(report, given.plot)
    except (OSError, ValueError) as error:
        parser.error(f"cannot write {error}")
    return 1 if report.broken else 0


def _unwritable(path: Path) -> str:
    """Why nothing can be written there, as far as can be told before; empty where it can."""
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    target = path if path.exists() else path.parent
    return "" if os.access(target, os.W_OK) and not path.is_dir() else "it is a folder, or not yours to write"


def _log(parser: argparse.ArgumentParser, record: Path | None) -> Log:
    """The file of `--record`: what is wrong with it is said before anything is played."""
    if record is not None and (why := _unwritable(record)):
        parser.error(f"cannot write {record}: {why}")
    try:
        read_lines([record] if record is not None and record.exists() else [])
    except ValueError as error:
        parser.error(f"{error}: remove that line, or give another file")
    except OSError as error:
        parser.error(f"cannot read {error}")
    return Log(record)


def _fuzz(parser: argparse.ArgumentParser, given: argparse.Namespace) -> int:
    total = given.seeds or (_UNTIL_FAILURE if given.until_failure else 100)
    cells = range(given.first_seed, given.first_seed + total)[given.shard.index - 1 :: given.shard.count]
    log, progress = _log(parser, given.record), Progress("seeds")
    with_disks = given.disks and given.policy == "available"
    kind = "disks" if with_disks else KINDS_OF[given.policy]
    work = fuzz.cell_with_disks if with_disks else partial(fuzz.cell, given.policy)
    lines = []
    step = 1000 if given.until_failure else len(cells)
    stopped = False
    try:
        for at in range(0, len(cells), max(1, step)):
            seeds = [str(seed) for seed in cells[at : at + step]]
            for line in sweep(kind, seeds, work, jobs=given.jobs, log=log, progress=progress):
                lines.append(line)
                if line["broken"] and given.until_failure:
                    break
            if given.until_failure and any(line["broken"] for line in lines):
                break
    except KeyboardInterrupt:
        stopped = True
    progress.stop()
    if stopped and not lines:
        raise KeyboardInterrupt
    if not lines:
        print("nothing was left to do; see `report`")
        return 0
    print(summary.seeds(lines))
    broken = [line for line in lines if line["broken"]]
    which = " --policy strict" if given.policy == "strict" else " --disks" if given.disks else ""
    for line in broken:
        print(f"again: {parser.prog} replay {line['cell']}{which}")
    if not broken:
        print("every checker held")
    return 1 if broken else INTERRUPTED if stopped else 0


def _replay(
    parser: argparse.ArgumentParser, token: str, policy: Policy, *, disks: bool, fire: float | None
) -> int:
    seed, _, mutant = token.partition(":")
    if not seed.isdecimal() or (mutant and mutant not in MUTANTS):
        parser.error(f"a token is SEED or SEED:MUTANT, as `fuzz` and `mutants` print it, not {token!r}")
    if mutant in OF_STRICT:
        policy = "strict"
    disks = disks or mutant in OF_DISKS
    outcome = fuzz.run(int(seed), mutant, disks=disks, policy=policy, fire=fire)
    print(outcome.text())
    return 1 if outcome.broken else 0


def _mutants(parser: argparse.ArgumentParser, given: argparse.Namespace) -> int:
    left, log = list(given.shard.of(given.only or MUTANTS)), _log(parser, given.record)
    lines: list[Line] = []
    ends = given.first_seed + given.seeds
    for first in range(given.first_seed, ends, PART):
        last = min(first + PART, ends) - 1
        cells, done = parts(left, first, last), log.done("mutant")
        progress = Progress(f"mutants, seeds {first} to {last}")
        lines += [done[cell] for cell in cells if cell in done]
        lines += sweep("mutant", cells, hunt_part, jobs=given.jobs, log=log, progress=progress)
        killed = {line["cell"].partition("/")[0] for line in lines if line["checker"]}
        left = [name for name in left if name not in killed]
        if not left:
            break
    print(summary.mutants(lines))
    for line in lines:
        if line["checker"] and not line["green"]:
            name = line["cell"].partition("/")[0]
            print(f"{name}: seed {line['seed']} breaks a promise without it too")
    return 1 if left or not all(line["green"] for line in lines) else 0


def _grid(parser: argparse.ArgumentParser, given: argparse.Namespace) -> int:
    lines: list[Line] = []
    for name in [given.name] if given.name else GRIDS:
        grid = GRIDS[name]
        rules = [one for one in grid.rules if given.rules is None or one in given.rules]
        matching = cells(name, rules, given.seed, given.cells) if rules else []
        if not matching and given.name:
            example = cells(name, grid.rules, given.seed, [])[0]
            parser.error(f"no cell of {name} matches: they are named like {example}")
        chosen = list(given.shard.of(matching[: given.limit]))
        log, progress = _log(parser, given.record), Progress(f"cells of {name}")
        lines += sweep(name, chosen, grid.run, jobs=given.jobs, log=log, progress=progress)
    if not lines:
        print("nothing was left to do; see `report`")
        return 0
    print(summary.summary(lines))
    return 0


def _speed(given: argparse.Namespace) -> int:
    played = speed.measure(given.managers, given.nodes, given.seconds, given.seed)
    print(table([one.row() for one in played], speed.COLUMNS, colour=False))
    print("TIMES REAL TIME and EVENTS A SECOND are of CPU time, which others on this machine disturb less")
    return 0


def _report(parser: argparse.ArgumentParser, files: Sequence[Path]) -> int:
    try:
        lines = read_lines(files)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(summary.summary(lines))
    broken = any(line.get("broken") for line in lines)
    hunted = merged(line for line in lines if line["kind"] == "mutant")
    survived = any(not line["checker"] and line["seeds"] >= SEEDS_MAX for line in hunted)
    return 1 if broken or survived else 0
