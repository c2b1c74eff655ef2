"""What the log says of members, and no more of it than one can read.

Without a key whoever reaches the gossip port can claim to be thousands, so strangers can cause these lines.
"""

from collections import Counter
from math import inf
from typing import TypeAlias

from gossip.effects import (
    CameBack,
    CannotRefute,
    MemberChanged,
    NameConflict,
    OtherGroup,
    PeerFailed,
    RoundaboutOnly,
    StoodAside,
)
from gossip.messages import State
from manager.effects import Level
from manager.outbox import Outbox

LINES_MAX = 256
"""Of each level within `_PERIOD`: more than a hundred members that restart together cause."""
_PERIOD = 60.0

MemberEvent: TypeAlias = (
    MemberChanged
    | NameConflict
    | OtherGroup
    | PeerFailed
    | CannotRefute
    | RoundaboutOnly
    | StoodAside
    | CameBack
)


class MemberLog:
    """Says each event in one line, until there are too many."""

    def __init__(self, outbox: Outbox, group_name: str) -> None:
        self._outbox = outbox
        self._group_name = group_name
        self._lines: Counter[Level] = Counter()
        self._period_ends = -inf

    def tell(self, event: MemberEvent, now: float) -> None:
        """Write its line."""
        level, text = self._line(event)
        if level is Level.DEBUG:
            self._outbox.log(level, text)
            return
        if now >= self._period_ends:
            self._begin_period(now)
        self._lines[level] += 1
        if self._lines[level] <= LINES_MAX:
            self._outbox.log(level, text)
        elif self._lines[level] == LINES_MAX + 1:
            self._outbox.log(
                Level.WARNING,
                f"further lines about members are left out for up to {_PERIOD:g} s: `kcm members` says who "
                "is there; without gossip.key any host nearby can cause such lines",
            )

    def _begin_period(self, now: float) -> None:
        left_out = sum(max(0, lines - LINES_MAX) for lines in self._lines.values())
        if left_out:
            self._outbox.log(Level.WARNING, f"{left_out} lines about members were left out")
        self._lines.clear()
        self._period_ends = now + _PERIOD

    def _line(self, event: MemberEvent) -> tuple[Level, str]:
        match event:
            case MemberChanged(name, before, after, why):
                level = Level.DEBUG if State.SUSPECT in (before, after) else Level.INFO
                if after is State.DEAD:
                    level = Level.WARNING
                if after is State.LEFT:
                    return level, f"member {name} has left" + ("" if why == "left" else f": {why}")
                return level, f"member {name} is {after.name.lower()}: {why}"
            case NameConflict(name, address):
                return Level.ERROR, f"two members are named {name}, one of them at {address}: rename one"
            case OtherGroup(name, address, group):
                return Level.WARNING, (
                    f"{name} at {address} is a manager of group {group!r}, this is group "
                    f"{self._group_name!r}: take it off `peers`, let no Serf agent join both groups, or give "
                    "both the same group.name"
                )
            case PeerFailed(peer, why):
                return (
                    Level.WARNING,
                    f"cannot join {peer}: {why}; trying on (peers are gossip addresses)",
                )
            case CannotRefute(incarnation):
                return Level.ERROR, (
                    f"a member takes us for gone at incarnation {incarnation}, which no clock has: "
                    "restart this manager under another --name, or the members that list it so"
                )
            case RoundaboutOnly(name, address, by_tcp):
                how = "TCP" if by_tcp else "way of others"
                return Level.WARNING, (
                    f"{name} at {address} does not answer our pings in time, only by {how}: let UDP and TCP "
                    "to the gossip port through, both ways, unless its host is overloaded; `kcm doctor` says "
                    "between whom they fail"
                )
            case StoodAside():
                return Level.ERROR, (
                    "the other managers hear too little of this one: most of what it sends them is lost. "
                    "They hold it for dead until its pings are answered again: see to the network of this "
                    "host; `kcm doctor` says between whom it fails"
                )
            case CameBack():
                return Level.WARNING, "the other managers hear this one again"
