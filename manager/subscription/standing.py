"""The subscription in force: which signed document prevails on the pages, and where on its ladder it stands.

Every manager keeps copies of the newest documents on its own page (rule L7); each checks every signature
itself, so no page is believed. The ladder is a function of the document, of when its issuer last answered,
and of time: valid, then unreachable or expired, at the end the free limits, never stopped traffic.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gossip.ledger import Ledger
from gossip.pages import Page
from manager.packing import pack, unpack
from manager.subscription.documents import Document, DocumentError, as_text, open_document

DOCUMENT = "document/"
CHECKED = "checked"
KEPT = 5
"""How many documents, the newest, stand on each page: the one in force and its history."""
ASKED_EVERY = 86400.0
"""The issuer's URL is asked once a day, by one manager of the group."""
ASKED_AGAIN = 3600.0
"""… and a manager that got no answer asks again after this."""
TURN = 60.0
"""How long a manager waits for each one before it, by name."""
_MISSED = 2 * ASKED_EVERY


class Stage(StrEnum):
    """Where a subscription stands."""

    NONE = "none"
    VALID = "valid"
    UNREACHABLE = "unreachable"
    """The issuer has not answered for two days; nothing else has changed."""
    EXPIRED = "expired"
    """It has run out, or its issuer has been out of reach for as long as that is tolerated."""
    DEGRADED = "degraded"
    """The margin is over: every node has the free limits."""
    REVOKED = "revoked"
    """By an authentic document; every node has the free limits."""


@dataclass(frozen=True, slots=True)
class Step:
    """The ladder goes on to `stage` at `at`, seconds since 1970, unless something newer comes."""

    at: float
    stage: Stage
    why: str


@dataclass(frozen=True, slots=True)
class Standing:
    """The present stage, and what is ahead, the next first."""

    stage: Stage
    why: str
    steps: tuple[Step, ...]

    @property
    def free_only(self) -> bool:
        """Whether nodes are held to the free limits."""
        return self.stage in (Stage.DEGRADED, Stage.REVOKED)


def standing(
    document: Document | None, checked: float | None, wall: float, tolerance: float, margin: float
) -> Standing:
    """Where `document` stands at `wall`, seconds since 1970.

    `checked`: when the issuer's URL last answered; None where none is asked. `tolerance`: seconds for which
    it may be silent. `margin`: seconds from expiry to the free limits.
    """
    if document is None:
        return Standing(Stage.NONE, "no signed document", ())
    if document.revoked:
        return Standing(Stage.REVOKED, "the issuer has revoked it: install a newer document", ())
    expires = inf if document.expires is None else document.expires
    steps = []
    ends, why = expires, "its time is over"
    if checked is not None:
        if checked + _MISSED < min(expires, checked + tolerance):
            steps.append(Step(checked + _MISSED, Stage.UNREACHABLE, "its issuer does not answer"))
        if checked + tolerance < expires:
            ends, why = checked + tolerance, "its issuer has not answered for too long"
    if ends < inf:
        steps.append(Step(ends, Stage.EXPIRED, f"{why}: install a newer document"))
        steps.append(Step(ends + margin, Stage.DEGRADED, f"{why}, and so is the margin: free limits hold"))
    passed = [step for step in steps if step.at <= wall]
    ahead = tuple(step for step in steps if step.at > wall)
    if not passed:
        return Standing(Stage.VALID, "signed by a trusted issuer", ahead)
    return Standing(passed[-1].stage, passed[-1].why, ahead)


class Subscription:
    """The documents on the pages of `ledger`. `asks`: whether an issuer's URL is asked."""

    def __init__(
        self,
        ledger: Ledger,
        group: str,
        issuers: Sequence[Ed25519PublicKey],
        *,
        asks: bool,
        tolerance: float,
        margin: float,
    ) -> None:
        self._ledger = ledger
        self._group = group
        self._issuers = tuple(issuers)
        self._asks = asks
        self._tolerance = tolerance
        self._margin = margin
        self._opened: dict[str, Document | None] = {}
        self._documents: tuple[Document, ...] = ()
        self._tried = -inf

    @property
    def document(self) -> Document | None:
        """The one that prevails; None where there is none."""
        return self._documents[0] if self._documents else None

    @property
    def history(self) -> tuple[Document, ...]:
        """The documents that are still known, the newest first."""
        return self._documents

    @property
    def checked(self) -> float | None:
        """When the issuer last answered any manager, seconds since 1970; None where it is never asked."""
        if not self._asks or self.document is None:
            return None
        answers = [self.document.issued]
        for owner in sorted(self._ledger.pages):
            value = self._ledger.pages[owner].get(CHECKED)
            if value is not None:
                answers.append(_seconds(value))
        return max(answers)

    def standing(self, wall: float) -> Standing:
        """Where the document stands at `wall`."""
        checked = self.checked
        # A page that names a time to come would silence the ladder.
        checked = None if checked is None else min(checked, wall)
        return standing(self.document, checked, wall, self._tolerance, self._margin)

    def install(self, text: str, wall: float) -> Document:
        """Put a document into force here and, by the page, everywhere; raises `DocumentError`.

        The document that is in force already is taken without a word: a file is read anew at each start.
        """
        document = open_document(text, self._issuers, self._group)
        present = self.document
        if present is not None and document.text == present.text:
            return present
        if present is not None and document.serial <= present.serial:
            raise DocumentError(
                f"serial {document.serial} is not above {present.serial}, which is in force: "
                "have a document with a higher serial issued"
            )
        if document.not_before > wall:
            begins = as_text(document.not_before)
            raise DocumentError(f"the document is not valid yet: install it from {begins} on")
        self._ledger.put(_key(document.serial), document.text.encode(), ends_something=True)
        self.settle()
        return document

    def recall(self, before: Iterable[tuple[str, bytes]]) -> None:
        """Our documents stand on our page again; `before` stood there when we last ran."""
        for key, value in before:
            if key.startswith(DOCUMENT) or key == CHECKED:
                self._ledger.put(key, value, ends_something=True)
        self.settle()

    def page_changed(self, keys: Iterable[str]) -> bool:
        """Settle what changed on some page; whether another document prevails now."""
        return any(key.startswith(DOCUMENT) for key in keys) and self.settle()

    def settle(self) -> bool:
        """Read all pages, and keep copies of the newest on ours; whether another document prevails now."""
        found: dict[int, Document] = {}
        for owner in sorted(self._ledger.pages):
            for key, value in _documents_on(self._ledger.pages[owner]):
                document = self._open(value)
                if document is not None and key == _key(document.serial):
                    twin = found.get(document.serial)
                    # Two texts of one serial, by an issuer's mistake: all take the same one.
                    if twin is None or document.text > twin.text:
                        found[document.serial] = document
        newest = sorted(found.values(), key=lambda document: -document.serial)[:KEPT]
        changed = tuple(newest[:1]) != self._documents[:1]
        self._documents = tuple(newest)
        self._copy(newest)
        return changed

    def _copy(self, newest: list[Document]) -> None:
        own = self._ledger.own
        wanted = {_key(document.serial): document.text.encode() for document in newest}
        for key, value in wanted.items():
            if own.get(key) != value:
                self._ledger.put(key, value, ends_something=True)
        for key, _ in _documents_on(own):
            if key not in wanted:
                self._ledger.delete(key)

    def _open(self, value: bytes) -> Document | None:
        text = value.decode("ascii", errors="replace")
        if text not in self._opened:
            if len(self._opened) > 64 * KEPT:
                self._opened.clear()
            try:
                self._opened[text] = open_document(text, self._issuers, self._group)
            except DocumentError:
                self._opened[text] = None
        return self._opened[text]

    # The issuer's URL

    def asks_at(self, position: int, wall: float) -> float:
        """When this manager, `position`-th of those alive by name, asks the issuer; seconds since 1970."""
        if not self._asks:
            return inf
        checked = self.checked
        due = wall if checked is None else min(checked, wall) + ASKED_EVERY
        return max(due, self._tried + ASKED_AGAIN) + position * TURN

    def asked(self, wall: float) -> None:
        """The issuer is asked now, by us."""
        self._tried = wall

    def answered(self, wall: float) -> None:
        """The issuer gave a document that is in force: all know by our page."""
        self._ledger.put(CHECKED, pack(wall), ends_something=True)


def _documents_on(page: Page) -> list[tuple[str, bytes]]:
    return [(key, value) for key, value in page.items() if key.startswith(DOCUMENT)]


def _key(serial: int) -> str:
    return f"{DOCUMENT}{serial}"


def _seconds(value: bytes) -> float:
    try:
        seconds = unpack(value)
    except ValueError:
        return -inf
    return seconds if isinstance(seconds, float) else -inf
