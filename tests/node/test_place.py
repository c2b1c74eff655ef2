"""What holds of a node's place and limits, in a session that is called directly."""

import logging
from dataclasses import replace
from math import inf

import pytest

from node.bundle import Bundle
from node.effects import ApplyLimits, Close, Connect, Effect, Log, NodeState, Renewed, Save, Send
from node.life import Life
from node.phases import Connecting
from node.protocol import Lease, Limit, LimitsPush, Refused, Report, Reported
from node.session import Session
from tests.node.sessions import (
    CLOCK,
    FREE,
    ID,
    PUBLIC,
    SENTENCE,
    A,
    B,
    alone_for,
    greeted,
    joined,
    run_to,
    session,
    welcome,
    without_logs,
)


def test_a_node_whose_ticket_is_over_when_it_starts_never_works_under_its_last_share() -> None:
    life = Life.asked_at(replace(CLOCK, running=10.0, wall=CLOCK.wall - 90.0), 60.0)
    saved = NodeState(
        key=b"k" * 32, id=ID, ticket="t", life=life, limits_version=3, limits=PUBLIC, free_limits=FREE
    )
    effects = session(state=saved).start(0.0)
    assert [one for one in effects if isinstance(one, ApplyLimits)] == [ApplyLimits(3, "free", FREE)]


@pytest.mark.parametrize("window", [0.0, 10.0])
def test_who_leaves_before_a_manager_has_answered_cuts_its_ticket_by_the_window_of_the_last_one(
    window: float,
) -> None:
    life = Life.asked_at(CLOCK, 3600.0)
    saved = NodeState(key=b"k" * 32, id=ID, ticket="t", life=life, rejoin_window=window)
    made, _ = greeted(state=saved)
    [kept] = [effect.state for effect in made.leave("stopped", 0.1) if isinstance(effect, Save)]
    assert kept.life is not None
    assert kept.life.left(CLOCK) == window


def test_a_ticket_that_comes_with_limits_is_kept_with_them() -> None:
    made = joined()
    effects = made.received(LimitsPush(version=4, limits=PUBLIC, ticket="with a margin"), 2.0)
    assert made.state.ticket == "with a margin"
    assert Save(made.state) in effects
    made.received(LimitsPush(version=5, limits=PUBLIC), 2.0)
    assert made.state.ticket == "with a margin"


def test_running_above_the_subscription_is_said_once_and_so_is_its_end() -> None:
    made = joined()
    said = [
        effect.text
        for version, over in ((4, True), (5, True), (6, False), (7, False))
        for effect in made.received(LimitsPush(version=version, limits={}, over_limit=over), 2.0)
        if isinstance(effect, Log)
    ]
    assert said == [
        "This node runs above what the subscription allows",
        "This node is within what the subscription allows again",
    ]


def test_when_its_lease_is_over_the_last_limits_are_reused() -> None:
    made = joined()
    made.closed(1006, "reset", 2.0)
    made.tick(3.0)
    due = made.next_deadline()
    assert due == 20.0
    assert without_logs(made.tick(due)) == [ApplyLimits(3, "reuse_last", PUBLIC)]
    assert made.next_deadline() is None


def test_a_manager_left_for_its_silence_leaves_a_part_of_the_lease_for_another() -> None:
    made = joined(A, B)
    lost = made.tick(15.0)
    assert any(isinstance(effect, Close) for effect in lost)
    said = [effect for at, effect in run_to(made, 19.9) if isinstance(effect, ApplyLimits)]
    assert said == []
    [(at, applied)] = [(at, e) for at, e in run_to(made, 20.1) if isinstance(e, ApplyLimits)]
    assert (at, applied) == (20.0, ApplyLimits(3, "reuse_last", PUBLIC))


SAFE = {"public": Lease(5.0, 10.0, Limit(7.0))}


def test_a_lease_counts_from_when_the_report_left_that_was_answered() -> None:
    made = joined(A, leases=SAFE)
    [report] = [e.message for at, e in run_to(made, 2.0) if isinstance(e, Send)]
    assert isinstance(report, Report)
    left = 5.0 / 3
    made.received(Reported(number=report.number), 4.0)
    made.closed(1006, "", 4.1)
    assert made.place.source == "lease"
    applied = [(at, e) for at, e in run_to(made, 60.0) if isinstance(e, ApplyLimits)]
    assert applied == [
        (left + 5.0, ApplyLimits(3, "reuse_last", PUBLIC)),
        (left + 15.0, ApplyLimits(3, "safe", {"public": Limit(7.0)})),
    ]


def test_what_is_safe_is_never_more_than_the_share_was() -> None:
    made = joined(A, leases={"public": Lease(5.0, 0.0, Limit(1000.0))})
    made.closed(1006, "", 1.0)
    applied = [e for _, e in run_to(made, 60.0) if isinstance(e, ApplyLimits)]
    assert applied == [ApplyLimits(3, "safe", PUBLIC)]


def test_an_answer_to_nothing_that_was_asked_renews_no_lease() -> None:
    made = joined(A, leases=SAFE)
    made.received(Reported(number=99), 4.0)
    assert made.tick(5.0)[0] == Log(logging.WARNING, "No manager: the last limits stay in force")


def falls_at(seed: int, source: str, **changes: object) -> float:
    """When a node that restarts for limits falls to `source`, having lost its managers at 0.0."""
    made = session(seed=seed, restarts=True)
    made.start(0.0)
    made.connected(0.0)
    made.received(welcome(made, **changes), 0.0)
    made.closed(1006, "", 0.0)
    applied = [(at, effect) for at, effect in run_to(made, 2000.0) if isinstance(effect, ApplyLimits)]
    return next(at for at, effect in applied if effect.source == source)


@pytest.mark.parametrize(
    ("source", "first", "last", "changes"),
    [
        ("safe", 10.0, 15.0, {"leases": SAFE}),
        ("free", 940.0, 1000.0, {"degrade_after": 1000.0, "free_limits": FREE}),
    ],
)
def test_nodes_that_restart_for_limits_and_lost_their_managers_together_fall_to_others_one_by_one(
    source: str, first: float, last: float, changes: dict[str, object]
) -> None:
    times = [falls_at(seed, source, **changes) for seed in range(12)]
    assert times == [falls_at(seed, source, **changes) for seed in range(12)]
    assert first < min(times) < first + (last - first) / 3
    assert last - (last - first) / 3 < max(times) < last
    assert len({round(at, 2) for at in times}) == len(times)


def test_a_renewed_lease_brings_the_share_back() -> None:
    made = joined(A, leases=SAFE)
    made.closed(1006, "", 1.0)
    run_to(made, 20.0)
    assert made.place.source == "safe"
    made._search.phase = Connecting(A)
    made.connected(20.0)
    effects = made.received(welcome(made, limits_version=4, leases=SAFE), 20.5)
    assert ApplyLimits(4, "lease", PUBLIC) in effects
    assert Renewed(0.5) in effects


def test_a_welcome_whose_limits_follow_leaves_in_force_what_is() -> None:
    made, _ = greeted()
    effects = made.received(welcome(made, limits={}, limits_version=0, limits_follow=True), 0.5)
    assert not [e for e in effects if isinstance(e, ApplyLimits)]
    effects = made.received(LimitsPush(version=1, limits=PUBLIC), 1.0)
    assert ApplyLimits(1, "lease", PUBLIC) in effects


def test_a_hello_brings_the_larger_of_what_holds_and_what_shall_hold() -> None:
    made = joined(A)
    made.limits_applied(3, PUBLIC, 1.0)
    made.received(LimitsPush(version=4, limits={"public": Limit(10.0)}), 2.0)
    assert made.state.in_force == PUBLIC
    effects = made.limits_applied(4, {"public": Limit(10.0)}, 3.0)
    assert effects[-1] == Save(made.state)
    assert made.state.in_force == {"public": Limit(10.0)}


def test_a_restarted_agent_goes_on_where_its_leases_were() -> None:
    saved = NodeState(key=b"k" * 32, limits_version=3, limits=PUBLIC, leases=SAFE)
    made = session(state=saved)
    assert made.start(100.0, 12.0)[0] == ApplyLimits(3, "reuse_last", PUBLIC)
    late = session(state=saved)
    assert late.start(100.0)[0] == ApplyLimits(3, "safe", {"public": Limit(7.0)})


def test_saved_limits_are_reused_from_the_start() -> None:
    made = session(state=NodeState(key=b"k" * 32, limits_version=3, limits=PUBLIC))
    assert made.start(0.0) == [ApplyLimits(3, "reuse_last", PUBLIC), Connect(A)]


def test_without_any_manager_a_node_says_so_in_good_time_and_then_has_the_free_limits() -> None:
    made = alone_for(7 * 86400.0)
    seen = run_to(made, 8 * 86400.0)
    said = [
        (at / 86400, effect.text)
        for at, effect in seen
        if isinstance(effect, Log) and "No manager " in effect.text
    ]
    assert [round(at, 2) for at, _ in said if "heard" in _] == [3.5, 6.0, 6.96]
    applied = [(at, effect) for at, effect in seen if isinstance(effect, ApplyLimits)]
    assert applied[-1] == (7 * 86400.0, ApplyLimits(3, "free", FREE))
    assert not made.place.registered
    assert made.place.degrades_in(8 * 86400.0) == 0.0


def test_how_long_a_node_was_alone_is_counted_over_its_restarts() -> None:
    made = alone_for(1000.0)
    again = session(state=made.state)
    again.start(50.0, silent=990.0)
    assert again.place.registered
    assert again.place.degrades_in(50.0) == pytest.approx(10.0)
    assert any(
        isinstance(effect, ApplyLimits) and effect.source == "free" for _, effect in run_to(again, 60.0)
    )


def test_a_node_that_starts_after_it_has_given_up_never_works_under_what_it_had() -> None:
    made = alone_for(1000.0)
    again = session(state=made.state)
    sources = [effect.source for effect in again.start(0.0, silent=2000.0) if isinstance(effect, ApplyLimits)]
    assert sources == ["free"]


def test_a_host_that_was_suspended_counts_that_as_time_without_a_manager() -> None:
    made = alone_for(1000.0)
    made.place._clock = lambda: replace(CLOCK, running=CLOCK.running + 1000.0)
    assert any(isinstance(effect, ApplyLimits) and effect.source == "free" for effect in made.tick(1.0))


def test_when_a_manager_is_back_a_node_that_gave_up_is_what_it_was() -> None:
    made = alone_for(1000.0)
    run_to(made, 1000.0)
    assert made.place.source == "free"
    made._search.phase = Connecting(A)
    made.connected(1001.0)
    effects = made.received(welcome(made, degrade_after=1000.0, free_limits=FREE), 1001.0)
    assert ApplyLimits(3, "lease", PUBLIC) in effects
    assert made.place.registered
    assert made.state.id == ID


def test_a_node_that_may_be_alone_for_ever_never_gives_up() -> None:
    made = alone_for(0.0)
    run_to(made, 86400.0)
    assert made.place.registered
    assert made.place.degrades_in(86400.0) == inf


BY_BUNDLE = Bundle(
    group="blue",
    issued=0.0,
    expires=1.0,
    managers=(B,),
    limits={"public": Limit(20.0)},
    free_limits=FREE,
    degrade_after=1000.0,
)


def provisional() -> tuple[Session, list[Effect]]:
    made = session()
    return made, made.start(0.0, bundle=BY_BUNDLE)


def test_a_new_node_with_a_bundle_works_under_its_limits_and_tries_its_managers() -> None:
    made, effects = provisional()
    assert ApplyLimits(0, "provisional", BY_BUNDLE.limits) in effects
    assert set(made.managers) == {A, B}
    assert not made.place.registered


def test_once_let_in_a_provisional_node_is_like_any_other() -> None:
    made, _ = provisional()
    made.connected(1.0)
    assert ApplyLimits(3, "lease", PUBLIC) in made.received(welcome(made), 1.0)
    assert made.place.registered


def test_a_provisional_node_that_is_refused_has_the_free_limits() -> None:
    made, _ = provisional()
    made.connected(1.0)
    effects = made.received(Refused(code="full", sentence=SENTENCE, free_limits=FREE), 1.0)
    assert ApplyLimits(0, "free", FREE) in effects


def test_a_provisional_node_that_no_manager_lets_in_has_the_free_limits_after_all() -> None:
    made, _ = provisional()
    seen = run_to(made, 1000.0)
    assert any(isinstance(effect, ApplyLimits) and effect.source == "free" for _, effect in seen)


def test_a_node_that_was_let_in_before_needs_no_bundle() -> None:
    before = joined().state
    made = session(state=before)
    assert not any(
        isinstance(e, ApplyLimits) and e.source == "provisional" for e in made.start(0.0, bundle=BY_BUNDLE)
    )
