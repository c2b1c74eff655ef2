"""Rules of what a disk is for, left out one at a time."""

from typing import Any

from manager.disk.commits import Commits
from manager.effects import Persist
from simulations.mutants.patch import Patch


def said_before_it_is_on_disk(patch: Patch) -> None:
    """What a turn wrote is told at once, and a kill before the commit takes it back at its writer (L4)."""
    right = Commits.put

    def put(self: Commits[Any], items: Any) -> list[Any]:
        right(self, [item for item in items if isinstance(item, Persist)])
        return [item for item in items if not isinstance(item, Persist)]

    patch(Commits, "put", put)
