"""What follows from what other managers write on their pages: each part is told of the keys that it reads."""

from collections.abc import Mapping

from gossip.group import Group
from gossip.pages import Page
from manager.effects import Level
from manager.liveness import Liveness
from manager.outbox import Outbox
from manager.page import NodePage
from manager.records import CLONE, GONE, SEES, CloneNote
from manager.registry import Registry
from manager.rollout.plan import CONFIG
from manager.rollout.rollouts import Rollouts
from manager.seats.founders import Founders
from manager.seats.home import Home
from manager.sessions.sessions import Sessions
from manager.subscription.renewals import Renewals
from manager.terms import Terms


class Reading:
    """Reads the pages of others; `founders` and `home` are None where there are none."""

    def __init__(
        self,
        group: Group,
        registry: Registry,
        page: NodePage,
        terms: Terms,
        rollouts: Rollouts,
        renewals: Renewals,
        sessions: Sessions,
        liveness: Liveness,
        founders: Founders | None,
        home: Home | None,
        outbox: Outbox,
    ) -> None:
        self._group = group
        self._registry = registry
        self._page = page
        self._terms = terms
        self._rollouts = rollouts
        self._renewals = renewals
        self._sessions = sessions
        self._liveness = liveness
        self._founders = founders
        self._home = home
        self._outbox = outbox

    def recall(self, pages: Mapping[str, Page], now: float) -> None:
        """What our disk has of others' pages: all is as it was, so these are no events."""
        former = self._group.ledger.former
        for owner, page in pages.items():
            if owner != self._group.name:
                keys = (*page.values, *_keys(former.get(owner)))
                self._registry.page_changed(owner, keys, now)
                self._rollouts.page_changed(owner, keys)
        self._registry.take_changes()

    def page_changed(self, owner: str, keys: tuple[str, ...], now: float) -> None:
        """Manager `owner` has written `keys`, or its page is gone with them."""
        # Clones before records: who is told to become another node need not be asked whether it lives.
        for key in keys:
            if key.startswith(CLONE):
                self._clone_noted(owner, key, now)
        for id_ in self._registry.page_changed(owner, keys, now):
            newer = self._page.outdated(id_, now)
            if newer is not None:
                self._sessions.takeover.newer_elsewhere(id_, newer, now)
        former = self._terms.max_nodes
        self._rollouts.page_changed(owner, keys)
        if self._founders is not None:
            for line in self._founders.page_changed(owner, keys):
                self._outbox.log(Level.WARNING, line)
        if self._home is not None:
            self._home.page_changed(owner, keys, now)
        changed, warnings = self._terms.settings.page_changed(keys)
        if any(name.startswith(CONFIG) for name in changed):
            self._rollouts.plan_changed()
            self._rollouts.fetch_content(now)
        for warning in warnings:
            self._outbox.log(Level.WARNING, warning)
        self._renewals.page_changed(owner, keys, changed, former, self._group.wall(now))
        if GONE in keys:
            self._outbox.log(Level.INFO, f"manager {owner} leaves for good")
        if SEES in keys and not self._registry.all_alive:
            self._liveness.changed()
        self._sessions.shares.changed()

    def _clone_noted(self, owner: str, key: str, now: float) -> None:
        page = self._group.ledger.pages.get(owner)
        value = None if page is None else page.get(key)
        if value is None:
            return
        try:
            self._sessions.takeover.clone_noted(key[len(CLONE) :], CloneNote.unpack(value), now)
        except ValueError:
            self._outbox.count("ledger", "bad_clone_note")


def _keys(page: Page | None) -> tuple[str, ...]:
    return () if page is None else tuple(page.values)
