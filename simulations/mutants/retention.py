"""Rules of pages of the gone, left out one at a time."""

from typing import Any

from gossip.effects import Output, PageChanged
from gossip.group import Group
from gossip.ledger import Ledger
from simulations.mutants.patch import Patch


def pages_dropped_by_timers(patch: Patch) -> None:
    """Who drops a page does so by a timer of its own, and it is passed to and fro (L6)."""

    def forget(self: Group, owner: str, now: float) -> list[Output]:
        page = self.ledger._pages.pop(owner)
        self.ledger._fingerprint = None
        return [PageChanged(owner, tuple(page.values))]

    patch(Group, "forget_page", forget)


def notes_are_not_heeded(patch: Patch) -> None:
    """Who let go of a page takes it again from whoever still has it (L6)."""

    def without_notes(right: Any) -> Any:
        def step(self: Ledger, argument: Any) -> Any:
            self._forgotten, kept = {}, self._forgotten
            try:
                return right(self, argument)
            finally:
                self._forgotten = kept if self._forgotten == {} else self._forgotten

        return step

    patch(Ledger, "apply", without_notes(Ledger.apply))
    patch(Ledger, "behind", without_notes(Ledger.behind))
