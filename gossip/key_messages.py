"""What managers say to each other about the keys of the group; `gossip.wire.keys` makes bytes of it."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from gossip.ledger_messages import Sender


class Verb(StrEnum):
    """What can be done with the keys of a group, as Serf names it."""

    LIST = "list"
    INSTALL = "install"
    USE = "use"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class KeyAsk:
    """Do `verb` with `key` (empty to list), and say so. Repeated until answered, under the same number.

    `to` is the process that is asked, and numbers rise: what was recorded and comes again is not carried out.
    """

    sender: Sender
    to: Sender
    number: int
    verb: Verb
    key: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class KeySays:
    """The answer to `number`: why it was not done, empty where it was, and the fingerprints of the keys that
    `sender` has now, the one in use first."""

    sender: Sender
    number: int
    why: str
    fingerprints: tuple[str, ...]


KeyMessage: TypeAlias = KeyAsk | KeySays
