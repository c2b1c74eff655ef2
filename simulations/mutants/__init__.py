"""Bugs put back into the core, one at a time: a simulator is as good as the bugs it finds.

Each is a function that patches the core. A checker must name it under faults that are drawn from the seed,
as they are for the core as it is; the same seeds are green there.
"""

from collections.abc import Callable
from types import ModuleType

from simulations.mutants import disks, ledger, limits, membership, nodes, rights, turns
from simulations.mutants.patch import Patch, applied

__all__ = ["MUTANTS", "OF_STRICT", "Mutant", "applied"]

Mutant = Callable[[Patch], None]


def _of(module: ModuleType) -> dict[str, Mutant]:
    return {
        name: mutant
        for name, mutant in vars(module).items()
        if callable(mutant) and getattr(mutant, "__module__", "") == module.__name__
    }


MUTANTS: dict[str, Mutant] = (
    _of(ledger) | _of(nodes) | _of(limits) | _of(membership) | _of(disks) | _of(rights) | _of(turns)
)
"""By name, in the order of the files."""

OF_STRICT = frozenset(_of(disks) | _of(rights) | _of(turns))
"""Those that are looked for under policy `strict`, where managers have disks."""
