"""Who a node is: its id and the ticket that proves that the group gave it (rule I2).

Both are HMACs under the group's secret. Where none is configured the secret follows from the group's
name, and then guards against accidents only, not against strangers.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, fields
from hashlib import blake2b, sha256

import msgpack

from node.protocol import is_node_id

KEY_BYTES = 32
_SIGNATURE_BYTES = 16


class TicketError(Exception):
    """The ticket is not one of this group; the text says why, for the node's operator."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """`stamp`: when the node was first seated, as the registry orders it; 0 where it never was.

    The rest is there under policy `strict` only: the founder whose right it is, with its origin; which
    question of the node it answers; and the home of the ticket in whose place alone the node takes it.
    """

    group: str
    id: str
    stamp: int
    home: str = ""
    origin: int = 0
    incarnation: int = 0
    ask: int = 0
    replaces: str = ""
    replaces_origin: int = 0
    first: bool = False
    """Whether its life is short, until the node says that it has it on disk."""
    over_since: float = 0.0
    """Under policy `available`: when the node's margin began, as of `incarnation`; 0 where none runs."""

    @property
    def asked(self) -> tuple[int, int]:
        """The question that it answers."""
        return self.incarnation, self.ask


_FIELDS = tuple(field.name for field in fields(Ticket))


class Identity:
    """Makes and checks ids and tickets for one group."""

    def __init__(self, group: str, secret: str) -> None:
        self.group = group
        seed = secret.encode() if secret else b"no secret, group " + group.encode()
        self._id_key = blake2b(seed, person=b"kcm node id").digest()
        self._ticket_key = blake2b(seed, person=b"kcm ticket").digest()

    def id_of(self, key: bytes) -> str:
        """The id that belongs to a node's `key`: the same however often and wherever it asks."""
        digest = hmac.digest(self._id_key, key, sha256)
        # As `UUID(bytes=…, version=4)` does it, which takes longer than the HMAC.
        bits = int.from_bytes(digest[:16]) & ~(0xF000 << 64) & ~(0xC000 << 48) | 4 << 76 | 0x8000 << 48
        text = f"{bits:032x}"
        return f"krakend_{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def seal(self, ticket: Ticket) -> str:
        """The ticket in text form."""
        parts = [getattr(ticket, name) for name in _FIELDS]
        # Earlier versions know no margin in a ticket: it is left out if there is none.
        body: bytes = msgpack.packb(parts if ticket.over_since else parts[:-1])
        return urlsafe_b64encode(body + self._signature(body)).decode()

    def open(self, text: str) -> Ticket:
        """The ticket in `text`; raises `TicketError` where it is none, of another group, or forged."""
        try:
            sealed = urlsafe_b64decode(text)
            body, signature = sealed[:-_SIGNATURE_BYTES], sealed[-_SIGNATURE_BYTES:]
            ticket = _read(msgpack.unpackb(body))
        except (ValueError, msgpack.UnpackException, RecursionError):
            raise TicketError("the ticket cannot be read; remove the node's state to join anew") from None
        if ticket.group != self.group:
            raise TicketError(f"the ticket is of group {ticket.group!r}, this is group {self.group!r}")
        if not hmac.compare_digest(signature, self._signature(body)):
            raise TicketError(
                "the ticket was given under another group.secret; remove the node's state to join anew"
            )
        return ticket

    def _signature(self, body: bytes) -> bytes:
        return hmac.digest(self._ticket_key, body, sha256)[:_SIGNATURE_BYTES]


def _read(parts: object) -> Ticket:
    """Raises `ValueError` for anything else than the fields of a ticket."""
    match parts:
        case [str(group), str(id_), int(stamp)]:  # as it was before there was a policy `strict`
            ticket = Ticket(group, id_, stamp)
        case [
            str(group),
            str(id_),
            int(stamp),
            str(home),
            int(origin),
            int(incarnation),
            int(ask),
            str(replaces),
            int(replaces_origin),
            bool(first),
            *margin,
        ]:
            over_since = margin[0] if margin and isinstance(margin[0], float) else 0.0
            ticket = Ticket(
                group,
                id_,
                stamp,
                home,
                origin,
                incarnation,
                ask,
                replaces,
                replaces_origin,
                first,
                over_since,
            )
        case _:
            raise ValueError
    if not is_node_id(ticket.id) or not 0 <= ticket.stamp < 2**63:
        raise ValueError
    return ticket
