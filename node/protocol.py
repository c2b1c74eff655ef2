"""What a node and a manager say to each other; as bytes: `node.codec`.

One WebSocket from the node to the manager's seed port, `GET /v1/node`, subprotocol
`krakend-node.v1`, binary frames of MessagePack: a two-element array `[kind, {field: value}]`.
Unknown fields are ignored and missing ones take their default, so that neighbours of one
protocol version can differ; an unknown kind is ignored by the caller (`decode` gives None).
Durations are seconds. Everything has a bound, which the decoder enforces.
"""

import re
from dataclasses import dataclass, field
from typing import Literal, NewType, TypeAlias

PATH = "/v1/node"
SUBPROTOCOL = "krakend-node.v1"
PROTOCOL_MIN, PROTOCOL_MAX = 1, 1
FRAME_BYTES_MAX = 64 * 1024
TEXT_MAX = 1024
ITEMS_MAX = 256
LABELS_MAX = 16
SERVED_MAX = 64
"""Endpoints and backends of which one node tells."""
SERVED_NAME_MAX = 100
OTHER = "other"
"""The endpoint, and the backend, that stands for all beyond the bound."""
CHUNK_BYTES_MAX = 32 * 1024
"""Of a configuration, in one frame."""

CLOSE_GOING = 1001
"""The manager goes: come back by another one, at once, it counts for nothing."""
CLOSE_PROTOCOL = 1002
"""The other end broke the protocol; the reason says how."""
CLOSE_MOVING = 4001
"""The node moves to another manager: changes no state (rule I5)."""
CLOSE_REFUSED = 4003
"""Follows a `Refused`."""
CLOSE_SILENT = 4008
"""The node was silent for so long that it counts as down: it may say hello again."""
CLOSE_SUPERSEDED = 4009
"""Another session of this node has taken over."""

NODE_ID = re.compile(r"krakend_[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def is_node_id(text: str) -> bool:
    """Whether `text` has the form `krakend_<uuid4>`."""
    return NODE_ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Limit:
    """`max_rate` requests per `every` seconds; of each client's own where `per_client`."""

    max_rate: float
    every: float = 1.0
    per_client: bool = False


Limits: TypeAlias = dict[str, Limit]
Data = NewType("Data", bytes)
"""At most `CHUNK_BYTES_MAX` bytes of a configuration."""


@dataclass(frozen=True, slots=True)
class ConfigState:
    """Where a node stands with its gateway's configuration, and with what operators want of it.

    SHA-256 in hex, empty where there is nothing.
    """

    managed: bool = False
    """Whether its agent can replace the configuration at all."""
    ready: bool = True
    """Whether its gateway may get traffic."""
    changing: bool = False
    """Whether it is out because of a `Permit`, or a `MayRestart`."""
    version: int = 0
    """The last one that it took from a manager and ran; 0 for none."""
    running: str = ""
    on_disk: str = ""
    staged: int = 0
    """The version that it has fetched and found to be valid."""
    failed: int = 0
    """The version that was not valid, or did not run; what was there before is back."""
    note: str = ""
    """What was wrong with it."""
    plan_serial: int = 0
    plan_writer: str = ""
    """The newest plan that it knows."""
    service: str = ""
    """Why it gets no traffic by an operator's order: `cordoned`, `draining`, `drained` or `restarting`."""
    order_serial: int = 0
    order_writer: str = ""
    """The newest order that it has carried out, or begun where that takes no turn."""
    order_note: str = ""
    """What was wrong with it."""
    restart_asked: int = 0
    """The number of its question for a turn to restart for other limits; 0 where it has none …"""
    restart_taken: int = 0
    """… and of the last one whose turn lets it out no more."""


NO_CONFIG = ConfigState()


@dataclass(frozen=True, slots=True)
class Lease:
    """For how long a share may be used when nobody renews it, counted from when the report left that was
    answered last: `duration`, then `reuse_last` seconds more, then no more than `safe`; None: it stays.
    """

    duration: float = 20.0
    reuse_last: float = 60.0
    safe: Limit | None = None

    @property
    def lasts(self) -> float:
        """Seconds after which only `safe` is in force."""
        return self.duration + self.reuse_last


Leases: TypeAlias = dict[str, Lease]


ServedKind: TypeAlias = Literal["endpoint", "backend"]


@dataclass(frozen=True, slots=True)
class Served:
    """What a gateway answered at one endpoint, or was answered by one backend, since its agent started."""

    kind: ServedKind
    name: str
    requests: int
    errors: int
    """Those that failed: 5xx, or no answer."""
    seconds: float
    """All those that were timed, together."""
    buckets: tuple[int, ...] = ()
    """Of the timed ones, how many were in which bucket of `node.latency`: bucket, count, bucket, count …"""

    @property
    def key(self) -> tuple[ServedKind, str]:
        """What tells it from the node's others."""
        return self.kind, self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The node's first word; its incarnation is on its disk before it is sent (rule I1)."""

    protocol_min: int = PROTOCOL_MIN
    protocol_max: int = PROTOCOL_MAX
    key: bytes
    """32 random bytes from which the group derives the id (rule I2)."""
    id: str = ""
    ticket: str = ""
    incarnation: int
    nonce: int
    """Drawn at each start of the agent: 63 random bits. Orders two sessions of one incarnation."""
    name: str = ""
    address: str = ""
    agent_version: str = ""
    gateway: str = ""
    """The gateway's kind and state, for people: `command: running`."""
    token: str = ""
    """What lets a newcomer in, where the managers want one."""
    limits_version: int = 0
    """Of the last limits that it was sent: the next ones get a higher version."""
    in_force: Limits = field(default_factory=dict)
    """The most that its gateway may let through at this moment, by limit."""
    weight: float = 1.0
    labels: dict[str, str] = field(default_factory=dict)
    ephemeral: bool = False
    config: ConfigState = NO_CONFIG
    left: float = 0.0
    """For how many seconds its ticket lives by its own clocks; 0 where that is over, or has no end."""
    fingerprint: str = ""
    """The same for whoever comes in the place of this node with a new disk (`node.fingerprint`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """The node is in; `incarnation` is that of the hello which it answers.

    Where `ticket` is not the one that it has, it lives for `life` seconds from that hello on, 0 for ever.
    """

    id: str
    ticket: str
    incarnation: int
    manager: str
    managers: tuple[str, ...] = ()
    """Seed addresses `host:port` of all managers, to fall back on."""
    heartbeat: float = 5.0
    limits_version: int = 0
    limits: Limits = field(default_factory=dict)
    leases: Leases = field(default_factory=dict)
    limits_follow: bool = False
    """Whether `limits` says nothing yet: what is in force stays so until a `LimitsPush` comes."""
    free_limits: Limits = field(default_factory=dict)
    over_limit: bool = False
    life: float = 0.0
    rejoin_window: float = 60.0
    """Whoever leaves cuts its ticket to so many seconds, where that has an end."""
    degrade_after: float = 0.0
    """After so many seconds without any manager the node falls to its free limits; 0 for never."""
    gives_turns: bool = False
    """Whether a restart for other limits waits for a `MayRestart`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """It is not in.

    `code`: `full`, `out_of_reach` (a right to run it), `starting` (ask another manager), `token`, `protocol`,
    `foreign`, `invalid`.
    """

    code: str
    sentence: str
    retry_after: float = 15.0
    managers: tuple[str, ...] = ()
    free_limits: Limits = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """A higher incarnation of this node is known: go above it and say hello again (rule I4)."""

    incarnation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone:
    """Another process of this id lives: draw a new key, and say hello as a newcomer (rule I3)."""

    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Are you still there? Answer with `Here` of the same number at once (rule I3)."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """The answer to `Ask`."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Heartbeat and counters: cumulative per (id, nonce), so that a lost one loses nothing (rule I8)."""

    number: int
    gateway: str = ""
    limits_version: int = 0
    """Of the limits that its gateway works under; told is not applied."""
    config: ConfigState = NO_CONFIG
    counters: dict[str, float] = field(default_factory=dict)
    served: tuple[Served, ...] = ()
    """What has changed since the last report of this session; the first one says all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renew:
    """This ticket is on the node's disk, and lives for `left` seconds by its clocks: a newer one may come.

    `number` counts the node's questions in this session; the hello was number 0.
    """

    number: int
    ticket: str
    left: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTicket:
    """The answer to `Renew(number)`: it lives for `life` seconds from when that was sent."""

    number: int
    ticket: str
    life: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Void:
    """The ticket in the hello of that incarnation is none: strike it, and say hello as a newcomer."""

    incarnation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """Send the configuration of this hash from byte `offset` on."""

    sha256: str
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """The answer to `Try` of this number: `error` is empty where the gateway would run with it."""

    number: int
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """The manager has `Report(number)`: it is alive, and the leases are renewed."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsPush:
    """The node's share from now on. `version` rises with every change."""

    version: int
    limits: Limits
    leases: Leases = field(default_factory=dict)
    over_limit: bool = False
    ticket: str = ""
    """In the place of the one that there is, unless that has an end; empty: nothing has changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Managers:
    """The seed addresses to fall back on have changed."""

    managers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """Please move to the first of `managers`; `going` says that this manager is about to stop."""

    managers: tuple[str, ...]
    going: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """The node is stopped by its operator: it is removed at once."""

    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The configuration that this node shall come to run, by the plan (serial, writer): fetch and check it.

    The gateway is not to be touched before a `Permit` of the same plan.
    """

    serial: int
    writer: str
    version: int
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """The node may go out of service to change, now, in this session, by this plan (rule T1)."""

    serial: int
    writer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MayRestart:
    """The answer to question `number`: the node may go out of service for other limits, in this session."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What an operator wants of this node: `drain`, `cordon`, `uncordon`, or `restart`, to begin now.

    Nothing is done for one that is not newer, by (serial, writer), than the last that it took.
    """

    serial: int
    writer: str
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """The answer to `Fetch`; without `data` where the manager has not got it yet: ask again later."""

    sha256: str
    offset: int
    data: Data


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """Would the gateway run with the configuration of this hash? Answer with `Tried` of this number."""

    number: int
    sha256: str
    size: int


ConfigMessage: TypeAlias = Wanted | Permit | Chunk | Try
NodeMessage: TypeAlias = Hello | Here | Renew | Report | Fetch | Tried | Leave
ManagerMessage: TypeAlias = (
    Welcome
    | Refused
    | Behind
    | Clone
    | Ask
    | NewTicket
    | Void
    | Reported
    | LimitsPush
    | Managers
    | Redirect
    | MayRestart
    | Order
    | ConfigMessage
)
AnyMessage: TypeAlias = NodeMessage | ManagerMessage
