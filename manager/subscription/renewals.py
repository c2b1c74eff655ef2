"""What becomes of the subscription, told as it happens: set, installed, asked for, run out."""

from collections.abc import Collection, Iterable

from gossip.group import Group
from manager.effects import AskIssuer, Level
from manager.events import EventLog
from manager.outbox import Outbox
from manager.subscription.documents import DocumentError
from manager.subscription.standing import Stage
from manager.terms import SUBSCRIPTION, Terms


class Renewals:
    """Changes the cap that `terms` hold. Walls are seconds since 1970."""

    def __init__(self, group: Group, terms: Terms, events: EventLog, outbox: Outbox) -> None:
        self._group = group
        self._terms = terms
        self._subscription = terms.subscription
        self._url = terms.config.issuer_url
        self._events = events
        self._outbox = outbox
        self._stage = Stage.NONE

    def set_max_nodes(self, max_nodes: int, wall: float) -> None:
        """An operator's word. Raises `DocumentError` where a signed document holds."""
        if (document := self._subscription.document) is not None:
            raise DocumentError(
                f"the signed subscription with serial {document.serial} says how many nodes may run: "
                "install a newer one by `kcm subscription install FILE`"
            )
        setting = self._terms.settings.set(SUBSCRIPTION, max_nodes)
        text = f"subscription: max_nodes is {max_nodes} from now on (serial {setting.serial})"
        self._outbox.log(Level.INFO, text)
        self._note("", f"max_nodes {max_nodes}", "set by an operator", wall)

    def install(self, text: str, source: str, wall: float) -> None:
        """Put a signed document from `source` into force, everywhere. Raises `DocumentError`."""
        before = self._subscription.document
        if self._subscription.install(text, wall) is not before:
            self._prevails(f"from {source}", wall)

    def ask(self, wall: float) -> None:
        """Ask the issuer's URL now, whoever's turn it is. Raises `DocumentError` where there is none."""
        if not self._url:
            raise DocumentError("subscription.url is not set: there is no issuer to ask")
        self._subscription.asked(wall)
        self._outbox.add(AskIssuer(self._url))

    def answered(self, text: str, wall: float) -> None:
        """The issuer's URL gave `text`."""
        try:
            self.install(text, self._url, wall)
        except DocumentError as error:
            self._outbox.count("subscription", "bad_document")
            self._outbox.log(Level.WARNING, f"subscription: {self._url}: {error}")
        else:
            self._subscription.answered(wall)

    def page_changed(
        self, owner: str, keys: Iterable[str], settings: Collection[str], former: int | None, wall: float
    ) -> None:
        """Manager `owner` wrote `keys`, by which `settings` changed; the cap was `former`."""
        if self._subscription.page_changed(keys):
            self._prevails(f"by manager {owner}", wall)
            return
        present = self._terms.max_nodes
        if SUBSCRIPTION in settings and self._subscription.document is None and former != present:
            setting = self._terms.settings.get(SUBSCRIPTION)
            word = "" if setting is None else f"by {setting.writer}'s word"
            self._outbox.log(Level.INFO, f"subscription: max_nodes is {present} {word}")
            self._note("", f"max_nodes {present}", word, wall)

    def sweep(self, wall: float, *, may_ask: bool) -> None:
        """Go on along the ladder; `may_ask`: also ask the issuer, where it is this manager's turn."""
        self._climb(wall)
        before_us = sum(member.name < self._group.name for member in self._group.kin())
        if may_ask and self._subscription.asks_at(before_us, wall) <= wall:
            self.ask(wall)

    def _climb(self, wall: float) -> None:
        stands = self._subscription.standing(wall)
        self._terms.free_only = stands.free_only
        if stands.stage is not self._stage:
            level = Level.INFO if stands.stage in (Stage.NONE, Stage.VALID) else Level.WARNING
            self._outbox.log(level, f"subscription: {stands.stage.value}: {stands.why}")
            before, self._stage = self._stage, stands.stage
            self._note(before.value, stands.stage.value, stands.why, wall)

    def _prevails(self, source: str, wall: float) -> None:
        document = self._subscription.document
        assert document is not None
        cap = "any number of" if document.max_nodes is None else f"up to {document.max_nodes}"
        text = f"serial {document.serial} {source} allows {cap} nodes"
        self._outbox.log(Level.INFO, f"subscription: {text}")
        self._note("", f"serial {document.serial}", text, wall)
        self._climb(wall)

    def _note(self, before: str, state: str, why: str, wall: float) -> None:
        self._events.note("subscription", SUBSCRIPTION, before, state, why, wall)
