"""What a manager keeps over a restart, and what changes of it: plain values, without a disk.

`store.py` writes `Changes` into a file and reads `Saved` from it; the simulator keeps `Saved` itself.
"""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field

from gossip.memory import Memory
from gossip.messages import Address, NodeName
from gossip.pages import Page, Piece, page_of
from manager.stats import Reported
from manager.traffic import By, KeptSteps

INCARNATION = "incarnation"
"""Fact: the highest incarnation that this manager claimed."""
MEMBERS = "members"
"""Fact: where the other members were, as `Address` in text, one a line."""
RESTORED = "restored"
"""Fact: "1" where the file is a snapshot that was put in place, and older than what others know."""
FILE = "file/"
"""Facts by name of a setting: what the YAML file said at the last start, as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What one commit writes, whole or not at all."""

    pages: tuple[Piece, ...] = ()
    """Each continues the page that is there, or replaces it."""
    dropped: tuple[NodeName, ...] = ()
    """Whose pages are no longer kept."""
    former: Mapping[NodeName, Piece | None] = field(default_factory=dict)
    """Pages from before their owners' last starts; None: taken over, no longer kept."""
    facts: Mapping[str, str] = field(default_factory=dict)
    steps: Mapping[float, list[Reported]] = field(default_factory=dict)
    """What nodes reported, by the start of the step: each replaces what is there."""
    steps_from: float = 0.0
    """Older steps are dropped."""
    traffic: KeptSteps = field(default_factory=dict)
    """What gateways answered: each step replaces what is there."""
    traffic_from: Mapping[By, float] = field(default_factory=dict)
    """By what the figures are of: older steps are dropped."""
    contents: Mapping[str, bytes | None] = field(default_factory=dict)
    """Gateway configurations by SHA-256 in hex; None: no longer kept."""


@dataclass(slots=True)
class Saved:
    """All that was written, as the next start finds it."""

    pages: dict[NodeName, Page] = field(default_factory=dict)
    former: dict[NodeName, Page] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    steps: MutableMapping[float, list[Reported]] = field(default_factory=dict)
    traffic: MutableMapping[tuple[float, By], list[tuple[str, bytes]]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)

    def apply(self, changes: Changes) -> None:
        """What a commit does."""
        for piece in changes.pages:
            if piece.reset:
                self.pages[piece.owner] = page_of(piece)
                continue
            page = self.pages[piece.owner]
            for entry in piece.entries:
                page.store(entry)
            page.version = piece.upto
            page.collect(piece.floor)
        for owner in changes.dropped:
            self.pages.pop(owner, None)
        for owner, former in changes.former.items():
            if former is None:
                self.former.pop(owner, None)
            else:
                self.former[owner] = page_of(former)
        self.facts |= changes.facts
        self.steps.update(changes.steps)
        for at in [at for at in self.steps if at < changes.steps_from]:
            del self.steps[at]
        self.traffic.update(changes.traffic)
        for at, by in [(at, by) for at, by in self.traffic if at < changes.traffic_from.get(by, at)]:
            del self.traffic[at, by]
        for hash_, content in changes.contents.items():
            if content is None:
                self.contents.pop(hash_, None)
            else:
                self.contents[hash_] = content

    def memory(self, name: NodeName) -> Memory:
        """What of it is the group's, for the member `name`."""
        own = self.pages.get(name)
        incarnation = self.facts.get(INCARNATION, "0")
        return Memory(
            own=None if own is None else own.whole(),
            copies=tuple(page.whole() for owner, page in self.pages.items() if owner != name),
            former=tuple(page.whole() for page in self.former.values()),
            incarnation=int(incarnation),
            members=tuple(map(_address, self.facts.get(MEMBERS, "").split())),
        )


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return Address.of(host.strip("[]"), int(port))
