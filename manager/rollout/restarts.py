"""Gateways that are to be restarted, each in its turn: by an operator's order, or for limits that take it.

One manager gives the turns for all gateways of a kind, out of what a rollout may have out as well.
"""

from collections.abc import Iterable, Iterator

from gossip.group import Group
from manager.records import ANEW, CONNECTION_ENDED, RESTART, Mark, NodeState, SessionKey, Turn, kind_of
from manager.registry import NodeView, Registry
from manager.rollout.configs import Configs
from manager.rollout.orders import Action, Order, Orders, has_restarted, has_started_anew
from manager.rollout.standings import Standings
from manager.rollout.turns import Turns

LONG_SECONDS = 120.0
"""A node that has waited this long for a turn to take limits is logged, and again after as long."""


class Restarts:
    """Who waits for one, for what, and who is next."""

    def __init__(
        self,
        group: Group,
        registry: Registry,
        configs: Configs,
        orders: Orders,
        turns: Turns,
        standings: Standings,
    ) -> None:
        self._group = group
        self._registry = registry
        self._configs = configs
        self._orders = orders
        self._turns = turns
        self._standings = standings
        self._said: dict[str, float] = {}
        """When that was last said, by kind."""

    # What there is to see

    def ordered(self, id_: str) -> tuple[Mark, Order] | None:
        """What an operator wants of a node, and it has not taken yet."""
        newest, said = self._orders.newest(id_), self._standings.says(id_)
        if newest is not None and said is not None and newest[0] <= (said.order_serial, said.order_writer):
            return None
        return newest

    def waits_for(self, id_: str) -> str:
        """What the order waits for that a node has not taken yet."""
        found, view = self.ordered(id_), self._registry.view(id_)
        if found is None or view is None:
            return ""
        mark, order = found
        if view.state is not NodeState.ACTIVE:
            return f"it is {view.state.value}: it takes the order when it is connected again"
        if order.action is not Action.RESTART or self.may(id_, mark, view.record.session):
            return f"its agent, which manager {view.manager} tells"
        kind = kind_of(view.record.gateway)
        return f"a turn, which manager {self.giver(kind)} gives: {self._why_not(kind, id_)}"

    def _why_not(self, kind: str, id_: str) -> str:
        """What keeps a node of a kind from its turn."""
        out = sorted({*self._turns.held(kind), *self._standings.out(kind)} - {id_})
        names = f"out of service are {', '.join(out[:3])}; " if out else ""
        most = self.max_unavailable(kind)
        return names + (self._turns.refusal(kind, most) or f"max_unavailable is {most}")

    def stuck(self, now: float) -> Iterator[str]:
        """Lines for the operator where nodes have asked for long for a turn of ours to take limits."""
        for kind, nodes in sorted(self._asking_here(now).items()):
            since, id_, _ = min(nodes)
            if now - since >= LONG_SECONDS and now >= self._said.get(kind, 0.0) + LONG_SECONDS:
                self._said[kind] = now
                yield (
                    f"{id_}, and {len(nodes) - 1} more, cannot take new limits for {now - since:.0f} s: each "
                    f"{kind} needs a turn to restart, and {self._why_not(kind, id_)}"
                )

    def may(self, id_: str, mark: Mark, session: SessionKey) -> bool:
        """Whether a node has its turn to be restarted by that order, in that session."""
        return self._turns.has(RESTART, id_, Turn(*mark, session), None)

    def asks(self, id_: str, session: SessionKey) -> Turn | None:
        """The turn that a node in that session has to take limits, as far as it still asks for it."""
        said = self._standings.says(id_)
        turn = Turn(0 if said is None else said.restart_asked, "", session)
        return turn if turn.serial and self._turns.has(ANEW, id_, turn, None) else None

    def stands(self, purpose: str, id_: str, turn: Turn) -> bool:
        """Whether that is what is ordered of a node, or what it asks for, and for its present session."""
        view = self._registry.view(id_)
        if view is None or view.record.session != turn.session:
            return False
        if purpose == RESTART:
            found = self.ordered(id_)
            return found is not None and found[0] == turn.mark
        said = self._standings.says(id_)
        return said is not None and said.restart_asked == turn.serial

    def max_unavailable(self, kind: str) -> int:
        """How many of a kind may be out at once."""
        found = self._configs.get(kind)
        return 1 if found is None else found[1].max_unavailable

    def giver(self, kind: str) -> str:
        """Who gives turns for restarts: the conductor for `kind`, else the first manager alive, by name."""
        alive = {self._group.name, *(member.name for member in self._group.kin())}
        found = self._configs.get(kind)
        return found[0].writer if found is not None and found[0].writer in alive else min(alive)

    def is_over(self, purpose: str, id_: str, turn: Turn) -> bool:
        """Whether a turn to be restarted has come back."""
        view = self._registry.view(id_)
        if view is None or has_left(view):
            return True
        said, over = self._standings.says(id_), has_restarted if purpose == RESTART else has_started_anew
        return said is not None and over(turn, view.record.session, said)

    # Who is next

    def next(self, now: float) -> Iterator[tuple[str, str, str, Turn]]:
        """The turns to give now, where that is ours, as (purpose, kind, id, turn): who waits longest first.

        Each counts by the time the next one is asked for.
        """
        for purpose, waiting in ((RESTART, self._ordered_here()), (ANEW, self._asking_here(now))):
            for kind, nodes in sorted(waiting.items()):
                yield from self._in_turn(purpose, kind, sorted(nodes))

    def _ordered_here(self) -> dict[str, list[tuple[float, str, Mark]]]:
        waiting: dict[str, list[tuple[float, str, Mark]]] = {}
        for id_ in self._orders.ids():
            found, view = self.ordered(id_), self._registry.view(id_)
            if found is not None and found[1].action is Action.RESTART and view is not None:
                kind = kind_of(view.record.gateway)
                if view.state is NodeState.ACTIVE and self.giver(kind) == self._group.name:
                    waiting.setdefault(kind, []).append((found[1].at, id_, found[0]))
        return waiting

    def _asking_here(self, now: float) -> dict[str, list[tuple[float, str, Mark]]]:
        waiting: dict[str, list[tuple[float, str, Mark]]] = {}
        for id_, since in list(self._standings.asking.items()):
            view, said = self._registry.view(id_), self._standings.says(id_)
            if view is None or said is None or not said.restart_asked:
                del self._standings.asking[id_]
                continue
            since = self._standings.asking[id_] = min(since, now)
            kind = kind_of(view.record.gateway)
            if view.state is NodeState.ACTIVE and self.giver(kind) == self._group.name:
                waiting.setdefault(kind, []).append((since, id_, (said.restart_asked, "")))
        return waiting

    def _in_turn(
        self, purpose: str, kind: str, nodes: Iterable[tuple[float, str, Mark]]
    ) -> Iterator[tuple[str, str, str, Turn]]:
        held, out = {*self._turns.held(kind), *self._turns.wanted(kind)}, self._standings.out(kind)
        room = self.max_unavailable(kind) - len(held) - len(out - held)
        for _, id_, mark in nodes:
            # Whoever is out already is not taken out by us.
            if id_ in held or (id_ not in out and room <= 0):
                continue
            room -= id_ not in out
            view = self._registry.view(id_)
            assert view is not None
            yield purpose, kind, id_, Turn(*mark, view.record.session)


def has_left(view: NodeView) -> bool:
    """Whether it said so, or an operator did: a connection may end while its node is out, and goes on."""
    return view.state is NodeState.REMOVED and view.why != CONNECTION_ENDED
