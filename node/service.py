"""Whether an operator wants the gateway to get traffic: the pure core, a part of the session.

The newest order counts, by (serial, writer). A node that was cordoned or drained stays so, whatever becomes
of its agent, its gateway and its managers, until it is told otherwise.
"""

import logging

from node.effects import Drain, Effect, Log, Restart
from node.notes import in_short
from node.protocol import Order

WHY = {
    "cordoned": "cordoned by an operator",
    "draining": "it drains, by an operator's order",
    "drained": "drained by an operator",
    "restarting": "it is restarted, by an operator's order",
}
"""What `/ready` says, by what `Service.shown` is."""


class Service:
    """Carry out what it returns; report each `Drain` by `drained` and each `Restart` by `restarted`, once."""

    def __init__(self, kept: str, taken: tuple[int, str]) -> None:
        """As they were when they were last kept."""
        self.kept = kept
        """`cordoned`, `drained`, or empty; to be kept, as `taken`, before anybody is told of it."""
        self.taken = taken
        self.note = ""
        self._draining = 0
        """The serial of the order by which it drains; 0 where it does not."""
        self._restarting: tuple[int, str] | None = None

    @property
    def shown(self) -> str:
        """Why there should be no traffic; empty where nothing is against it."""
        if self._restarting is not None:
            return "restarting"
        return "draining" if self._draining else self.kept

    def received(self, order: Order) -> list[Effect]:
        """A manager's word on the open session."""
        mark = order.serial, order.writer
        if mark <= self.taken:
            return []
        if order.action == "restart":
            begun, self._restarting = self._restarting is not None, mark
            text = "The gateway goes out of service to be restarted, by an operator's order"
            return [] if begun else [Log(logging.INFO, text), Restart()]
        self.taken, self.note = mark, ""
        match order.action:
            case "drain":
                self.kept, self._draining = "drained", order.serial
                text = "The gateway drains, by an operator's order: no traffic until it is uncordoned"
                return [Log(logging.INFO, text), Drain(order.serial)]
            case "cordon":
                self.kept, self._draining = "cordoned", 0
                return [Log(logging.INFO, "Cordoned by an operator: no traffic until it is uncordoned")]
            case "uncordon":
                self.kept, self._draining = "", 0
                return [Log(logging.INFO, "Uncordoned by an operator: the gateway may get traffic")]
            case _:
                self.note = f"this agent does not know how to {order.action[:40]}: upgrade it"
                return [Log(logging.ERROR, f"An operator's order was not carried out: {self.note}")]

    def drained(self, serial: int) -> list[Effect]:
        """The time for draining by the order of this serial is over."""
        if self._draining != serial:
            return []
        self._draining = 0
        return [Log(logging.INFO, "The gateway is drained")]

    def restarted(self, error: str) -> list[Effect]:
        """The outcome of `Restart`."""
        assert self._restarting is not None
        self.taken, self._restarting = max(self.taken, self._restarting), None
        self.note = in_short(error)
        if error:
            return [Log(logging.ERROR, f"The gateway was not restarted as it should be: {error}")]
        return [Log(logging.INFO, "The gateway was restarted")]
