"""What operators want of single nodes, on the page of the manager that they spoke to until the node has it.

The newest order for a node counts, by (serial, writer); the node itself keeps what it has taken. A restart
begins by a turn, which one manager gives for all nodes of a kind, out of what a rollout may have out as well.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from gossip.group import Group
from gossip.ledger import PageFull
from manager.outbox import Outbox
from manager.packing import pack, unpack
from manager.records import Mark, SessionKey, Turn
from node.protocol import ConfigState

ORDER = "order/"
BY_CHARS_MAX = 64


class OrderError(Exception):
    """The order cannot be given; the text says why, and what to do."""


class Action(StrEnum):
    """What may be ordered."""

    DRAIN = "drain"
    """No traffic from now on; told when the gateway has had time to be rid of what it had."""
    CORDON = "cordon"
    """No traffic from now on."""
    UNCORDON = "uncordon"
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Order:
    """`by` and `at`, in seconds since 1970, say where it comes from."""

    serial: int
    action: Action
    by: str
    at: float

    def pack(self) -> bytes:
        return pack([self.serial, self.action.value, self.by, self.at])

    @classmethod
    def unpack(cls, value: bytes) -> "Order":
        """Raises `ValueError` for anything else than a packed order; later versions may add to it."""
        match unpack(value):
            case [int(serial), str(action), str(by), float(at), *_] if serial > 0:
                return cls(serial, Action(action), by, at)
            case _:
                raise ValueError("not an order")


class Orders:
    """All orders on the pages, by the ids of their nodes."""

    def __init__(self, group: Group, outbox: Outbox) -> None:
        self._group = group
        self._outbox = outbox
        self._orders: dict[str, dict[str, Order]] = {}
        """By owner of the page, then by id."""

    # What there is to see

    def newest(self, id_: str) -> tuple[Mark, Order] | None:
        """The order that counts for a node, taken or not."""
        found = [
            ((orders[id_].serial, owner), orders[id_])
            for owner, orders in self._orders.items()
            if id_ in orders
        ]
        return max(found, key=lambda each: each[0], default=None)

    def ids(self) -> list[str]:
        """The nodes that have one, in order."""
        return sorted({id_ for orders in self._orders.values() for id_ in orders})

    # What changes

    def give(self, id_: str, action: Action, by: str, taken: int, wall: float) -> Order:
        """Order it; `taken` is the serial of what the node took last. Raises `OrderError`."""
        newest = self.newest(id_)
        highest = max(taken, 0 if newest is None else newest[0][0])
        # By the clock where that is ahead: what the node took may not be known here at the moment.
        order = Order(max(highest + 1, int(wall * 1000)), action, by[:BY_CHARS_MAX], wall)
        try:
            self._group.ledger.put(ORDER + id_, order.pack())
        except PageFull:
            raise OrderError(
                f"manager {self._group.name} has no room for more on its page: ask another"
            ) from None
        self._orders.setdefault(self._group.name, {})[id_] = order
        return order

    def page_changed(self, owner: str, key: str, value: bytes | None) -> str | None:
        """Read what `owner`'s page says under `key`; gives the id that it is about, if that is one."""
        if not key.startswith(ORDER):
            return None
        orders, id_ = self._orders.setdefault(owner, {}), key[len(ORDER) :]
        orders.pop(id_, None)
        try:
            if value is not None:
                orders[id_] = Order.unpack(value)
        except ValueError:
            self._outbox.count("ledger", "bad_record")
        return id_

    def recall(self, entries: Iterable[tuple[str, bytes]]) -> None:
        """What stood on our page before our start holds until it has served, as what was written since."""
        for key, value in entries:
            news = key.startswith(ORDER) and self._group.ledger.own.get(key) is None
            if news and self.page_changed(self._group.name, key, value) is not None:
                self._group.ledger.put(key, value, ends_something=True)

    def drop_taken(self, id_: str, taken: Mark, *, known: bool) -> None:
        """Take our order back where its node has taken it, is not known, or has a newer one."""
        order = self._orders.get(self._group.name, {}).get(id_)
        newest = self.newest(id_)
        if order is None or newest is None:
            return
        mark = order.serial, self._group.name
        if not known or mark <= taken or mark < newest[0]:
            self._group.ledger.delete(ORDER + id_)
            del self._orders[self._group.name][id_]


def is_in_service(config: ConfigState) -> bool:
    """Whether a node is out for nothing that takes a turn: it is ready, or an operator keeps it out."""
    return not config.changing and config.service != "restarting" and (config.ready or bool(config.service))


def has_started_anew(turn: Turn, session: SessionKey, config: ConfigState) -> bool:
    """Whether a node in `session` can no longer go out by a turn for limits, and is in service."""
    if not is_in_service(config) or session < turn.session:
        return False
    return session > turn.session or config.restart_taken >= turn.serial


def has_restarted(turn: Turn, session: SessionKey, config: ConfigState) -> bool:
    """Whether a node in `session` can no longer go out by a turn for a restart, and is in service."""
    if not is_in_service(config) or session < turn.session:
        return False
    return session > turn.session or (config.order_serial, config.order_writer) >= turn.mark
