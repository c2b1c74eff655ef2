"""Whether a node's margin over the limit goes on wherever it turns up (rule A3)."""

from collections.abc import Callable
from typing import NoReturn

from manager.identity import Identity, TicketError
from node.protocol import LimitsPush, ManagerMessage, Welcome
from simulations.nodes import SimNode


class MarginWatch:
    """Compares the ticket that a node is told with the one that is on its disk. `fail(text)` raises."""

    def __init__(self, nodes: list[SimNode], fail: Callable[[str], NoReturn]) -> None:
        self._nodes = nodes
        self._fail = fail

    def said(self, manager: str, group: str, message: ManagerMessage) -> None:
        """`manager` is about to tell a node so."""
        if isinstance(message, Welcome | LimitsPush) and message.ticket:
            ticket = Identity(group, "").open(message.ticket)
            for node in self._nodes if ticket.over_since else ():
                if node.id == ticket.id and not node.set_back and not node.copied:
                    self._a_margin_goes_on(manager, group, node, ticket.over_since)

    def _a_margin_goes_on(self, manager: str, group: str, node: SimNode, since: float) -> None:
        """No manager lets a margin begin later than the node can show that it began."""
        text = "" if node.disk.state is None else node.disk.state.ticket
        try:
            before = Identity(group, "").open(text).over_since if text else 0.0
        except TicketError:
            return  # of another group
        if 0 < before < since:
            late = since - before
            self._fail(
                f"{manager} lets the margin of {node.name} begin {late:.1f} s later than its ticket says"
            )
