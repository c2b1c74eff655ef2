"""`python -m simulations`: run a scenario in virtual time and print what was seen."""

import argparse
import sys
import time
from importlib import import_module
from pkgutil import iter_modules

from simulations import fuzz, scenarios
from simulations.report import Report


def names() -> list[str]:
    """The scenarios that there are."""
    return sorted(module.name.replace("_", "-") for module in iter_modules(scenarios.__path__))


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 where every checker held, 1 where one broke, 2 for a wrong command."""
    parser = argparse.ArgumentParser(prog="python -m simulations", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the scenarios, a line each")
    run = commands.add_parser("run", help="run one scenario")
    run.add_argument("name", choices=names())
    run.add_argument("--managers", type=int, default=3, help="how many managers (default 3)")
    run.add_argument("--nodes", type=int, default=20, help="how many nodes (default 20)")
    run.add_argument("--seed", type=int, default=1, help="all chance follows from it (default 1)")
    run.add_argument("--minutes", type=float, default=5.0, help="how long its fault lasts (default 5)")
    many = commands.add_parser("fuzz", help="random faults, seed after seed, until one breaks a promise")
    many.add_argument("--seeds", type=int, default=100, help="how many (default 100)")
    many.add_argument("--first-seed", type=int, default=1, help="(default 1)")
    again = commands.add_parser("replay", help="play one seed of fuzz again, and tell what broke when")
    again.add_argument("seed", type=int)
    given = parser.parse_args(arguments)
    if given.command == "fuzz":
        return _fuzz(given.first_seed, given.seeds)
    if given.command == "replay":
        outcome = fuzz.run(given.seed)
        print(outcome.text())
        return 1 if outcome.broken else 0
    if given.command == "list":
        for name in names():
            story = import_module(f"simulations.scenarios.{name.replace('-', '_')}").__doc__ or ""
            print(f"{name}: {story.splitlines()[0]}")
        return 0
    if given.managers < 2 or given.nodes < 4:
        parser.error("a split needs --managers 2 and --nodes 4 at least")
    scenario = import_module(f"simulations.scenarios.{given.name.replace('-', '_')}")
    started = time.perf_counter()
    report: Report = scenario.run(given.managers, given.nodes, given.seed, given.minutes)
    print(report.text())
    print(f"{time.perf_counter() - started:.1f} s of real time")
    return 1 if report.broken else 0


def _fuzz(first: int, seeds: int) -> int:
    for outcome, progress in fuzz.fuzz(first, seeds):
        print(f"\r{progress}", end="", flush=True)
        if outcome.broken:
            print(f"\n{outcome.plan.text()}")
            for line in outcome.broken:
                print(f"BROKEN: {line}")
            print(f"again: python -m simulations replay {outcome.plan.seed}")
            return 1
    print("\nevery checker held")
    return 0


if __name__ == "__main__":
    sys.exit(main())
