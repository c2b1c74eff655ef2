"""A manager of a version that is not there yet, or no longer: `later.py later|earlier OPTION...`.

It is ours, and says fields and kinds beside that ours does not know; or it speaks the protocol of the ledger
before ours.
"""

import sys
from collections.abc import Callable
from typing import Any

import msgpack

import gossip.kinship
import gossip.reconcile
import manager.seed.server
from gossip.effects import Send
from gossip.host import GossipSockets
from gossip.kinship import Kinship
from gossip.messages import Message, User
from manager.cli.main import main_manager
from manager.limits.budgets import Holding
from manager.records import CloneNote, NodeRecord, Runs, Setting, Turn
from manager.seed.connection import Connection

NEWS = ["a field of a later version", {"with": ["much", "in", "it"]}]
PAGE_FIELDS = NEWS[:1]
UNKNOWN_PACKET = bytes((99,)) + b"a message of a later version"
UNKNOWN_USER = b"Z" + msgpack.packb(["a part of a later version"])


def extended(fields: list[Any]) -> list[Any]:
    """The fields of a ledger message, with more in it and in each of its pieces."""
    more = [
        [[*piece[:6], [[*entry, *PAGE_FIELDS] for entry in piece[6]], *NEWS] for piece in field]
        if isinstance(field, list)
        else {owner: [*mark, 7] for owner, mark in field.items()}
        if isinstance(field, dict)
        else field
        for field in fields
    ]
    return [*more, *NEWS]


def later_ledger(encode: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    def encoded(message: Any) -> bytes:
        known = encode(message)
        fields = msgpack.unpackb(known[1:], unicode_errors="surrogateescape")
        packed: bytes = msgpack.packb(extended(fields), unicode_errors="surrogateescape")
        return known[:1] + packed

    return encoded


def later_record(kind: Any) -> None:
    known = kind.pack

    def pack(self: Any) -> bytes:
        packed: bytes = msgpack.packb([*msgpack.unpackb(known(self)), *PAGE_FIELDS])
        return packed

    kind.pack = pack


def become_later() -> None:
    reconcile, seed = vars(gossip.reconcile), vars(manager.seed.server)
    reconcile["encode_ledger"] = later_ledger(reconcile["encode_ledger"])
    for kind in (NodeRecord, CloneNote, Runs, Setting, Turn, Holding):
        later_record(kind)
    own_tags, send = Kinship.own_tags, GossipSockets.send
    Kinship.own_tags = lambda self: {**own_tags(self), "kcm_later": "1"}  # type: ignore[method-assign]

    def send_more(self: GossipSockets, effect: Send) -> None:
        unknown: tuple[Message, ...] = (User(UNKNOWN_USER),)
        send(self, Send(effect.address, (*effect.messages, *unknown), effect.crc))
        if self._udp is not None:
            self._udp.sendto(UNKNOWN_PACKET, effect.address)

    GossipSockets.send = send_more  # type: ignore[method-assign]
    encode, put = seed["encode"], Connection.put

    def encode_more(message: Any) -> bytes:
        kind, body = msgpack.unpackb(encode(message))
        frame: bytes = msgpack.packb([kind, {**body, "later": NEWS}])
        return frame

    def put_more(self: Connection, message: bytes) -> bool:
        put(self, msgpack.packb(["rumour", {"later": NEWS}]))
        return put(self, message)

    seed["encode"] = encode_more
    Connection.put = put_more  # type: ignore[method-assign]


def become_earlier() -> None:
    gossip.kinship.LEDGER_PROTOCOL = "0"


if __name__ == "__main__":
    {"later": become_later, "earlier": become_earlier}[sys.argv[1]]()
    main_manager(sys.argv[2:])
