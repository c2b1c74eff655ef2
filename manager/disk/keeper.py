"""What of a manager is not on disk yet. Rules are named as in `STATE.md` § What is kept.

The disk is one more reader of every page, with a digest of its own. Our own page and incarnation are due in
the turn that changed them, since what follows tells others; the rest is due at intervals.
"""

from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import TypeAlias

from gossip.group import Group
from gossip.ledger import Digest
from gossip.messages import State
from gossip.pages import NOTHING, Mark, Piece
from manager.audit import Audit
from manager.disk.saved import INCARNATION, MEMBERS, Changes, Saved
from manager.rollout.configs import Configs
from manager.stats import Reported, StatsWindow
from manager.traffic import BYS, By, KeptSteps, TrafficWindow

LAZY_EVERY = 1.0
"""Seconds between two writes of copies of others' pages, and of where the others are."""
MEMBERS_MAX = 64
"""Members whose addresses are remembered: any of them leads to all."""


_Facts: TypeAlias = Callable[[], Mapping[str, str]]


class Keeper:
    """Compares what there is with `saved`, which is on disk."""

    def __init__(
        self,
        group: Group,
        stats: StatsWindow,
        traffic: TrafficWindow,
        audit: Audit,
        configs: Configs,
        saved: Saved,
        *,
        at_once: dict[str, str],
        lazy_facts: tuple[_Facts, ...],
        now: float,
    ) -> None:
        """`at_once`: facts to be written in the first turn; `lazy_facts` are asked for at intervals."""
        self._group = group
        self._stats = stats
        self._traffic = traffic
        self._configs = configs
        self._contents = set(saved.contents)
        self._facts = dict(saved.facts)
        self._news = at_once
        self._audit = audit
        self._ask_lazily = lazy_facts
        own = group.name
        # Of our own page the disk has one of an earlier generation: the present one goes there whole.
        self._marks: Digest = {owner: page.mark for owner, page in saved.pages.items() if owner != own}
        self._former: dict[str, Mark] = {owner: page.mark for owner, page in saved.former.items()}
        self._lazy_at = now
        self._steps_at = now + stats.step
        self._traffic_at = now + traffic.step
        self._traffic_since = group.wall(now)

    def next_deadline(self) -> float:
        return min(self._lazy_at, self._steps_at, self._traffic_at)

    def unsaved(self, now: float, *, everything: bool = False) -> Changes | None:
        """What is due to be written, and is taken as written from here on; None for nothing.

        `everything`: also what is not due yet, for a process that ends in good order.
        """
        if not everything and self._is_all_kept(now):
            return None
        owners = [self._group.name]
        former: dict[str, Piece | None] = {}
        dropped: tuple[str, ...] = ()
        incarnation = self._group.swim.members.me.incarnation
        facts, self._news = self._news | {INCARNATION: str(incarnation)}, {}
        facts |= self._audit.take_facts()
        if everything or self._lazy_at <= now:
            self._lazy_at = now + LAZY_EVERY
            owners = list(self._group.ledger.pages)
            former = self._changed_former()
            dropped = self._dropped()
            facts[MEMBERS] = "\n".join(self._members())
            for ask in self._ask_lazily:
                facts |= ask()
        facts = {name: fact for name, fact in facts.items() if self._facts.get(name) != fact}
        self._facts |= facts
        pieces = self._pieces(owners)
        steps: dict[float, list[Reported]] = {}
        steps_from = 0.0
        if everything or self._steps_at <= now:
            steps, steps_from = self._due_steps(now, everything=everything)
        traffic, traffic_from = self._due_traffic(now) if everything or self._traffic_at <= now else ({}, {})
        contents = self._changed_contents()
        if not (pieces or dropped or former or facts or steps or traffic or contents):
            return None
        return Changes(
            pages=pieces,
            dropped=dropped,
            former=former,
            facts=facts,
            steps=steps,
            steps_from=steps_from,
            traffic=traffic,
            traffic_from=traffic_from,
            contents=contents,
        )

    def _is_all_kept(self, now: float) -> bool:
        """Whether this turn, as most do, has changed nothing; cheap, to be asked in every one."""
        me = self._group.swim.members.me
        return (
            now < self.next_deadline()
            and not self._news
            and self._marks.get(self._group.name) == self._group.ledger.own.mark
            and self._facts.get(INCARNATION) == str(me.incarnation)
            and not self._audit.has_news
            and self._configs.contents.keys() == self._contents
        )

    def _pieces(self, owners: Iterable[str]) -> tuple[Piece, ...]:
        """What the disk lacks of the pages of `owners`."""
        found = [self._group.ledger.piece(owner, self._marks.get(owner, NOTHING)) for owner in owners]
        pieces = tuple(piece for piece in found if piece is not None)
        self._marks |= {piece.owner: Mark(piece.generation, piece.upto) for piece in pieces}
        return pieces

    def _dropped(self) -> tuple[str, ...]:
        """The owners whose pages are on disk, and no longer here."""
        dropped = tuple(owner for owner in self._marks if owner not in self._group.ledger.pages)
        for owner in dropped:
            del self._marks[owner]
        return dropped

    def _due_steps(self, now: float, *, everything: bool) -> tuple[dict[float, list[Reported]], float]:
        """Steps of the statistics that are over since the last time, and from when on they are kept."""
        step, wall = self._stats.step, self._group.wall(now)
        self._steps_at = now + step
        over = inf if everything else wall - wall % step
        return self._stats.take(over), wall - self._stats.window

    def _due_traffic(self, now: float) -> tuple[KeptSteps, dict[By, float]]:
        """The same of traffic."""
        self._traffic_at = now + self._traffic.step
        wall, since = self._group.wall(now), self._traffic_since
        self._traffic_since = wall
        kept_from = {by: wall - self._traffic.kept_for(by) for by in BYS}
        return self._traffic.since(since - self._traffic.step), kept_from

    def _changed_contents(self) -> dict[str, bytes | None]:
        held = self._configs.contents
        if held.keys() == self._contents:
            return {}
        changed: dict[str, bytes | None] = {hash_: held.get(hash_) for hash_ in held.keys() ^ self._contents}
        self._contents = set(held)
        return changed

    def _changed_former(self) -> dict[str, Piece | None]:
        held = self._group.ledger.former
        changed: dict[str, Piece | None] = {owner: None for owner in self._former if owner not in held}
        for owner, page in held.items():
            if self._former.get(owner) != page.mark:
                changed[owner] = page.whole()
        self._former = {owner: page.mark for owner, page in held.items()}
        return changed

    def _members(self) -> list[str]:
        """Where to look for the others after a restart: first those that run."""
        swim = self._group.swim
        others = [m for m in swim.members.others() if m.state is not State.LEFT]
        others.sort(key=lambda member: (not member.present, member.name))
        # Who has not been met again since the last restart is looked for after the next one too.
        known = [str(member.address) for member in others] + swim.rejoin.remembered
        return list(dict.fromkeys(known))[:MEMBERS_MAX]
