"""What members say to each other: frozen values, no bytes.

The names are memberlist's. `gossip.wire` turns them into bytes and back; the state machines
handle nothing else. Names are text decoded with `surrogateescape`, since peers may use any bytes.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple, TypeAlias

NodeName: TypeAlias = str
Incarnation: TypeAlias = int
"""Unsigned 32-bit; only its owner raises it."""


@lru_cache(maxsize=1024)
def _canonical(host: str) -> str:
    # Kept, for every packet asks it of its sender.
    ip = ip_address(host.partition("%")[0])
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return str(ip)


class Address(NamedTuple):
    """A gossip address: `host` is an IP in canonical text, IPv4 never as v4-mapped IPv6."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def of(cls, host: str, port: int) -> "Address":
        """The canonical form of an IP address in text; raises `ValueError` if it is none."""
        return cls(_canonical(host), port)


class Versions(NamedTuple):
    """memberlist's protocol range and the one spoken, then the same three of the application (Serf)."""

    protocol_min: int
    protocol_max: int
    protocol: int
    delegate_min: int
    delegate_max: int
    delegate: int


OUR_VERSIONS = Versions(1, 5, 2, 2, 5, 5)
"""What Debian's serf announces, and takes from others."""


class State(IntEnum):
    """The four states of a member; the numbers stand on the wire."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks `target` for an `Ack(number)`; `source` is where the sender wants the answer."""

    number: int
    target: NodeName
    source: Address | None = None
    source_name: NodeName = ""


@dataclass(frozen=True, slots=True)
class IndirectPing:
    """Asks the receiver to ping `target` at `address`, and to send a nack too if `nack`."""

    number: int
    target: NodeName
    address: Address
    nack: bool
    source: Address | None = None
    source_name: NodeName = ""


@dataclass(frozen=True, slots=True)
class Ack:
    """The answer to `Ping(number)`."""

    number: int
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Nack:
    """A helper had no answer from the target of `IndirectPing(number)`: the helper itself is well."""

    number: int


@dataclass(frozen=True, slots=True)
class Suspect:
    """`accuser` had no answer from `node`, last known at `incarnation`."""

    node: NodeName
    incarnation: Incarnation
    accuser: NodeName


@dataclass(frozen=True, slots=True)
class Alive:
    """`node` is in the group, at `address`, with `meta` (at most 512 bytes).

    `mapped`: the address is written as v4-mapped IPv6, as an agent does of its own that listens on 0.0.0.0.
    Agents compare addresses byte by byte, so it is repeated as it came.
    """

    node: NodeName
    incarnation: Incarnation
    address: Address
    meta: bytes = b""
    versions: Versions = OUR_VERSIONS
    mapped: bool = False


@dataclass(frozen=True, slots=True)
class Dead:
    """`node` is gone. Where `accuser` is the node itself, it left of its own will."""

    node: NodeName
    incarnation: Incarnation
    accuser: NodeName


@dataclass(frozen=True, slots=True)
class User:
    """An application's message, opaque to membership: Serf's, or one of our ledger's."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class MemberState:
    """One entry of a push/pull; `mapped` as in `Alive`."""

    name: NodeName
    address: Address
    meta: bytes
    incarnation: Incarnation
    state: State
    versions: Versions = OUR_VERSIONS
    mapped: bool = False


@dataclass(frozen=True, slots=True)
class PushPull:
    """A full exchange of the membership table over TCP, each way once."""

    join: bool
    members: tuple[MemberState, ...]
    user_state: bytes = b""


@dataclass(frozen=True, slots=True)
class StreamError:
    """An answer over TCP, for people: the request could not be opened."""

    text: str


Message: TypeAlias = Ping | IndirectPing | Ack | Nack | Suspect | Alive | Dead | User
"""What a packet carries."""

StreamMessage: TypeAlias = PushPull | Ping | Ack | User | StreamError
"""What a TCP connection carries: one each way."""


@dataclass(frozen=True, slots=True)
class LeaveIntent:
    """Serf: `node` is about to leave (or is made to go, by an operator). Ordered by Lamport time."""

    ltime: int
    node: NodeName
    prune: bool = False


@dataclass(frozen=True, slots=True)
class JoinIntent:
    """Serf: `node` is here to stay, which overrides an older leave intent."""

    ltime: int
    node: NodeName


@dataclass(frozen=True, slots=True)
class SerfState:
    """Serf's part of a push/pull: the Lamport times of the newest intents, and who has left."""

    ltime: int
    status_ltimes: tuple[tuple[NodeName, int], ...] = ()
    left: tuple[NodeName, ...] = ()
    event_ltime: int = 1
    query_ltime: int = 1


@dataclass(frozen=True, slots=True)
class SerfQuery:
    """A question to all members, or with `direct` to the receiver alone, who does not pass it on.

    The answer goes to `source` by UDP. `filtered`: it is for some members only.
    """

    ltime: int
    number: int
    source: Address
    name: str
    payload: bytes = field(default=b"", repr=False)
    """May hold a key."""
    direct: bool = False
    acked: bool = False
    """Whether everybody is to say that it came, as well as what it answers."""
    filtered: bool = False
    source_name: NodeName = ""


@dataclass(frozen=True, slots=True)
class SerfAnswer:
    """What `sender` says to the query of that time and number; `ack`: only that it came."""

    ltime: int
    number: int
    sender: NodeName
    payload: bytes = field(default=b"", repr=False)
    ack: bool = False


@dataclass(frozen=True, slots=True)
class SerfKeyAnswer:
    """What an agent says to a query about keys: for `list`, those that it has, in base64."""

    ok: bool
    text: str = ""
    keys: tuple[str, ...] = field(default=(), repr=False)
    primary: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class SerfOther:
    """Any other Serf message (event, acknowledgement, relay): known by its type, not ours to read."""

    kind: int


SerfMessage: TypeAlias = LeaveIntent | JoinIntent | SerfState | SerfQuery | SerfAnswer | SerfOther
