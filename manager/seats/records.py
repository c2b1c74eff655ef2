"""What the policy `strict` puts on pages, beside the records of nodes. Rules are named as in `STATE.md`.

| key | on whose page | value |
| --- | --- | --- |
| `founder` | each founder's | `rights.Account`: its origin, what it may spend and has spent |
| `met/<founder>` | each founder's | the origin under which it met that founder (R1) |
| `expelled/<founder>` | every manager's | `Expelled`: an operator vouches that it runs nowhere (R3) |
| `seat/<id>` | the home's | `Seat` |
| `ask/<id>` | the serving manager's | `Ask`: it wants a ticket for that node |
| `no/<id>` | the asked founder's | `No`: it gives none |
| `ended/<home>/<id>` | any manager's | `Ended`: the node's tickets of that home are no more (S4, S5) |

Values are MessagePack arrays in the order of the fields.
"""

from dataclasses import astuple, dataclass, fields
from functools import cache, lru_cache
from typing import Any, ClassVar, Protocol, TypeAlias, TypeVar

from manager import packing

FOUNDER = "founder"
MET = "met/"
EXPELLED = "expelled/"
SEAT = "seat/"
ASK = "ask/"
NO = "no/"
ENDED = "ended/"

Asked: TypeAlias = tuple[int, int]
"""A question of a node: its incarnation, then how many it had asked in that session. Rises, never repeats."""

FIRST_LIFE = 60.0
"""Life in seconds of a ticket until its node has said that it is on its disk (S1)."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A right that its home has spent on a node, and the newest ticket that the home gave for it."""

    incarnation: int
    ask: int
    """Of the node's question that the ticket answers."""
    life: float
    """Seconds that it lives, from when the node asked."""
    longest: float
    """No ticket that may be around lives longer from when this was written; without the stretch (S2)."""
    stamp: int
    pool: str = ""
    """The expelled founder of whose share the right is, "" for the home's own."""
    over_since: float = 0.0
    """Beyond the total since then, seconds since 1970; 0: within (S7)."""
    ending: bool = False
    """Its node has left: there is no ticket that outlives `longest`."""

    @property
    def asked(self) -> Asked:
        return self.incarnation, self.ask


@dataclass(frozen=True, slots=True)
class Ask:
    """The question of a node, passed on to `founder`."""

    founder: str
    incarnation: int
    ask: int
    stamp: int
    ephemeral: bool
    has_incarnation: int
    has_ask: int
    """The question that brought the node's ticket of this very founder; 0 and 0 where it has none …"""
    living: bool
    """… and whether that lives."""
    replaces: str
    """The home of a living ticket that the node would give up for this one, "" for none."""

    @property
    def asked(self) -> Asked:
        return self.incarnation, self.ask


@dataclass(frozen=True, slots=True)
class No:
    """The founder gives no right to that question."""

    incarnation: int
    ask: int

    @property
    def asked(self) -> Asked:
        return self.incarnation, self.ask


@dataclass(frozen=True, slots=True)
class Ended:
    """The node has no ticket of that home and `origin` for any question up to this one, nor will it take one.

    With a `window` it had one, cut to that many seconds before anybody heard of this.
    """

    origin: int
    incarnation: int
    ask: int
    window: float

    @property
    def asked(self) -> Asked:
        return self.incarnation, self.ask


@dataclass(frozen=True, slots=True)
class Expelled:
    """An operator's word, given to manager `by` at `at`, seconds since 1970."""

    by: str
    at: float


@dataclass(frozen=True, slots=True)
class Met:
    """The founder of the key was met at this origin."""

    origin: int


class _Record(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


One = TypeVar("One", bound=_Record)
_SHAPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float, int),
    "str": (str,),
    "bool": (bool,),
    "tuple[str, ...]": (list,),
}


def pack(record: _Record) -> bytes:
    """Any record of this module, or `Account`."""
    values = astuple(record)
    for default in _added(type(record)):
        if values[-1] != default:
            break
        values = values[:-1]
    return packing.pack(values)


def unpack(kind: type[One], value: bytes | None) -> One | None:
    """The record of that `kind` in `value`; None for everything else, which only a forger writes."""
    return None if value is None else _read(kind, value)


@lru_cache(maxsize=4096)
def _read(kind: type[One], value: bytes) -> One | None:
    # Records are frozen, and one value is asked for again and again.
    try:
        parts = packing.unpack(value)
    except ValueError:
        return None
    wanted, names = _shape(kind)
    if not isinstance(parts, list) or len(parts) < len(wanted) - len(_added(kind)):
        return None
    # A later version may have added others at the end, and an earlier one lacks what was added since.
    parts = parts[: len(wanted)]
    for part, types in zip(parts, wanted, strict=False):
        if not isinstance(part, types) or (isinstance(part, bool) and bool not in types):
            return None
        if isinstance(part, list) and not all(isinstance(name, str) for name in part):
            return None
    values = [tuple(part) if isinstance(part, list) else part for part in parts]
    return kind(**dict(zip(names, values, strict=False)))


@cache
def _shape(kind: type[_Record]) -> tuple[tuple[tuple[type, ...], ...], tuple[str, ...]]:
    """What may stand in each place of a packed record of that kind, and the names of its fields."""
    found = fields(kind)
    return tuple(_SHAPES[_kind_of(field.type)] for field in found), tuple(field.name for field in found)


@cache
def _added(kind: type[_Record]) -> tuple[Any, ...]:
    """The defaults of what a later version added to that kind, from the last on."""
    return tuple(field.default for field in reversed(fields(kind)) if field.metadata.get("added"))


def _kind_of(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def ended_key(home: str, id_: str) -> str:
    """Where `Ended` stands; names of managers have no slash."""
    return f"{ENDED}{home}/{id_}"


def of_ended_key(key: str) -> tuple[str, str]:
    """The home and the id of such a key."""
    home, _, id_ = key[len(ENDED) :].rpartition("/")
    return home, id_
