"""What an operator vouches for, and no counting can know: that a founder or a node runs nowhere (R3, S5)."""

from dataclasses import replace

from gossip.group import Group
from manager.effects import Level
from manager.outbox import Outbox
from manager.page import NodePage
from manager.records import NodeState
from manager.registry import Registry
from manager.seats.desk import Desk
from manager.seats.founders import Founders
from manager.seats.home import Home
from manager.seats.records import EXPELLED

FORGOTTEN = "forgotten, by an operator's word"
NOT_STRICT = "there are no founders under policy available: set subscription.policy and group.founders"


class RightsError(Exception):
    """What an operator wants done with rights is not to be done; the text says why."""


class Vouching:
    """`founders`, `home` and `desk` are None where there are none, as under policy `available`."""

    def __init__(
        self,
        group: Group,
        registry: Registry,
        page: NodePage,
        founders: Founders | None,
        home: Home | None,
        desk: Desk | None,
        outbox: Outbox,
    ) -> None:
        self._group = group
        self._registry = registry
        self._page = page
        self._founders = founders
        self._home = home
        self._desk = desk
        self._outbox = outbox

    def expel(self, name: str, now: float) -> None:
        """Founder `name` runs nowhere, for good (R3). Raises `RightsError`."""
        founders, me = self._founders, self._group.name
        if founders is None:
            raise RightsError(NOT_STRICT)
        if name not in founders.names:
            raise RightsError(f"{name} is no founder: they are {', '.join(founders.names)}")
        if name == me or name in {member.name for member in self._group.kin()}:
            raise RightsError(f"{name} runs: stop it for good before it is expelled")
        if not set(founders.names) - founders.known.expelled.keys() - {name}:
            raise RightsError(f"{name} is the last founder: without any there are no rights")
        for line in founders.expel(name, self._group.wall(now)):
            self._outbox.log(Level.WARNING, line)
        if self._home is not None:
            self._home.page_changed(me, (EXPELLED + name,), now)

    def forget_node(self, id_: str, now: float) -> None:
        """The node runs nowhere, and will not start again from its directory (S5).

        Raises `RightsError`, `KeyError` where nobody knows it.
        """
        me, view = self._group.name, self._registry.view(id_)
        if view is None and not (self._founders is not None and list(self._founders.seats_of(id_))):
            raise KeyError(id_)
        if view is not None and view.state is NodeState.ACTIVE:
            raise RightsError(f"{id_} runs, and its manager {view.manager} hears it: stop it first")
        if self._desk is None and view is not None and view.manager != me:
            raise RightsError(f"{id_} was last at manager {view.manager}: tell that one")
        highest = self._registry.highest(id_)[0]
        if self._desk is not None:
            homes = self._desk.forget(id_, highest, now)
            if homes:
                self._outbox.log(Level.INFO, f"{id_} is forgotten: {', '.join(homes)} may give its seat away")
        record = self._page.record(id_)
        if record is not None and view is not None and view.manager == me:
            without_seat = replace(record, seat=False, over_limit=False)
            self._page.change(id_, without_seat, NodeState.REMOVED, FORGOTTEN, now)
