"""Bugs put back into the core, one at a time: a simulator is as good as the bugs it finds.

Each is a function that patches the core. A checker must name it under faults that are drawn from the seed,
as they are for the core as it is; the same seeds are green there.

Three bugs that others shipped have none. That a member is listed as leaving for ever (serf#662) is seen by
agents alone: `tests/interop/` asks them. Members that come and go cannot make others' memory grow
(scalecube#187), for each list has a bound. A heal needs no full sync back (ringpop-go#133): an exchange goes
both ways in one stream.
"""

from collections.abc import Callable
from types import ModuleType

from simulations.mutants import (
    disks,
    ledger,
    limits,
    meetings,
    membership,
    nodes,
    retention,
    rights,
    turns,
    wire,
)
from simulations.mutants.patch import Patch, applied

__all__ = ["MUTANTS", "OF_DISKS", "OF_STRICT", "Mutant", "applied"]

Mutant = Callable[[Patch], None]


def _of(module: ModuleType) -> dict[str, Mutant]:
    return {
        name: mutant
        for name, mutant in vars(module).items()
        if callable(mutant) and getattr(mutant, "__module__", "") == module.__name__ and name[0] != "_"
    }


MUTANTS: dict[str, Mutant] = (
    _of(ledger)
    | _of(retention)
    | _of(nodes)
    | _of(limits)
    | _of(membership)
    | _of(meetings)
    | _of(wire)
    | _of(disks)
    | _of(rights)
    | _of(turns)
)
"""By name, in the order of the files."""

OF_STRICT = frozenset(_of(disks) | _of(rights) | _of(turns))
"""Those that are looked for under policy `strict`, where managers have disks."""

OF_DISKS = frozenset({"only_the_living_are_remembered"})
"""Those that are looked for under policy `available`, where managers have disks too."""
