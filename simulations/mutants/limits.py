"""Rules of shares, left out one at a time."""

from dataclasses import replace
from typing import Any

from manager.limits.shares import Shares
from simulations.mutants.patch import Patch


def others_have_nothing(patch: Patch) -> None:
    """Each manager divides the whole limit over its own nodes, whatever others have given (Q1)."""
    right = Shares._census

    def census(self: Shares, now: float) -> Any:
        all_nodes, me = right(self, now), self._group.name
        return replace(all_nodes, running={me: all_nodes.running[me]} if all_nodes.running.get(me) else {})

    patch(Shares, "_census", census)
    patch(Shares, "_holdings", lambda *_: {})
