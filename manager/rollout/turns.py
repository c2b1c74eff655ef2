"""Turns: who may have a node out of service, for a rollout, for a restart, or for limits (rules T1 to T4).

Without founders whoever conducts gives them. With founders `max_unavailable` is divided over them like
seats: each gives its own share only, so no split lets more nodes out, and who conducts asks one by its page
(`want/<id>`). A turn is on the page, and on the disk, of who gave it before its node hears of it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from gossip.group import Group
from gossip.messages import State
from manager.outbox import Outbox
from manager.packing import pack, unpack
from manager.records import ANEW, RESTART, TURN, Turn
from manager.seats.founders import Founders
from manager.seats.rights import share, whom_to_ask

WANT = "want/"
PURPOSES = (TURN, RESTART, ANEW)
PATIENCE = 2.0
"""How long to wait for a founder before another one is asked."""


@dataclass(frozen=True, slots=True)
class Want:
    """A turn that is wanted of `founder`; `purpose` is one of `PURPOSES`."""

    founder: str
    purpose: str
    turn: Turn

    def pack(self) -> bytes:
        return pack([self.founder, self.purpose, self.turn.serial, self.turn.writer, *self.turn.session])

    @classmethod
    def unpack(cls, value: bytes) -> "Want":
        """Raises `ValueError` for anything else than a packed want."""
        match unpack(value):
            case [str(founder), str(purpose), int(serial), str(writer), int(incarnation), int(nonce), *_]:
                return cls(founder, purpose, Turn(serial, writer, (incarnation, nonce)))
            case _:
                raise ValueError("not what is wanted")


@dataclass(slots=True)
class _Wanted:
    """`most` is what is divided over the founders."""

    kind: str
    most: int
    want: Want
    until: float
    tried: set[str] = field(default_factory=set)


class Turns:
    """All that stand on the pages, by the ids of their nodes, and what we want of founders."""

    def __init__(
        self,
        group: Group,
        outbox: Outbox,
        founders: Founders | None,
        holds: Callable[[str, str, Turn], str],
    ) -> None:
        """`holds(purpose, id, turn)`: the kind of the node's gateway, empty where the turn has come back."""
        self._group = group
        self._outbox = outbox
        self._founders = founders
        self._holds = holds
        self._turns: dict[tuple[str, str], dict[str, Turn]] = {}
        """By owner of the page and what for, then by id."""
        self._wants: dict[str, dict[str, Want]] = {}
        """Of others, by owner of the page, then by id."""
        self._wanted: dict[str, _Wanted] = {}

    # What there is to see

    def held(self, kind: str) -> dict[str, Turn]:
        """Those that have not come back, of nodes of `kind`."""
        found = {}
        for (_, purpose), turns in self._turns.items():
            for id_, turn in turns.items():
                if self._holds(purpose, id_, turn) == kind:
                    found[id_] = turn
        return found

    def wanted(self, kind: str) -> dict[str, Turn]:
        """Those that we want of founders, and have not got yet."""
        return {id_: one.want.turn for id_, one in self._wanted.items() if one.kind == kind}

    def has(self, purpose: str, id_: str, turn: Turn, by: str | None) -> bool:
        """Whether a node has this turn: by a founder's word, or where there are none by `by`'s, None: any."""
        owners = [
            owner for (owner, of), turns in self._turns.items() if of == purpose and turns.get(id_) == turn
        ]
        if self._founders is not None:
            return any(owner in self._founders.names for owner in owners)
        return bool(owners) if by is None else by in owners

    def own(self, purpose: str) -> dict[str, Turn]:
        """Those that we gave, and that are not erased yet."""
        return dict(self._turns.get((self._group.name, purpose), {}))

    def left(self, kind: str, most: int) -> dict[str, int]:
        """What each founder that is within reach can still give, as far as its page tells."""
        assert self._founders is not None
        left, names = {}, self._founders.names
        for at, name in enumerate(names):
            if self._may_give(name):
                given = sum(
                    self._holds(purpose, id_, turn) == kind
                    for purpose in PURPOSES
                    for id_, turn in self._turns.get((name, purpose), {}).items()
                )
                left[name] = share(at, len(names), most) - given
        return left

    def refusal(self, kind: str, most: int) -> str:
        """Why no founder gives a turn; empty where one may, or where there are none."""
        if self._founders is None:
            return ""
        left = self.left(kind, most)
        if any(count > 0 for count in left.values()):
            return ""
        names = self._founders.names
        has_some = [name for at, name in enumerate(names) if share(at, len(names), most) > 0]
        held = ", ".join(sorted(self.held(kind))[:3])
        away = ", ".join(name for name in has_some if name not in left)
        parts = [
            f"all turns within reach are taken: {held}" if held else "",
            f"turns of {away} cannot be had: not within reach, expelled, or not founded" if away else "",
        ]
        text = "; ".join(part for part in parts if part)
        return f"{text}; a larger max_unavailable gives others more"

    def _may_give(self, founder: str) -> bool:
        assert self._founders is not None
        account = self._founders.known.accounts.get(founder)
        kin = {member.name for member in self._group.kin() if member.state is State.ALIVE}
        near = founder == self._group.name or founder in kin
        expelled = founder in self._founders.known.expelled
        return near and not expelled and account is not None and account.founded and not account.barred

    # Getting one

    def want(self, purpose: str, id_: str, turn: Turn, kind: str, most: int, now: float) -> bool:
        """Get a turn for a node; whether it is there at once."""
        if self._founders is None:
            self.give(purpose, id_, turn)
            return True
        if id_ in self._wanted:
            return False
        return self._ask(_Wanted(kind, most, Want("", purpose, turn), 0.0), id_, now)

    def look(self, now: float) -> list[tuple[str, str]]:
        """Ask the next one where a founder does not answer; gives what is there at once, as (purpose, id)."""
        here = []
        for id_, wanted in list(self._wanted.items()):
            want = wanted.want
            given = self._turns.get((want.founder, want.purpose), {}).get(id_) == want.turn
            if not given and now < wanted.until and self._may_give(want.founder):
                continue
            del self._wanted[id_]
            self._group.ledger.delete(WANT + id_)
            wanted.tried.add(want.founder)
            if not given and self._ask(wanted, id_, now):
                here.append((wanted.want.purpose, id_))
        return here

    def _ask(self, wanted: _Wanted, id_: str, now: float) -> bool:
        """Give it ourselves, which is told, or ask the founder with most left."""
        left = self.left(wanted.kind, wanted.most)
        for other in self._wanted.values():
            if other.kind == wanted.kind and other.want.founder in left:
                left[other.want.founder] -= 1
        for founder in whom_to_ask(left, self._group.name):
            if founder == self._group.name:
                self.give(wanted.want.purpose, id_, wanted.want.turn)
                return True
            if founder not in wanted.tried:
                wanted.want = Want(founder, wanted.want.purpose, wanted.want.turn)
                wanted.until = now + PATIENCE
                self._wanted[id_] = wanted
                self._group.ledger.put(WANT + id_, wanted.want.pack(), ends_something=True)
                return False
        return False

    # Giving one

    def asked(self) -> Iterator[tuple[str, Want]]:
        """What managers that are alive want of us, each with the id of its node."""
        for owner in sorted(member.name for member in self._group.kin()):
            for id_, want in sorted(self._wants.get(owner, {}).items()):
                if want.founder == self._group.name and want.purpose in PURPOSES:
                    yield id_, want

    def can_give(self, id_: str, kind: str, most: int) -> bool:
        """Whether we have one left, and none of ours for that node is out."""
        if self._founders is None or self.left(kind, most).get(self._group.name, 0) <= 0:
            return False
        return not any(
            (turn := self.own(purpose).get(id_)) is not None and self._holds(purpose, id_, turn)
            for purpose in PURPOSES
        )

    def give(self, purpose: str, id_: str, turn: Turn) -> None:
        """The node may be out from now on, by this turn."""
        self._group.ledger.put(purpose + id_, turn.pack(), ends_something=True)
        self._turns.setdefault((self._group.name, purpose), {})[id_] = turn

    def end(self, purpose: str, id_: str) -> None:
        """The one that we gave has come back."""
        self._group.ledger.delete(purpose + id_)
        self._turns[self._group.name, purpose].pop(id_, None)

    # What the pages say

    def page_changed(self, owner: str, key: str, value: bytes | None) -> str | None:
        """Read what `owner`'s page says under `key`; gives the id of the node whose turn changed."""
        try:
            if key.startswith(WANT):
                wants, id_ = self._wants.setdefault(owner, {}), key[len(WANT) :]
                wants.pop(id_, None)
                if value is not None and owner != self._group.name:
                    wants[id_] = Want.unpack(value)
            for purpose in PURPOSES:
                if key.startswith(purpose):
                    turns, id_ = self._turns.setdefault((owner, purpose), {}), key[len(purpose) :]
                    turns.pop(id_, None)
                    if value is not None:
                        turns[id_] = Turn.unpack(value)
                    return id_
        except ValueError:
            self._outbox.count("ledger", "bad_record")
        return None

    def recall(self, entries: Iterable[tuple[str, bytes]]) -> None:
        """Turns from before our start hold until they are seen to be back, like those given since."""
        for key, value in entries:
            news = key.startswith(PURPOSES) and self._group.ledger.own.get(key) is None
            if news and self.page_changed(self._group.name, key, value) is not None:
                self._group.ledger.put(key, value, ends_something=True)
