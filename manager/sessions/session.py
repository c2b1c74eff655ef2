"""One connection of a node: what is known of it, who its node says it is, and by which ticket."""

from dataclasses import dataclass, replace
from math import inf

from manager.identity import KEY_BYTES, Identity, Ticket, TicketError
from manager.records import NodeRecord, SessionKey
from manager.tokens import JoinToken
from manager.traffic import Told
from node.protocol import PROTOCOL_MAX, PROTOCOL_MIN, Hello, Leases, Limits, is_node_id

_ANEW = "remove the node's state to join as a new node"


@dataclass(slots=True)
class Session:
    """One connection of a node. `id` is empty until a hello has been taken."""

    conn: int
    peer: str
    id: str = ""
    hello: Hello | None = None
    key: SessionKey = (0, 0)
    """What tells it from the other sessions of its node, as in `NodeRecord.session`."""
    admitted: bool = False
    ticket: Ticket | None = None
    """What the node has on its disk, as far as it has said …"""
    left: float = 0.0
    """… and for how many seconds that lived when it did."""
    asks: int = 0
    """How many questions it has asked in this session beside its hello."""
    limits_version: int = 0
    limits_sent: tuple[Limits, Leases, bool, float] | None = None
    """Share, leases, whether over the limit, and since when its margin runs."""
    token: JoinToken | None = None
    """What it showed …"""
    counted: bool = False
    """… and whether its use is counted: every manager alive has answered for it (rule A5)."""
    challenge: SessionKey | None = None
    """The newer session of its id, while it is asked whether it lives (rule I3)."""
    challenge_ends: float = inf
    told: Told | None = None
    """What its gateway has answered, as of its last report in this session."""
    cloned: bool = False
    """Whether it was told to draw a new identity: what it had already sent as the old one counts nothing."""

    @property
    def asked(self) -> tuple[int, int]:
        """Its last question (`manager.seats.records.Asked`)."""
        return (0, 0) if self.hello is None else (self.hello.incarnation, self.asks)

    @property
    def is_counted(self) -> bool:
        """Whether it comes by a token with a limited number of uses."""
        return self.ticket is None and self.token is not None and self.token.uses is not None

    @property
    def stamp(self) -> int:
        """When its node was first seated, by its ticket; 0 without one."""
        return 0 if self.ticket is None else self.ticket.stamp


def identify(identity: Identity, hello: Hello) -> tuple[str, Ticket | None, tuple[str, str] | None]:
    """Its id, its ticket, and what is wrong with it as (code, sentence)."""
    if hello.protocol_min > PROTOCOL_MAX or hello.protocol_max < PROTOCOL_MIN:
        ours = f"{PROTOCOL_MIN} to {PROTOCOL_MAX}"
        theirs = f"{hello.protocol_min} to {hello.protocol_max}"
        return (
            "",
            None,
            ("protocol", f"it speaks protocol {theirs}, this manager {ours}: upgrade the older one"),
        )
    if len(hello.key) != KEY_BYTES or hello.incarnation < 1:
        return "", None, ("invalid", f"hello.key must be {KEY_BYTES} bytes and hello.incarnation above 0")
    if hello.id and not is_node_id(hello.id):
        return "", None, ("invalid", "hello.id is not of the form krakend_<uuid4>")
    id_ = identity.id_of(hello.key)
    if hello.id and hello.id != id_:
        return id_, None, ("foreign", f"its id is of another group; {_ANEW}")
    if not hello.ticket:
        return id_, None, None
    try:
        ticket = identity.open(hello.ticket)
    except TicketError as error:
        return id_, None, ("foreign", str(error))
    if ticket.id != id_:
        return id_, None, ("foreign", f"its ticket is another node's; {_ANEW}")
    return id_, ticket, None


def ticket_of(identity: Identity, id_: str, record: NodeRecord) -> str:
    """By policy `available`: what the node shows wherever no page knows it."""
    ticket = Ticket(identity.group, id_, record.stamp)
    if record.over_since:
        ticket = replace(ticket, incarnation=record.incarnation, over_since=record.over_since)
    return identity.seal(ticket)
