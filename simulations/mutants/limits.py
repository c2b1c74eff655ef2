"""Rules of shares, left out one at a time."""

from dataclasses import replace
from typing import Any

from manager.limits.census import Census
from manager.limits.entitled import Entitlements
from manager.limits.others import Others
from simulations.mutants.patch import Patch


def others_have_nothing(patch: Patch) -> None:
    """Each manager divides the whole limit over its own nodes, whatever others have given (Q1)."""
    right = Entitlements.divide

    def divide(self: Entitlements, name: str, total: float, census: Census, *more: Any) -> Any:
        me = self._group.name
        ours = {me: census.running[me]} if census.running.get(me) else {}
        return right(self, name, total, replace(census, running=ours), *more)

    patch(Entitlements, "divide", divide)
    patch(Others, "holdings", lambda *_: {})
