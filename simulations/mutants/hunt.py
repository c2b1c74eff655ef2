"""How many seeds of drawn faults it takes until a checker names a mutant."""

from collections.abc import Callable
from functools import partial

from manager.terms import Policy
from simulations import fuzz
from simulations.mutants import OF_STRICT
from simulations.report import Line


def hunt(first: int, seeds: int) -> Callable[[str], Line]:
    """Work for a sweep over mutants: from seed `first` on, `seeds` of them at the most."""
    return partial(_hunt, first, seeds)


def _hunt(first: int, seeds: int, name: str) -> Line:
    """`checker` is empty where nobody named it; `green`: the same seed is, on the core as it is."""
    policy: Policy = "strict" if name in OF_STRICT else "available"
    for at in range(seeds):
        outcome = fuzz.run(first + at, name, policy=policy)
        if outcome.broken:
            green = not fuzz.run(first + at, policy=policy).broken
            return {
                "seeds": at + 1,
                "seed": first + at,
                "checker": outcome.checker,
                "said": outcome.broken[0],
                "green": green,
            }
    return {"seeds": seeds, "seed": 0, "checker": "", "said": "", "green": True}
