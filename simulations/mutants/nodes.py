"""Rules about nodes, seats and settings, left out one at a time."""

from dataclasses import replace
from typing import Any

from manager.page import NodePage
from manager.registry import Registry
from manager.seats.admission import Admission
from manager.sessions.newcomers import Newcomers
from manager.sessions.sessions import Sessions
from manager.sessions.takeover import TakeOver
from manager.settings import Settings
from manager.sight import Sight
from manager.subscription.standing import Subscription
from node.endings import CLOSE_NORMAL
from node.session import Session
from simulations.mutants.patch import Patch


def settings_not_copied(patch: Patch) -> None:
    """What an operator set stands only on the page of the manager that was told (L7)."""
    patch(Settings, "copy_winners", lambda *_: None)


def fresh_manager_admits(patch: Patch) -> None:
    """A manager that has just started admits by an empty registry (A2)."""
    patch(Admission, "knows_enough", lambda *_: True)


def no_claims(patch: Patch) -> None:
    """Each manager admits by its own count alone (A1)."""

    def way(self: Admission, cap: int | None, **_: Any) -> str:
        taken = self._registry.used + self._registry.over
        return "open" if cap is None or taken < cap else "claim"

    patch(Admission, "way", way)


def sessions_counted_not_hellos(patch: Patch) -> None:
    """The incarnation counts welcomes, not hellos: an answer that is lost doubles one (I1)."""
    hello, welcome = Session._hello, Session._welcome

    def say(self: Session) -> list[Any]:
        before = self.state.incarnation
        effects = hello(self)
        self._kept.state = replace(self.state, incarnation=before)
        return effects[1:]

    def welcomed(self: Session, message: Any, now: float) -> list[Any]:
        self._kept.state = replace(self.state, incarnation=max(self.state.incarnation, message.incarnation))
        return welcome(self, message, now)

    patch(Session, "_hello", say)
    patch(Session, "_welcome", welcomed)


def end_of_an_old_session(patch: Patch) -> None:
    """The end of an old session ends the node that has moved on (I1)."""

    def ended(self: Sessions, session: Any, why: str, now: float) -> None:
        self._connections.detach(session)
        record = self._page.record(session.id)
        if not self._connections.withdraw(session, now) and record is not None:
            self._page.ended(session.id, record, why, now)

    patch(Sessions, "_ended", ended)


def moving_is_leaving(patch: Patch) -> None:
    """A node that moves to another manager is taken for gone (I5)."""
    right = Sessions.closed

    def closed(self: Sessions, conn: int, code: int | None, now: float) -> None:
        right(self, conn, CLOSE_NORMAL, now)

    patch(Sessions, "closed", closed)


def forgotten_in_the_wrong_order(patch: Patch) -> None:
    """The newer record of a node is forgotten while an older one stands (I6)."""
    patch(Registry, "may_forget", lambda *_: True)


def power_cycled_is_a_clone(patch: Patch) -> None:
    """A node that is back after a power cut is taken for a clone (I3)."""
    right = TakeOver.challenge

    def challenge(self: TakeOver, session: Any, newer: tuple[int, int], now: float) -> None:
        right(self, session, newer, now)
        self.here(session, now)

    patch(TakeOver, "challenge", challenge)


def grace_by_our_own_view(patch: Patch) -> None:
    """A dead manager's nodes are given up by our own view alone (I7)."""
    right = Sight.of

    def of(self: Sight, name: str) -> frozenset[str]:
        return right(self, name) if name == self._group.name else frozenset()

    patch(Sight, "of", of)


def file_beats_the_operator(patch: Patch) -> None:
    """At each start the YAML file's value prevails over what an operator set (L7)."""
    right = Settings.page_changed

    def changed(self: Settings, keys: tuple[str, ...]) -> tuple[list[str], list[str]]:
        mine = self.get("subscription")
        result = right(self, keys)
        winner = self.get("subscription")
        if mine is not None and winner is not None and mine.serial == 0 < winner.serial:
            self.set("subscription", mine.value)
        return result

    patch(Settings, "page_changed", changed)


def old_disk_is_welcomed(patch: Patch) -> None:
    """A node below what is known of it is served, and shown as what is known, for ever (I4)."""
    hello, said = Sessions._hello, Sessions._report

    def without_knowledge(right: Any) -> Any:
        def step(self: Sessions, *arguments: Any) -> None:
            vars(self._registry)["highest"] = lambda _: (0, 0)
            try:
                right(self, *arguments)
            finally:
                del vars(self._registry)["highest"]

        return step

    patch(Sessions, "_hello", without_knowledge(hello))
    patch(Sessions, "_report", without_knowledge(said))


def seats_counted_twice(patch: Patch) -> None:
    """A node that changes is counted again, and not only once (akka#21647)."""
    right = Registry._put

    def put(self: Registry, id_: str, view: Any) -> None:
        old = self.view(id_)
        right(self, id_, view)
        if old is not None and view is not None and old.manager != view.manager and view.shown:
            self.used += view.seat

    patch(Registry, "_put", put)


def silence_is_ours(patch: Patch) -> None:
    """A manager that was away itself blames its nodes for the time."""
    patch(NodePage, "excuse", lambda *_: None)
    patch(TakeOver, "excuse", lambda *_: None)


def seat_not_held(patch: Patch) -> None:
    """Whoever is unreachable loses its seat at once."""
    right = NodePage.change

    def change(self: NodePage, id_: str, record: Any, state: Any, why: str, now: float) -> None:
        record = replace(record, seat=record.seat and state.value == "active")
        right(self, id_, record, state, why, now)

    patch(NodePage, "change", change)


def margin_begins_anew(patch: Patch) -> None:
    """A node over the limit has its whole margin again where no page of it is known (A3)."""
    right = NodePage.over_since

    def over_since(self: NodePage, known: Any, *, over: bool, now: float, ticket: Any = None) -> float:
        return right(self, known, over=over, now=now)

    patch(NodePage, "over_since", over_since)


def known_node_refused(patch: Patch) -> None:
    """A node that runs is refused when the cap is reached (A4)."""
    right = Newcomers.admit_known

    def admit(self: Newcomers, session: Any, now: float) -> bool:
        cap = self._terms.max_nodes
        if cap is not None and self._registry.used >= cap:
            return False
        return right(self, session, now)

    patch(Newcomers, "admit_known", admit)


def uses_counted_alone(patch: Patch) -> None:
    """Each manager lets in by a join token what its own count says, without a claim (A5)."""
    right = Admission.way

    def way(self: Admission, cap: int | None, *, counted: bool) -> Any:
        return right(self, cap, counted=False)

    patch(Admission, "way", way)


def documents_not_copied(patch: Patch) -> None:
    """A signed subscription stands only on the page of the manager that was given it (L7)."""
    patch(Subscription, "_copy", lambda *_: None)
