"""What stands on a manager's page, and how it is written there.

| key | value |
| --- | --- |
| `node/<id>` | `NodeRecord`: the state of a node at the incarnation whose hello this manager got |
| `clone/<id>` | `CloneNote`: the session of that incarnation is a second process of the id (rule I3) |
| `sees` | names of the managers that this one sees alive (rule I7) |
| `setting/<name>` | `Setting`: this manager's YAML value, or its copy of the winner (rule L7) |
| `held/<limit>` | `Holding` in `limits/budgets.py`: what its nodes may have in force of a limit together |
| `runs/<id>` | `Runs`: the configuration of a node's gateway, as the node says it to this manager |
| `turn/<id>` | `Turn`: the node may be out of service, in one session, by a plan (rule T1) |
| `order/<id>` | `Order` in `rollout/orders.py`: what an operator wants of the node, until it has taken that |
| `want/<id>` | `Want` in `rollout/turns.py`: a turn that is wanted of a founder |
| `restart/<id>` | `Turn`: the node may be out of service, in one session, by an order to restart it |
| `anew/<id>` | `Turn`: the node may be out of service, in one session, to take limits: question `serial` |
| `tally/<kind>` | `Tally` in `rollout/tally.py`: what its nodes answered since the present rollout began |
| `holds` | beginnings of the hashes of the configurations that this manager has |
| `forgotten/<owner>` | that owner's page goes, up to a mark (`gossip/page_notes.py`) |
| `gone` | present where the manager has left for good |

Values are MessagePack arrays in the order of the fields; what cannot be read is ignored and counted, since
only a member that forges can have written it.
"""

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from manager.packing import pack, unpack
from node.codec import config_state_packed, read_config_state
from node.protocol import ConfigState, is_node_id

NODE = "node/"
CLONE = "clone/"
SEES = "sees"
SETTING = "setting/"
GONE = "gone"
RUNS = "runs/"
TURN = "turn/"
RESTART = "restart/"
ANEW = "anew/"
HOLDS = "holds"


SessionKey: TypeAlias = tuple[int, int]
"""(incarnation, nonce) of the hello that began a session: of a node's sessions the newest has the largest."""
Mark: TypeAlias = tuple[int, str]
"""(serial, writer) of what an operator decided: the largest holds."""

CONNECTION_ENDED = "connection ended"
"""Why a node is removed that did not say `leave`: it may be about to come back by another connection."""


def kind_of(gateway: str) -> str:
    """The kind in what a node says of its gateway: `nginx` of `nginx: running`."""
    return gateway.partition(":")[0]


class NodeState(StrEnum):
    """The states of a record; the first five are shown to people, `claimed` and `moved` are not."""

    ACTIVE = "active"
    UNREACHABLE = "unreachable"
    DOWN = "down"
    REMOVED = "removed"
    REFUSED = "refused"
    CLAIMED = "claimed"
    """A newcomer waits until every live manager has answered (rule A1)."""
    MOVED = "moved"
    """Served elsewhere at a higher incarnation; kept until that record is gone (rule I6)."""


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """Ordered by (incarnation, nonce) over all pages; `since` is in seconds since 1970.

    `stamp` orders the nodes by when they were first seated: milliseconds since 1970, but always above every
    stamp that its writer had seen. `seat` says whether it counts against the subscription.
    """

    state: NodeState
    incarnation: int
    nonce: int
    stamp: int
    seat: bool
    over_limit: bool
    since: float
    why: str
    name: str
    address: str
    gateway: str
    over_since: float = 0.0
    """When its margin began, which runs on through moves; 0 where it has not been over the limit."""
    weight: float = 1.0
    labels: dict[str, str] = field(default_factory=dict)
    ephemeral: bool = False
    token: str = ""
    """The name of the join token by which it came in."""
    instead: str = ""
    """The id of the lost node in whose place it was let in beyond the cap (`manager/seats/surge.py`)."""
    fingerprint: str = ""
    """What its installation is known by; kept only where there is a surge, which alone asks for it."""

    @property
    def session(self) -> SessionKey:
        """Which of two records of one node is the newer (rule I1)."""
        return self.incarnation, self.nonce

    def pack(self) -> bytes:
        # Field by field: `astuple` copies what is in them, at ten times the price.
        parts = [
            self.state, self.incarnation, self.nonce, self.stamp, self.seat, self.over_limit, self.since,
            self.why, self.name, self.address, self.gateway, self.over_since, self.weight, self.labels,
            self.ephemeral, self.token,
        ]  # fmt: skip
        # Managers of before know neither of these: they are shown none where there is none.
        if self.fingerprint:
            return pack([*parts, self.instead, self.fingerprint])
        return pack([*parts, self.instead] if self.instead else parts)

    @classmethod
    def unpack(cls, value: bytes) -> "NodeRecord":
        """Raises `ValueError` for anything else than a packed record."""
        parts = unpack(value)
        # Not by `match`, which takes five times as long: every record of every manager comes by here.
        if not isinstance(parts, list) or [*map(type, parts[:16])] != _RECORD_TYPES or not parts[12] > 0:
            raise ValueError("not a node record")
        instead = parts[16] if len(parts) > 16 and is_node_id(str(parts[16])) else ""
        fingerprint = parts[17] if len(parts) > 17 and isinstance(parts[17], str) else ""
        fields: list[Any] = [NodeState(parts[0]), *parts[1:16], instead, fingerprint]
        return cls(*fields)


_RECORD_TYPES = [
    str, int, int, int, bool, bool, float, str, str, str, str, float, float, dict, bool, str,
]  # fmt: skip
"""What a packed record is made of."""


@dataclass(frozen=True, slots=True)
class CloneNote:
    """The session that said this hello is not the only process of its id."""

    incarnation: int
    nonce: int

    def pack(self) -> bytes:
        return pack([self.incarnation, self.nonce])

    @classmethod
    def unpack(cls, value: bytes) -> "CloneNote":
        match unpack(value):
            case [int(incarnation), int(nonce), *_]:
                return cls(incarnation, nonce)
            case _:
                raise ValueError("not a clone note")


@dataclass(frozen=True, slots=True)
class Runs:
    """What a node of `kind` said in its session (incarnation, nonce) about its configuration."""

    kind: str
    incarnation: int
    nonce: int
    config: ConfigState

    @property
    def session(self) -> SessionKey:
        return self.incarnation, self.nonce

    def pack(self) -> bytes:
        return pack([self.kind, self.incarnation, self.nonce, config_state_packed(self.config)])

    @classmethod
    def unpack(cls, value: bytes) -> "Runs":
        match unpack(value):
            case [str(kind), int(incarnation), int(nonce), list(state), *_]:
                return cls(kind, incarnation, nonce, read_config_state(state))
            case _:
                raise ValueError("not what a node runs")


@dataclass(frozen=True, slots=True)
class Turn:
    """By the plan, or the order, (serial, writer), the node may go out of service in that session."""

    serial: int
    writer: str
    session: SessionKey

    @property
    def mark(self) -> Mark:
        return self.serial, self.writer

    def pack(self) -> bytes:
        return pack([self.serial, self.writer, *self.session])

    @classmethod
    def unpack(cls, value: bytes) -> "Turn":
        match unpack(value):
            case [int(serial), str(writer), int(incarnation), int(nonce), *_]:
                return cls(serial, writer, (incarnation, nonce))
            case _:
                raise ValueError("not a turn")


@dataclass(frozen=True, slots=True)
class Setting:
    """A value that an operator gave; serial 0 is a YAML file's. `value` is anything that JSON has."""

    serial: int
    writer: str
    value: Any

    @property
    def mark(self) -> Mark:
        return self.serial, self.writer

    @property
    def order(self) -> tuple[int, str, str]:
        """Which of two prevails: the higher serial; of YAML values the larger; then the writer's name."""
        return self.serial, "" if self.serial else _sortable(self.value), self.writer

    def pack(self) -> bytes:
        return pack([self.serial, self.writer, json.dumps(self.value, sort_keys=True)])

    @classmethod
    def unpack(cls, value: bytes) -> "Setting":
        match unpack(value):
            case [int(serial), str(writer), str(text), *_] if serial >= 0:
                return cls(serial, writer, json.loads(text))
            case _:
                raise ValueError("not a setting")


def _sortable(value: object) -> str:
    """Numbers as numbers, everything else by its text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:030.6f}"
    return json.dumps(value, sort_keys=True)


def pack_names(names: list[str]) -> bytes:
    return pack(names)


def unpack_names(value: bytes) -> list[str]:
    names = unpack(value)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("not a list of names")
    return names
