"""Which signed document prevails, where it stands on its ladder, and what that means for nodes."""

import asyncio
from dataclasses import replace

import pytest

from gossip.ledger import Ledger
from gossip.pages import Piece
from manager.effects import AskIssuer
from manager.subscription.documents import Document, DocumentError, sign
from manager.subscription.standing import (
    ASKED_AGAIN,
    ASKED_EVERY,
    CHECKED,
    KEPT,
    TURN,
    Stage,
    Subscription,
    standing,
)
from manager.terms import ManagerConfig
from node.protocol import Limit
from tests.manager.running import WALL, Running
from tests.manager.test_documents import GRANT, ISSUERS, KEY

DAY = 86400.0
NOW = 1_850_000_000.0


def ledger(owner: str) -> Ledger:
    return Ledger(owner, 1)


def subscription(on: Ledger, *, asks: bool = False) -> Subscription:
    return Subscription(on, "blue", ISSUERS, asks=asks, tolerance=7 * DAY, margin=7 * DAY)


def tell(teller: Ledger, hearer: Ledger) -> None:
    page = teller.own
    piece = Piece(page.owner, page.generation, 0, page.version, page.floor, tuple(page.since(0)), reset=True)
    hearer.apply(piece)


def text(**changes: object) -> str:
    return sign(replace(GRANT, **changes), KEY)  # type: ignore[arg-type]


# Which one prevails


def test_the_highest_serial_prevails_everywhere_and_is_copied() -> None:
    one, two, three = ledger("m1"), ledger("m2"), ledger("m3")
    first, second, third = (subscription(each) for each in (one, two, three))
    first.install(text(serial=3), NOW)
    second.install(text(serial=4, max_nodes=20), NOW)
    tell(two, one)
    assert first.page_changed(["document/4"])
    assert first.document is not None
    assert first.document.max_nodes == 20
    tell(one, three)
    third.settle()
    assert [document.serial for document in third.history] == [4, 3]


def test_a_document_that_another_page_forged_is_nobodys() -> None:
    one, two = ledger("m1"), ledger("m2")
    two.put("document/9", text(serial=4).encode())
    two.put("document/8", b"\xff\x00")
    two.put("document/7", text(serial=7, group="green").encode())
    tell(two, one)
    ours = subscription(one)
    assert not ours.settle()
    assert ours.document is None


def test_a_serial_that_was_rolled_back_is_refused() -> None:
    ours = subscription(ledger("m1"))
    ours.install(text(serial=3), NOW)
    assert ours.install(text(serial=3), NOW) is ours.document
    for serial in (2, 3):
        with pytest.raises(DocumentError, match="is not above 3"):
            ours.install(text(serial=serial, max_nodes=99), NOW)


def test_a_document_of_tomorrow_is_refused_until_then() -> None:
    ours = subscription(ledger("m1"))
    with pytest.raises(DocumentError, match=r"not valid yet: install it from 20\d\d-.*Z on"):
        ours.install(text(not_before=NOW + 1), NOW)
    ours.install(text(not_before=NOW + 1), NOW + 1)


def test_no_page_keeps_more_than_the_newest_documents() -> None:
    on = ledger("m1")
    ours = subscription(on)
    for serial in range(1, 12):
        ours.install(text(serial=serial), NOW)
    assert [document.serial for document in ours.history] == [11, 10, 9, 8, 7]
    assert sum(key.startswith("document/") for key, _ in on.own.items()) == KEPT


# The ladder


def stages(document: Document, checked: float | None, *days: float) -> list[str]:
    return [standing(document, checked, NOW + day * DAY, 7 * DAY, 7 * DAY).stage for day in days]


def test_from_valid_to_expired_to_the_free_limits() -> None:
    document = replace(GRANT, expires=NOW + DAY)
    assert stages(document, None, 0, 0.99, 1, 7.99, 8, 400) == [
        "valid",
        "valid",
        "expired",
        "expired",
        "degraded",
        "degraded",
    ]


def test_without_an_end_it_holds_for_ever() -> None:
    assert stages(replace(GRANT, expires=None), None, 0, 10_000) == ["valid", "valid"]


def test_a_silent_issuer_is_tolerated_then_it_is_as_if_expired() -> None:
    document = replace(GRANT, expires=None)
    assert stages(document, NOW, 0, 1.9, 2, 6.9, 7, 13.9, 14) == [
        "valid",
        "valid",
        "unreachable",
        "unreachable",
        "expired",
        "expired",
        "degraded",
    ]


def test_a_revoked_one_has_no_margin() -> None:
    assert stages(replace(GRANT, revoked=True), None, 0) == ["revoked"]


def test_every_step_ahead_has_its_date() -> None:
    stands = standing(replace(GRANT, expires=NOW + 30 * DAY), NOW, NOW, 7 * DAY, 7 * DAY)
    assert [(step.stage, (step.at - NOW) / DAY) for step in stands.steps] == [
        (Stage.UNREACHABLE, 2),
        (Stage.EXPIRED, 7),
        (Stage.DEGRADED, 14),
    ]


# The issuer's URL


def test_the_issuer_is_asked_once_a_day_by_one_of_the_group() -> None:
    one, two = ledger("m1"), ledger("m2")
    first, second = subscription(one, asks=True), subscription(two, asks=True)
    assert first.asks_at(0, NOW) <= NOW
    assert second.asks_at(1, NOW) == NOW + TURN
    first.asked(NOW)
    first.install(text(), NOW)
    first.answered(NOW)
    tell(one, two)
    second.settle()
    assert first.asks_at(0, NOW) == NOW + ASKED_EVERY
    assert second.asks_at(1, NOW + TURN) == NOW + ASKED_EVERY + TURN


def test_who_had_no_answer_leaves_the_turn_to_the_next() -> None:
    ours = subscription(ledger("m1"), asks=True)
    ours.asked(NOW)
    assert ours.asks_at(0, NOW + 1) == NOW + ASKED_AGAIN


def test_a_page_that_names_a_time_to_come_does_not_stop_the_ladder() -> None:
    on = ledger("m1")
    ours = subscription(on, asks=True)
    ours.install(text(expires=None), NOW)
    ours.answered(NOW + 1000 * DAY)
    assert ours.standing(NOW + DAY).steps[0].at == NOW + 3 * DAY
    on.put(CHECKED, b"\xc1")
    assert ours.standing(GRANT.issued).stage is Stage.VALID


# A manager


def managed(**config: object) -> Running:
    limits = {"limits": {"a": Limit(100.0)}, "free_limits": {"a": Limit(5.0)}}
    settings = {"issuers": tuple(ISSUERS), "unreachable_after": 1e9, **limits}
    running = Running(ManagerConfig(**{**settings, **config}))  # type: ignore[arg-type]
    running.wait(10.0)
    return running


def grant(**changes: object) -> str:
    return text(**{"issued": WALL, "not_before": WALL, "expires": None, "overage": "none", **changes})


def test_a_signed_document_beats_the_file_and_nobody_sets_a_cap_beside_it() -> None:
    running = managed(max_nodes=1)
    running.node(1)
    asyncio.run(running.install(grant(max_nodes=2), "a test"))
    running.node(2)
    running.node(3)
    assert (running.core.max_nodes, running.core.registry.used) == (2, 2)
    with pytest.raises(DocumentError, match="serial 3 says how many nodes may run"):
        asyncio.run(running.set_max_nodes(9))


def test_nodes_within_the_overage_are_seated() -> None:
    running = managed()
    asyncio.run(running.install(grant(max_nodes=2, overage="1.5x"), "a test"))
    for number in range(1, 6):
        running.node(number)
    assert (running.core.max_nodes, running.core.cap, running.core.registry.used) == (2, 3, 3)


def test_at_the_end_of_the_ladder_nodes_have_the_free_limits_and_stay_seated() -> None:
    running = managed(margin=60.0)
    asyncio.run(running.install(grant(max_nodes=2, expires=WALL + 100), "a test"))
    node = running.node(1)
    running.wait(140.0)
    assert running.limits_of[1] == {"a": Limit(100.0)}
    running.wait(20.0)
    assert running.limits_of[1] == {"a": Limit(5.0)}
    assert running.core.registry.view(node).seat  # type: ignore[union-attr]
    asyncio.run(running.install(grant(serial=4, max_nodes=2), "a test"))
    running.wait(1.0)
    assert running.limits_of[1] == {"a": Limit(100.0)}


def test_a_manager_asks_the_issuer_when_it_is_its_turn() -> None:
    running = managed(issuer_url="https://issuer.example/blue")
    assert AskIssuer("https://issuer.example/blue") in running.core.operator.ask_issuer(10.0)
    running.core.issuer_answered("nonsense", 11.0)
    assert running.core.subscription.document is None
    running.core.issuer_answered(grant(), 12.0)
    assert running.core.subscription.document is not None


def test_over_the_limit_for_the_whole_margin_a_node_has_the_free_limits() -> None:
    running = managed(max_nodes=2, margin=3600.0)
    running.node(1)
    running.node(2)
    asyncio.run(running.set_max_nodes(1))
    running.wait(3500.0)
    assert running.limits_of[2] == {"a": Limit(50.0)}
    running.wait(200.0)
    assert (running.limits_of[1], running.limits_of[2]) == ({"a": Limit(95.0)}, {"a": Limit(5.0)})
    asyncio.run(running.set_max_nodes(2))
    running.wait(1.0)
    assert running.limits_of[2] == {"a": Limit(50.0)}


def test_a_margin_goes_on_unless_the_node_was_within_the_limit_for_an_hour() -> None:
    running = managed(max_nodes=2, margin=3600.0)
    running.node(1)
    running.node(2)
    asyncio.run(running.set_max_nodes(1))
    running.wait(3000.0)
    asyncio.run(running.set_max_nodes(2))
    running.wait(60.0)
    asyncio.run(running.set_max_nodes(1))
    running.wait(700.0)
    assert running.limits_of[2] == {"a": Limit(5.0)}
    asyncio.run(running.set_max_nodes(2))
    running.wait(3700.0)
    asyncio.run(running.set_max_nodes(1))
    running.wait(700.0)
    assert running.limits_of[2] == {"a": Limit(50.0)}
