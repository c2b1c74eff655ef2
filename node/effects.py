"""What a session asks of its shell."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from node.life import Life
from node.protocol import Leases, Limits, NodeMessage

Source: TypeAlias = Literal["lease", "reuse_last", "safe", "free", "provisional"]
"""Where limits come from: a manager's share, the last one for a time while nobody renews it, what is safe
after that, a refusal, or, before any manager has let the node in, its bundle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """What a restart may not lose."""

    key: bytes
    id: str = ""
    ticket: str = ""
    life: Life | None = None
    """How long the ticket lives; None for ever."""
    incarnation: int = 0
    """That of the last hello; it is on disk before the hello leaves (rule I1)."""
    limits_version: int = 0
    limits: Limits = field(default_factory=dict)
    """The last share."""
    leases: Leases = field(default_factory=dict)
    in_force: Limits = field(default_factory=dict)
    """The most that the gateway may let through: the larger of what it works under and what it shall."""
    config_version: int = 0
    """The last configuration that it took from a manager and ran."""
    service: str = ""
    """`cordoned` or `drained` where an operator has taken it out of service."""
    order: tuple[int, str] = (0, "")
    """The newest order that it has taken."""
    free_limits: Limits = field(default_factory=dict)
    """What holds when the ticket's life is over, or no manager was heard for too long, as one last said."""
    degrade_after: float = 0.0
    """Seconds for which it keeps its place without any manager; 0 for ever, or for its ticket's life."""
    rejoin_window: float = 0.0
    """Seconds for which its seat is held when it has left, as a manager last said."""


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a connection to `address`; its name, if it is one, is to be resolved anew."""

    address: str


@dataclass(frozen=True, slots=True)
class LookUp:
    """Find what addresses `name`, a locator, stands for now; report them by `looked_up`."""

    name: str


@dataclass(frozen=True, slots=True)
class Send:
    """On the open connection."""

    message: NodeMessage


@dataclass(frozen=True, slots=True)
class Close:
    """The connection, or the attempt; report nothing of it any more."""

    code: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Save:
    """Durably, before any effect that follows; then call `saved`. If that fails, drop those and call
    `save_failed`."""

    state: NodeState


@dataclass(frozen=True, slots=True)
class ApplyLimits:
    """From now on this gateway may pass `limits`."""

    version: int
    source: Source
    limits: Limits


@dataclass(frozen=True, slots=True)
class Renewed:
    """The leases count from `seconds` ago; the next start of the agent wants to know when that was."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Stage:
    """Keep `content` and let the gateway check it; report by `staged`. `trial`: only check it."""

    sha256: str
    content: bytes
    trial: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """Take the gateway out of service, and give it what was staged under `sha256`; report by `changed`."""

    sha256: str


@dataclass(frozen=True, slots=True)
class Drain:
    """Wait until the gateway has had time to be rid of its traffic; report by `drained` with `serial`."""

    serial: int


@dataclass(frozen=True, slots=True)
class Restart:
    """Take the gateway out of service, and restart it; report by `restarted`."""


@dataclass(frozen=True, slots=True)
class TakeLimits:
    """The gateway may be restarted for its newest limits; report by `limits_applied` or `limits_failed`."""


@dataclass(frozen=True, slots=True)
class Log:
    """One line for the operator; `level` as in `logging`."""

    level: int
    text: str


Effect: TypeAlias = (
    Connect
    | LookUp
    | Send
    | Close
    | Save
    | ApplyLimits
    | Renewed
    | Stage
    | Change
    | Drain
    | Restart
    | TakeLimits
    | Log
)
