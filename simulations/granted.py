"""Checkers of what is granted, and taken back: signed documents, uses of join tokens, pages of the gone."""

from collections.abc import Callable
from typing import NoReturn

from gossip.page_notes import FORGOTTEN, read_forgotten
from gossip.pages import NOTHING, Mark
from manager.core import Manager
from manager.records import NodeState
from manager.tokens import JoinToken, find_token
from node.protocol import ManagerMessage, Welcome
from simulations.nodes import SimNode
from simulations.processes import SimManager

_NEVER_IN = frozenset({NodeState.REFUSED, NodeState.CLAIMED})
Fail = Callable[[str], NoReturn]


class DocumentsWatch:
    """Which signed subscription each manager follows (L7). `fail(text)` raises."""

    def __init__(self, fail: Fail) -> None:
        self._fail = fail
        self.issued: set[str] = set()
        """What a trusted issuer has signed for the group."""
        self._serials: dict[tuple[str, int], int] = {}

    def look(self, manager: SimManager) -> None:
        """`manager` follows what an issuer signed, and never again something older."""
        document, process = manager.core.subscription.document, (manager.host, manager.starts)
        serial = 0 if document is None else document.serial
        if serial < self._serials.get(process, 0):
            self._documents_go_forward(manager, serial, self._serials[process])
        self._serials[process] = serial
        if document is not None and document.text not in self.issued:
            self._documents_are_an_issuers(manager, serial)

    def _documents_go_forward(self, manager: SimManager, serial: int, before: int) -> None:
        self._fail(f"{manager.name} follows document {serial}, after {before}")

    def _documents_are_an_issuers(self, manager: SimManager, serial: int) -> None:
        self._fail(f"{manager.name} follows document {serial}, which no issuer signed for the group")


class PagesWatch:
    """What managers hold of those who are gone (L6). `fail(text)` raises."""

    def __init__(self, fail: Fail) -> None:
        self._fail = fail
        self._held: dict[tuple[str, int], dict[str, Mark]] = {}
        self._ever: dict[str, Mark] = {}
        """Up to where any note that was ever seen speaks of each owner's page."""

    def look(self, manager: SimManager) -> None:
        """`manager` lets go of a page by a note, and holds none that a note which it has speaks of."""
        pages, process = manager.core.group.ledger.pages, (manager.host, manager.starts)
        now = {owner: page.mark for owner, page in pages.items()}
        if self._held.get(process) == now:
            return  # the same pages, judged before
        for page in pages.values():
            for key, value in page.items():
                if key.startswith(FORGOTTEN):
                    owner = key.removeprefix(FORGOTTEN)
                    self._ever[owner] = max(self._ever.get(owner, NOTHING), read_forgotten(value)[0])
        for owner, mark in self._held.get(process, {}).items():
            # A note may come and go between two looks at one manager.
            if owner not in now and self._ever.get(owner, NOTHING) < mark:
                self._a_page_goes_by_a_note(manager, owner)
        self._held[process] = now
        for owner, mark in now.items():
            if owner != manager.name and self._noted(manager, owner) >= mark:
                self._what_is_let_go_of_stays_away(manager, owner)

    def _noted(self, manager: SimManager, owner: str) -> Mark:
        """Up to where any note that `manager` has speaks of `owner`'s page."""
        values = (page.get(FORGOTTEN + owner) for page in manager.core.group.ledger.pages.values())
        return max((read_forgotten(value)[0] for value in values if value), default=NOTHING)

    def _a_page_goes_by_a_note(self, manager: SimManager, owner: str) -> None:
        self._fail(f"{manager.name} let go of {owner}'s page, and no note says so")

    def _what_is_let_go_of_stays_away(self, manager: SimManager, owner: str) -> None:
        self._fail(f"{manager.name} has a page of {owner}, of which it has a note that it is let go of")


class TokensWatch:
    """How many come in by each join token (A5). `fail(text)` raises."""

    def __init__(self, managers: list[SimManager], nodes: list[SimNode], fail: Fail) -> None:
        self._managers = managers
        self._nodes = nodes
        self._fail = fail
        self._calm = True
        self._known: set[str] = set()
        """Ids that were in when all came to be calm …"""
        self._returned: set[str] = set()
        """… or that came back since, by a ticket: nobody asks either for a token."""

    def look(self, *, calm: bool, connected: bool) -> None:
        """`calm`: the managers are connected, awake, and hold the same pages."""
        if not self._calm and calm:
            self._known = {id_ for manager in self._managers for id_ in _came_in(manager)}
            self._returned = set()
        self._calm = connected and (self._calm or calm)

    def said(self, manager: SimManager, message: ManagerMessage) -> None:
        """`manager` is about to tell a node so."""
        tokens = manager.core.config.join_tokens
        if not tokens or not self._calm or not isinstance(message, Welcome) or message.id in self._known:
            return
        if any(node.id == message.id and node.disk.state and node.disk.state.ticket for node in self._nodes):
            self._returned.add(message.id)
            return
        name = _came_in(manager).get(message.id)
        for token in tokens:
            if token.name == name:
                self._no_more_come_in_than_a_token_says(token)

    def _no_more_come_in_than_a_token_says(self, token: JoinToken) -> None:
        came_in = [item for manager in self._managers for item in _came_in(manager).items()]
        ids = {id_ for id_, name in came_in if name == token.name}
        if token.uses is not None and len(ids - self._returned) > token.uses:
            self._fail(f"{len(ids)} nodes came in by {token.name}, which lets in {token.uses}")


def _came_in(manager: SimManager) -> dict[str, str]:
    """By the id of a node that `manager` answers for: the token by which it came in."""
    records = manager.core.registry.own_records() if manager.alive else ()
    return {
        id_: record.token
        for id_, record in records
        if record.token and record.stamp and record.state not in _NEVER_IN
    }


def turned_away(core: Manager, node: SimNode) -> bool:
    """Whether `node`, which is outside, has no join token that would let it in, by what `core` knows.

    Where a token ends with time, whose clock is right is nobody's to say.
    """
    tokens, view = core.config.join_tokens, core.registry.view(node.id)
    known = view is not None and view.shown and view.state is not NodeState.REFUSED
    if not tokens or known or (node.disk.state is not None and node.disk.state.ticket):
        return False
    token = find_token(node._token, tokens)
    if token is None or token.expires is not None:
        return True
    return token.uses is not None and core.registry.uses[token.name] >= token.uses
