"""Whether the group is in one piece, as far as is known here: what limits that conserve depend on (Q5)."""

from collections.abc import Set as AbstractSet

from gossip.group import Group
from gossip.messages import State
from manager.records import GONE
from manager.seats.founders import Founders


class Apart:
    """Call `look` before shares are worked out; `founders`: some of them may be expelled."""

    def __init__(self, group: Group, founders: Founders | None) -> None:
        self._group = group
        self._founders = founders
        self._out: set[str] = set()
        self._met_at = 0
        self._since_out = False

    @property
    def alive(self) -> AbstractSet[str]:
        """The other managers within reach."""
        return self._group.kin_names

    def is_out_of_reach(self, owner: str) -> bool:
        """Whether a manager that has a page is neither here nor gone for good."""
        if owner == self._group.name or owner in self.alive:
            return False
        member = self._group.swim.members.get(owner)
        page = self._group.ledger.pages[owner]
        has_left = member is not None and member.state is State.LEFT
        expelled = self._founders is not None and owner in self._founders.known.expelled
        return not has_left and not expelled and page.get(GONE) is None

    @property
    def is_split(self) -> bool:
        """Whether a manager is out of reach and has not left, or was, and has not told yet what it did."""
        return self._since_out or any(map(self.is_out_of_reach, self._group.ledger.pages))

    def look(self) -> None:
        """A split is over when all that are back have told what they wrote meanwhile."""
        out = {owner for owner in self._group.ledger.pages if self.is_out_of_reach(owner)}
        if out != self._out:
            # Whom we see alive stands on our page by now: who answers for this version has told us its own.
            self._out, self._met_at = out, self._group.ledger.own.version
        kin = self._group.kin()
        self._since_out = bool(out) or (
            self._since_out and not all(self._group.heard_by(member.name, self._met_at) for member in kin)
        )
