"""How far a session is: values only."""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Waiting:
    address: str
    until: float


@dataclass(frozen=True, slots=True)
class Connecting:
    """Or looking up a name, where `address` is one."""

    address: str


@dataclass(frozen=True, slots=True)
class Greeting:
    """Hello is said and not yet answered. `addresses`: the one dialled, then where it led to."""

    addresses: tuple[str, ...]
    until: float
    said: float
    """When the last hello left."""
    hellos: int = 1


@dataclass(frozen=True, slots=True)
class Joined:
    addresses: tuple[str, ...]
    manager: str
    since: float


@dataclass(frozen=True, slots=True)
class Done:
    pass


Phase: TypeAlias = Waiting | Connecting | Greeting | Joined | Done
