"""Rules of turns under policy `strict`, left out one at a time."""

from typing import Any

from manager.records import NodeState
from manager.registry import NodeView
from manager.rollout import restarts, rollouts
from manager.rollout.rollouts import Rollouts
from manager.rollout.turns import Turns
from simulations.mutants.patch import Patch


def who_conducts_counts_alone(patch: Patch) -> None:
    """Each conductor gives all turns itself, by what it sees: two sides give twice as many (T4)."""

    def want(self: Turns, what: str, id_: str, turn: Any, kind: str, most: int, now: float) -> bool:
        self.give(what, id_, turn)
        return True

    def has(self: Turns, what: str, id_: str, turn: Any, by: str | None) -> bool:
        return any(turns.get(id_) == turn for (_, of), turns in self._turns.items() if of == what)

    patch(Turns, "want", want)
    patch(Turns, "has", has)
    patch(Turns, "refusal", lambda self, kind, most: "")


def turns_end_by_the_clock(patch: Patch) -> None:
    """A turn is over a second after it was given, and its node may still be about to go (T2)."""
    given: dict[tuple[int, str], float] = {}

    def holds(self: Rollouts, what: str, id_: str, turn: Any) -> str:
        now = self._tidy_at
        first = given.setdefault((id(self), f"{what}{id_}{turn}"), now)
        return self.standings.kind_of(id_) if now <= first else ""

    patch(Rollouts, "_holds", holds)


def a_lost_connection_ends_a_turn(patch: Patch) -> None:
    """A node whose connection ended counts as back, though its gateway may be out (T2)."""

    def has_left(view: NodeView) -> bool:
        return view.state in (NodeState.REMOVED, NodeState.UNREACHABLE)

    patch(rollouts, "has_left", has_left)
    patch(restarts, "has_left", has_left)


def turns_go_with_their_process(patch: Patch) -> None:
    """A founder that starts anew has forgotten which turns it gave (T2)."""
    patch(Turns, "recall", lambda *_: None)


def permits_of_other_sessions(patch: Patch) -> None:
    """A turn that was given for an earlier session of a node is one for its present one (T1)."""

    def has(self: Turns, purpose: str, id_: str, turn: Any, by: str | None) -> bool:
        given = [
            turns.get(id_)
            for (owner, of), turns in self._turns.items()
            if of == purpose and (self._founders is None or owner in self._founders.names)
        ]
        return any(one is not None and one.mark == turn.mark for one in given)

    patch(Turns, "has", has)
