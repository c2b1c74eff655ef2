"""Checkers of what a disk is for: nothing is told before it is kept, and what was kept is there again."""

from collections.abc import Callable
from functools import lru_cache

from gossip.ledger_messages import DigestIs, Heard, Pieces, Push, Sync
from gossip.messages import Alive, Message, PushPull, StreamMessage, User
from gossip.pages import NOTHING, Mark
from gossip.wire.ledger import PREFIX, decode_ledger
from manager.disk.saved import INCARNATION
from manager.records import NODE, NodeRecord, NodeState
from node.protocol import ManagerMessage, Welcome
from simulations.processes import SimManager

read_ledger = lru_cache(maxsize=64)(decode_ledger)
"""For checkers: several look at a payload, which goes to several members."""


class Kept:
    """Looks at managers that have a disk. `fail(text)` raises."""

    def __init__(self, fail: Callable[[str], None]) -> None:
        self._fail = fail
        self._claimed: dict[tuple[str, str], int] = {}
        """The highest incarnation that each manager has told anybody, by host and name."""

    def started(self, manager: SimManager) -> None:
        """A new process knows every node that it had promised anything, and is above its former self (M3)."""
        disk, core = manager.disk, manager.core
        if disk is None or disk.set_back:
            return
        own = disk.saved.pages.get(manager.name)
        for key, value in () if own is None else own.items():
            if key.startswith(NODE):
                record = NodeRecord.unpack(value)
                known = core.registry.highest(key[len(NODE) :])
                if record.state is not NodeState.CLAIMED and known < record.session:
                    self._fail(f"{manager.name} has started, and does not know {record.name} any more")
        if core.group.swim.members.me.incarnation <= self._claimed.get((manager.host, manager.name), 0):
            self._fail(f"{manager.name} starts at an incarnation that it had before")

    def told(self, manager: SimManager, message: Message | StreamMessage) -> None:
        """`message` goes to another member (L4)."""
        if manager.disk is None:
            return
        match message:
            case Alive(node, incarnation) if node == manager.name:
                self._claims(manager, incarnation)
            case PushPull(members=members):
                for entry in members:
                    if entry.name == manager.name:
                        self._claims(manager, entry.incarnation)
            case User(payload) if payload.startswith(PREFIX):
                self._ledger(manager, payload)
            case _:
                pass

    def said(self, manager: SimManager, message: ManagerMessage) -> None:
        """`message` goes to a node: who is welcomed stands on disk."""
        if manager.disk is None or not isinstance(message, Welcome):
            return
        page = manager.disk.saved.pages.get(manager.name)
        value = None if page is None else page.get(NODE + message.id)
        if value is None or NodeRecord.unpack(value).incarnation < message.incarnation:
            self._fail(f"{manager.name} welcomes {message.id}, which is not on its disk")

    def _claims(self, manager: SimManager, incarnation: int) -> None:
        assert manager.disk is not None
        who = manager.host, manager.name
        self._claimed[who] = max(self._claimed.get(who, 0), incarnation)
        if int(manager.disk.saved.facts.get(INCARNATION, "0")) < incarnation:
            self._fail(f"{manager.name} tells its incarnation {incarnation}, which is not on its disk")

    def _ledger(self, manager: SimManager, payload: bytes) -> None:
        assert manager.disk is not None
        page = manager.disk.saved.pages.get(manager.name)
        kept = NOTHING if page is None else page.mark
        told = []
        match read_ledger(payload):
            case Push(_, pieces):
                told = [Mark(p.generation, p.upto) for p in pieces if p.owner == manager.name]
            case Pieces(_, digest, pieces):
                told = [Mark(p.generation, p.upto) for p in pieces if p.owner == manager.name]
                told.append(digest.get(manager.name, NOTHING))
            case Sync(_, digest) | DigestIs(_, digest):
                told = [digest.get(manager.name, NOTHING)]
            case Heard(_, own=own):
                told = [own]
            case _:
                pass
        if any(mark > kept for mark in told):
            self._fail(f"{manager.name} tells of its page at {max(told)}, and its disk has {kept}")
