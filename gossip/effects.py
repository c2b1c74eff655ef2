"""What the state machines of this room ask their shell to do, and what they tell their caller."""

from dataclasses import dataclass
from typing import TypeAlias

from gossip.key_messages import Verb
from gossip.messages import Address, Incarnation, Message, NodeName, State, StreamMessage
from gossip.pages import Mark
from gossip.wire.seal import Keyring


@dataclass(frozen=True, slots=True)
class Send:
    """Put these messages into one datagram, with a checksum where the receiver understands it."""

    address: Address
    messages: tuple[Message, ...]
    crc: bool = False


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Connect by TCP, send `message`, read one answer unless `answered` is False.

    Report the outcome by `stream_answered(token, answer | None, now, why)`: None where there was no answer.
    """

    token: int
    address: Address
    message: StreamMessage
    timeout: float
    answered: bool = True


@dataclass(frozen=True, slots=True)
class Resolve:
    """Look up `peer`, as configured, afresh; report by `resolved(peer, addresses)`, empty where it failed."""

    peer: str


@dataclass(frozen=True, slots=True)
class SaveKeyring:
    """Write `keyring` to disk, then seal and open by it.

    Report by `keyring_saved(why)`: why it failed, or empty.
    """

    keyring: Keyring


@dataclass(frozen=True, slots=True)
class KeyringChanged:
    """The keyring on disk and in force has another content, by the word of `by`."""

    verb: Verb
    fingerprint: str
    by: NodeName


@dataclass(frozen=True, slots=True)
class KeysDone:
    """What an operator wanted done with the keys of the group is over.

    `problem`, empty where it is done, says what is not, and what to do. `found` is what each member has: the
    fingerprints of its keys, the one in use first; `missing` says why that is not known of the others.
    """

    verb: Verb
    problem: str
    found: tuple[tuple[NodeName, tuple[str, ...]], ...]
    missing: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ReachedMember:
    """After how many seconds a member answered by UDP and by TCP; None where it did not.

    `tcp_why`: why not by TCP, empty where it did. `state` is what we held of it when we asked.
    """

    name: NodeName
    address: Address
    state: State
    udp: float | None
    tcp: float | None
    tcp_why: str


@dataclass(frozen=True, slots=True)
class Reached:
    """Every member was asked for an answer, but for `left_out` of them."""

    members: tuple[ReachedMember, ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class JoinTried:
    """What an operator wanted joined: `members` that whoever is there told us of, or why there are none."""

    token: int
    members: tuple[NodeName, ...]
    why: str


@dataclass(frozen=True, slots=True)
class MemberChanged:
    """What we hold of `name` is now this; `before` is None for a newcomer."""

    name: NodeName
    before: State | None
    after: State
    why: str


@dataclass(frozen=True, slots=True)
class NameConflict:
    """`name` is claimed from a second address. `ours`: it is our name, the other lives, and we came later."""

    name: NodeName
    address: Address
    ours: bool


@dataclass(frozen=True, slots=True)
class CannotRefute:
    """A member that we asked holds us for gone at `incarnation`, which we cannot outbid. Said once."""

    incarnation: Incarnation


@dataclass(frozen=True, slots=True)
class OtherGroup:
    """`name` at `address` is a manager of another group, `group`: it is not let in. Said once for each."""

    name: NodeName
    address: Address
    group: str


@dataclass(frozen=True, slots=True)
class PeerFailed:
    """A configured peer could not be joined, where no member is known to be gone; said once until it can."""

    peer: str
    why: str


@dataclass(frozen=True, slots=True)
class RoundaboutOnly:
    """`name` answers our pings only `by_tcp`, or too late, or by way of others. Said once until it does."""

    name: NodeName
    address: Address
    by_tcp: bool


@dataclass(frozen=True, slots=True)
class StoodAside:
    """The others hear too little of us, so we let ourselves be given up. `CameBack` follows."""


@dataclass(frozen=True, slots=True)
class CameBack:
    """The others hear us again, and we say that we are there."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Something that a peer sent was dropped: to be counted under `reason`."""

    reason: str


@dataclass(frozen=True, slots=True)
class PageChanged:
    """Our copy of `owner`'s page, or of its former one, has news in `keys`."""

    owner: NodeName
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FormerPage:
    """What we had written before our last start, as our disk or a member kept it: key → value.

    `marks`: how far it is, and how far those earlier ones are that it had taken over. Once it is taken over
    itself, say so by `ledger.note_succession(marks)`.
    """

    marks: tuple[Mark, ...]
    entries: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Departed:
    """Our leave has been told; the shell may close its sockets."""


Effect: TypeAlias = Send | OpenStream | Resolve | SaveKeyring
Event: TypeAlias = (
    MemberChanged
    | NameConflict
    | CannotRefute
    | OtherGroup
    | PeerFailed
    | RoundaboutOnly
    | StoodAside
    | CameBack
    | Rejected
    | PageChanged
    | FormerPage
    | Departed
    | KeyringChanged
    | KeysDone
    | Reached
    | JoinTried
)
Output: TypeAlias = Effect | Event
