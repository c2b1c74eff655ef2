"""What the manager's core asks its shell to do, beside the effects of gossip."""

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from gossip.effects import Departed, Effect, JoinTried, KeysDone, Reached
from manager.disk.saved import Changes
from node.protocol import ManagerMessage


class Level(IntEnum):
    """Severity of a log line; the numbers are those of the standard library."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


@dataclass(frozen=True, slots=True)
class Persist:
    """Write `changes` to disk, whole or not at all, before any effect that follows is carried out (L4)."""

    changes: Changes


@dataclass(frozen=True, slots=True)
class ToNode:
    """Send `message` on connection `conn`."""

    conn: int
    message: ManagerMessage


@dataclass(frozen=True, slots=True)
class CloseNode:
    """Close connection `conn`, after what was sent before; `node_closed` need not be called for it."""

    conn: int
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Log:
    """A line for the operator."""

    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class Count:
    """One more under `rejected{where, reason}`."""

    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class AskIssuer:
    """Get the signed subscription at `url`; report by `issuer_answered(text)` what came, if anything did."""

    url: str


@dataclass(frozen=True, slots=True)
class FetchContent:
    """Get the configuration of this hash from any other manager; report by `content_fetched`."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class TrialDone:
    """The node `node` has tried a configuration: `error` is empty where its gateway would run with it."""

    number: int
    node: str
    error: str


@dataclass(frozen=True, slots=True)
class Stop:
    """The process must end with `exit_code`; `text` says why and what to do."""

    exit_code: int
    text: str


ManagerEffect: TypeAlias = (
    Persist
    | Effect
    | Departed
    | KeysDone
    | Reached
    | JoinTried
    | ToNode
    | CloseNode
    | Log
    | Count
    | AskIssuer
    | FetchContent
    | TrialDone
    | Stop
)
