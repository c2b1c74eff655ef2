"""How many seeds of drawn faults it takes until a checker names a mutant."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial

from manager.terms import Policy
from simulations import fuzz
from simulations.mutants import OF_DISKS, OF_STRICT
from simulations.report import Line

SEEDS_MAX = 1000
"""A mutant that survives so many is one that no checker names."""
PART = 50
"""Seeds of one mutant that a sweep computes, and writes down, at once."""


def parts(mutants: Iterable[str], first: int, last: int) -> list[str]:
    """The cells of a sweep: these mutants under the seeds from `first` to `last`."""
    return [f"{name}/{first}-{last}" for name in mutants]


def hunt_part(cell: str) -> Line:
    """Play one of `parts`."""
    name, _, span = cell.partition("/")
    first, last = map(int, span.split("-"))
    return _hunt(first, last - first + 1, name)


def merged(lines: Iterable[Line]) -> list[Line]:
    """What the parts of each mutant say together, for each commit."""
    found: dict[tuple[str, str], list[tuple[int, Line]]] = defaultdict(list)
    for line in lines:
        name, _, span = line["cell"].partition("/")
        found[line["commit"], name].append((int(span.partition("-")[0] or 1), line))
    whole = []
    for (_, name), own in found.items():
        seeds = 0
        for _, line in sorted(own, key=lambda part: part[0]):
            seeds += line["seeds"]
            if line["checker"]:
                break
        whole.append(line | {"cell": name, "seeds": seeds})
    return whole


def hunt(first: int, seeds: int) -> Callable[[str], Line]:
    """Work for a sweep over mutants: from seed `first` on, `seeds` of them at the most."""
    return partial(_hunt, first, seeds)


def _hunt(first: int, seeds: int, name: str) -> Line:
    """`checker` is empty where nobody named it; `green`: the same seed is, on the core as it is."""
    policy: Policy = "strict" if name in OF_STRICT else "available"
    disks = name in OF_DISKS
    for at in range(seeds):
        outcome = fuzz.run(first + at, name, policy=policy, disks=disks)
        if outcome.broken:
            green = not fuzz.run(first + at, policy=policy, disks=disks).broken
            return {
                "seeds": at + 1,
                "seed": first + at,
                "checker": outcome.checker,
                "said": outcome.broken[0],
                "green": green,
            }
    return {"seeds": seeds, "seed": 0, "checker": "", "said": "", "green": True}
