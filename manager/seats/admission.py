"""Who is let in when seats or uses of a join token run short: claims that every live manager has answered for
(rules A1, A2, A5).

Of two concurrent claims at least one manager sees both, and since a later claim has a higher stamp than all
that its manager had answered, both judge alike (Ricart and Agrawala 1981).
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Literal

from gossip.group import Group
from gossip.messages import State
from manager.registry import Registry
from manager.seats.surge import Surge

OUTSTANDING_MAX = 64
"""How many admissions of one manager may be unacknowledged by some live manager."""
PATIENCE = 1.0
"""How long to wait for a manager that answered last time: it may be busy."""
PATIENCE_SILENT = 0.2
"""… and for one that did not, or that is suspected."""
UNDECIDED_MAX = 2.0
"""How long a claim waits for earlier claims of others to be decided before it is refused."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A newcomer on connection `conn` that waits; it stands on our page at `version` since `at`."""

    conn: int
    id: str
    stamp: int
    version: int
    at: float
    instead: str = ""
    """The id of the lost node in whose place it comes, or empty."""
    token: str = ""
    """The name of the join token that it showed …"""
    uses: int | None = None
    """… and how many nodes that lets in; None for any number."""


class Verdict(Enum):
    """What becomes of a claim."""

    IN = "in"
    FULL = "full"
    USED_UP = "used up"


class Admission:
    """Counts what is outstanding, and judges the claims on our page."""

    def __init__(self, group: Group, registry: Registry, surge: Surge) -> None:
        self.surge = surge
        self._group = group
        self._registry = registry
        self._claims: dict[int, Claim] = {}
        self._open: deque[int] = deque()
        self._silent: set[str] = set()
        self._stamp = 0
        self._judged_at = -inf

    def knows_enough(self, up_for: float, fresh_seconds: float) -> bool:
        """Whether newcomers may be admitted: we reconciled, or there is nobody to ask (rule A2)."""
        if self._group.reconciled:
            return True
        rejoin = self._group.swim.rejoin
        alone = not self._group.kin()
        if alone and rejoin.all_tried and not rejoin.knows_others:
            return True
        return up_for >= fresh_seconds and rejoin.all_tried

    def new_stamp(self, now: float) -> int:
        """Milliseconds since 1970, but above every stamp that we have seen or given."""
        self._stamp = max(
            int(self._group.wall(now) * 1000), self._registry.highest_stamp + 1, self._stamp + 1
        )
        return self._stamp

    def way(self, cap: int | None, *, counted: bool) -> Literal["open", "claim", "wait"]:
        """How the next newcomer is dealt with: at once, by a claim, or after answers have come.

        `counted`: whether its join token has a limited number of uses.
        """
        if cap is None and not counted:
            return "open"
        kin = [member.name for member in self._group.kin()]
        while self._open and all(self._group.heard_by(name, self._open[0]) for name in kin):
            self._open.popleft()
        if cap is not None:
            free = cap - self._registry.used - self._registry.over
            if free < OUTSTANDING_MAX * (len(kin) + 1):
                return "claim" if len(self._claims) < OUTSTANDING_MAX else "wait"
        # Other managers may not know of either: together no more than they reckon with.
        if len(self._open) + len(self._claims) >= OUTSTANDING_MAX:
            return "wait"
        return "claim" if counted else "open"

    def note_admitted(self, cap: int | None) -> None:
        """A newcomer was admitted under `cap`; it stands on our page at its present version."""
        if cap is not None:
            self._open.append(self._group.ledger.own.version)

    def claimed(self, claim: Claim) -> None:
        self._claims[claim.conn] = claim

    def claim_of(self, conn: int) -> Claim | None:
        return self._claims.get(conn)

    def withdraw(self, conn: int) -> Claim | None:
        """The newcomer went away before it was judged."""
        return self._claims.pop(conn, None)

    def forget_silence(self, alive: set[str]) -> None:
        """Who is no longer alive is not waited for anyway, and starts afresh when it returns."""
        self._silent &= alive

    def judge(self, cap: int | None, now: float) -> list[tuple[Claim, Verdict]]:
        """The claims that are decided now."""
        if not self._claims:
            return []
        judged: list[tuple[Claim, Verdict]] = []
        uses = self._registry.uses.copy()
        taken = self._registry.used + self._registry.over
        for claim in sorted(self._claims.values(), key=lambda c: (c.stamp, c.id)):
            if not self._answered(claim, now):
                continue
            before_it = [
                view
                for view in self._registry.claims()
                if (view.record.stamp, view.id) < (claim.stamp, claim.id)
                and all(view.id != done.id for done, _ in judged)
            ]
            seats = cap
            if cap is not None and claim.instead:
                coming = {claim.instead, *(view.record.instead for view in before_it)}
                coming |= {done.instead for done, verdict in judged if verdict is Verdict.IN}
                seats = cap + self.surge.extra(self._group.wall(now), coming)
            late = now >= claim.at + UNDECIDED_MAX
            fits = _fits(taken, len(before_it), seats, late=late)
            by_it = sum(view.record.token == claim.token for view in before_it)
            counts = _fits(uses[claim.token], by_it, claim.uses, late=late)
            if fits and counts:
                taken += 1
                uses[claim.token] += 1
                judged.append((claim, Verdict.IN))
            elif counts is False:
                judged.append((claim, Verdict.USED_UP))
            elif fits is False:
                judged.append((claim, Verdict.FULL))
        for claim, _ in judged:
            del self._claims[claim.conn]
        return judged

    def next_deadline(self) -> float:
        """When a claim is judged without further answers."""
        if not self._claims:
            return inf
        # `judge` compares with these very sums: differences round otherwise, and nothing might be due then.
        deadlines = [inf]
        for claim in self._claims.values():
            deadlines += [claim.at + PATIENCE_SILENT, claim.at + PATIENCE, claim.at + UNDECIDED_MAX]
        return min(deadline for deadline in deadlines if deadline > self._judged_at)

    def _answered(self, claim: Claim, now: float) -> bool:
        """Whether every live manager has answered for `claim`, or is not waited for any longer."""
        self._judged_at = now
        for member in self._group.kin():
            if self._group.heard_by(member.name, claim.version):
                self._silent.discard(member.name)
                continue
            impatient = member.name in self._silent or member.state is not State.ALIVE
            if now < claim.at + (PATIENCE_SILENT if impatient else PATIENCE):
                return False
            self._silent.add(member.name)
        return True


def _fits(taken: int, ahead: int, there: int | None, *, late: bool) -> bool | None:
    """Whether there is one more than what is taken, and claimed by those ahead; None: not yet known."""
    if there is None or taken + ahead < there:
        return True
    return False if taken >= there or late else None
