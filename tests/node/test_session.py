"""The session, called directly: what happened goes in, effects come out."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.backoff import full_jitter
from node.bundle import Bundle
from node.candidates import Candidates
from node.effects import ApplyLimits, Close, Connect, Effect, Log, LookUp, NodeState, Renewed, Save, Send
from node.life import Clock
from node.phases import Connecting, Greeting, Joined, Waiting
from node.protocol import (
    CLOSE_GOING,
    CLOSE_MOVING,
    CLOSE_PROTOCOL,
    CLOSE_SUPERSEDED,
    Ask,
    Behind,
    Clone,
    Hello,
    Here,
    Lease,
    Leases,
    Leave,
    Limit,
    LimitsPush,
    Managers,
    Order,
    Redirect,
    Refused,
    Report,
    Reported,
    Served,
    Void,
    Welcome,
)
from node.search import HELLOS_MAX
from node.session import Session

CLOCK = Clock("boot", 100.0, 1_800_000_000.0)
ID = "krakend_3f20a44d-3d93-4bc9-829b-b76b22055142"
A, B, C = "10.0.0.1:7000", "10.0.0.2:7000", "10.0.0.3:7000"
PUBLIC = {"public": Limit(100.0, 1.0)}
FREE = {"public": Limit(5.0, 1.0)}
SENTENCE = "Your current subscription does not allow more nodes running. Please upgrade to add more nodes."


def session(*seeds: str, state: NodeState | None = None, seed: int = 1, restarts: bool = False) -> Session:
    return Session(
        seeds=seeds or (A,),
        state=state,
        rng=Random(seed),
        clock=lambda: CLOCK,
        name="edge",
        agent_version="1",
        restarts_for_limits=restarts,
    )


def greeted(*seeds: str, state: NodeState | None = None) -> tuple[Session, list[Effect]]:
    made = session(*seeds, state=state)
    made.start(0.0)
    return made, made.connected(0.0)


def welcome(made: Session, **changes: object) -> Welcome:
    plain = Welcome(
        id=ID,
        ticket="t",
        incarnation=made.state.incarnation,
        manager="m1",
        limits_version=3,
        limits=PUBLIC,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def joined(*seeds: str, managers: tuple[str, ...] = (), leases: Leases | None = None) -> Session:
    made, _ = greeted(*seeds)
    made.received(welcome(made, managers=managers, leases=leases or {}), 0.0)
    assert isinstance(made.phase, Joined)
    return made


def alone_for(degrade_after: float, **changes: object) -> Session:
    """Joined at 0.0, and without a manager from then on."""
    made, _ = greeted()
    made.received(welcome(made, degrade_after=degrade_after, free_limits=FREE, **changes), 0.0)
    made.closed(1006, "", 0.0)
    return made


def run_to(made: Session, until: float) -> list[tuple[float, Effect]]:
    """Tick at each deadline up to `until`, answering no connect."""
    seen: list[tuple[float, Effect]] = []
    while (due := made.next_deadline()) is not None and due <= until:
        seen += [(due, effect) for effect in made.tick(due)]
    return seen


def without_logs(effects: Iterable[Effect]) -> list[Effect]:
    return [effect for effect in effects if not isinstance(effect, Log)]


def test_a_first_start_connects_at_once_and_has_no_limits_to_reuse() -> None:
    assert session().start(0.0) == [Connect(A)]


def test_each_address_of_a_name_is_tried_before_the_name_is_looked_up_again() -> None:
    name = "dns://managers:7000"
    made = session(name)
    assert made.start(0.0) == [LookUp(name)]
    assert made.looked_up(name, [A, B], 0.1) == [Connect(A)]
    assert isinstance(made.phase, Connecting)
    made.connect_failed("refused", 0.2)
    assert without_logs(effect for _, effect in run_to(made, 10.0)) == [Connect(B)]
    made.connect_failed("refused", 10.0)
    assert without_logs(effect for _, effect in run_to(made, 30.0)) == [LookUp(name)]
    assert made.looked_up(name, [C], 30.0) == [Connect(C)]


def test_a_name_that_does_not_resolve_is_said_and_tried_again() -> None:
    name = "dns://managers:7000"
    made = session(name)
    made.start(0.0)
    [said] = made.looked_up(name, [], 0.1)
    assert isinstance(said, Log)
    assert "No manager at dns://managers:7000: the name does not resolve; next try in" in said.text
    assert [effect for _, effect in run_to(made, 20.0)] == [LookUp(name)]


def test_what_a_name_stands_for_and_managers_told_of_is_tried_once_in_a_round() -> None:
    name = "dns://managers:7000"
    candidates = Candidates([name])
    candidates.learn((A, B))
    for seed in range(20):
        rng, tried = Random(seed), []
        candidates.restart(rng)
        while not candidates.round:
            tried.append(candidates.next(rng))
            if tried[-1] == name:
                candidates.expand([A, B, C])
        assert sorted(tried[:-1]) == sorted([name, A, B, C])


def test_a_name_that_is_found_after_the_node_was_stopped_leads_nowhere() -> None:
    name = "dns://managers:7000"
    made = session(name)
    made.start(0.0)
    made.leave("stopped", 0.1)
    assert made.looked_up(name, [A], 0.2) == []


def test_the_raised_incarnation_is_saved_before_each_hello() -> None:
    _, effects = greeted(state=NodeState(key=b"k" * 32, id=ID, ticket="t", incarnation=7))
    hello = Hello(
        key=b"k" * 32,
        id=ID,
        ticket="t",
        incarnation=8,
        nonce=Random(1).getrandbits(63),
        name="edge",
        agent_version="1",
    )
    assert effects == [
        Save(NodeState(key=b"k" * 32, id=ID, ticket="t", incarnation=8)),
        Send(hello),
    ]


def test_an_unanswered_hello_costs_an_incarnation_too() -> None:
    made, _ = greeted()
    made.closed(1006, "reset", 1.0)
    assert [effect for _, effect in run_to(made, 60.0)] == [Connect(A)]
    assert made.connected(2.0)[0] == Save(replace(made.state, incarnation=2))


def test_an_attempt_that_ends_from_within_is_a_failed_one() -> None:
    made = session()
    made.start(0.0)
    made.closed(1011, "our own fault", 0.0)
    assert isinstance(made.phase, Waiting)


def test_a_hello_says_which_limits_were_the_last() -> None:
    _, effects = greeted(state=NodeState(key=b"k" * 32, limits_version=3, limits=PUBLIC))
    assert [
        e.message.limits_version for e in effects if isinstance(e, Send) and isinstance(e.message, Hello)
    ] == [3]


def test_the_key_is_drawn_once_and_kept() -> None:
    made, effects = greeted()
    assert isinstance(effects[0], Save)
    assert len(effects[0].state.key) == 32
    made.closed(1006, "reset", 1.0)
    run_to(made, 60.0)
    assert made.connected(2.0)[0] == Save(replace(effects[0].state, incarnation=2))


def test_reports_tell_of_traffic_that_changed_and_all_of_it_in_a_new_session() -> None:
    def told(effects: list[Effect]) -> list[tuple[Served, ...]]:
        sent = [effect.message for effect in effects if isinstance(effect, Send)]
        return [message.served for message in sent if isinstance(message, Report)]

    made, _ = greeted()
    a, b = Served("endpoint", "a", 1, 0, 0.1), Served("backend", "b", 2, 1, 0.2)
    made.served = (a, b)
    assert told(made.received(welcome(made), 0.5)) == [(a, b)]
    assert told(made.noticed(1.0)) == [()]
    made.served = (a, more := replace(b, requests=3))
    assert told(made.noticed(2.0)) == [(more,)]
    made.closed(1006, "reset", 3.0)
    run_to(made, 60.0)
    made.connected(60.0)
    assert told(made.received(welcome(made), 60.5)) == [(a, more)]


def test_a_welcome_brings_id_ticket_and_limits_and_is_answered_by_a_report() -> None:
    made, _ = greeted()
    made.gateway, made.counters = "command: running", {"requests": 5.0}
    report = Report(number=1, gateway="command: running", counters={"requests": 5.0})
    assert made.received(welcome(made), 0.5) == [
        Log(logging.INFO, f"Joined as {ID}, manager m1 ({A})"),
        Log(logging.INFO, "Limits received, version 3: public 100 per 1 s"),
        ApplyLimits(3, "lease", PUBLIC),
        Renewed(0.5),
        Send(report),
        Save(replace(made.state, id=ID, ticket="t", limits_version=3, limits=PUBLIC)),
    ]


def test_a_report_leaves_every_heartbeat_while_the_manager_answers() -> None:
    made = joined()
    sent = []
    for _ in range(3):
        due = made.next_deadline()
        assert due is not None
        sent += [(due, effect.message) for effect in made.tick(due) if isinstance(effect, Send)]
        made.received(Reported(number=1), due)
    assert sent == [(5.0 * n, Report(number=n + 1)) for n in (1, 2, 3)]


def test_a_tick_that_comes_early_or_twice_does_nothing() -> None:
    made = joined()
    assert made.tick(4.9) == []
    assert without_logs(made.tick(5.0)) != []
    assert made.tick(5.0) == []


def test_a_manager_silent_for_three_heartbeats_is_left_for_another() -> None:
    made = joined(A, managers=(A, B))
    effects = run_to(made, 16.0)
    assert (15.0, Close(CLOSE_MOVING, "silent for 15 s")) in effects
    at, effect = effects[-1]
    assert effect == Connect(B)
    assert at <= 15.3


def test_a_hello_unanswered_for_ten_seconds_is_given_up() -> None:
    made, _ = greeted()
    assert made.tick(9.9) == []
    assert Close(CLOSE_MOVING, "no answer to our hello") in made.tick(10.0)
    assert isinstance(made.phase, Waiting)


@pytest.mark.parametrize("seed", range(20))
def test_after_a_lost_session_another_manager_is_tried_within_300_ms(seed: int) -> None:
    made = session(A, B, seed=seed)
    connect = made.start(0.0)[0]
    assert isinstance(connect, Connect)
    made.connected(0.0)
    made.received(welcome(made, managers=(A, B, C)), 0.0)
    made.closed(1006, "reset", 20.0)
    assert isinstance(made.phase, Waiting)
    assert made.phase.address != connect.address
    assert made.phase.until <= 20.3


def test_a_seed_known_by_two_names_is_not_another_manager() -> None:
    made = session("m1.example:7000")
    made.start(0.0)
    made.connected(0.0, remote=A)
    made.received(welcome(made, managers=(A, B)), 0.0)
    made.closed(1006, "reset", 20.0)
    assert isinstance(made.phase, Waiting)
    assert made.phase.address == B


def test_when_nobody_answers_all_are_tried_in_turn_with_growing_back_off_and_a_line_each() -> None:
    made = joined(A, managers=(A, B, C))
    now = 20.0
    effects = made.closed(1006, "reset", now)
    tried, waits = [], []
    for _ in range(60):
        assert isinstance(made.phase, Waiting)
        tried.append(made.phase.address)
        waits.append(made.phase.until - now)
        now = made.phase.until
        assert Connect(tried[-1]) in run_to(made, now)[-1]
        effects = made.connect_failed("connection refused", now)
        assert isinstance(made.phase, Waiting)
        wait = f"next try in {made.phase.until - now:.1f} s at {made.phase.address}"
        assert effects == [Log(logging.WARNING, f"No manager at {tried[-1]}: connection refused; {wait}")]
    assert all({*tried[n : n + 3]} == {A, B, C} for n in range(0, 60, 3))
    assert max(waits[:3]) <= 0.5
    assert 5.0 < max(waits) <= 15.0


def test_sessions_that_end_at_once_again_and_again_are_backed_off() -> None:
    made = session(A)
    made.start(0.0)
    waits = []
    now = 0.0
    for _ in range(20):
        made.connected(now)
        made.received(welcome(made), now)
        made.closed(1006, "reset", now)
        assert isinstance(made.phase, Waiting)
        waits.append(made.phase.until - now)
        now = made.phase.until
        made.tick(now)
    assert max(waits[:2]) <= 0.3
    assert max(waits) > 3.0


def test_a_refusal_is_printed_as_it_stands_and_the_free_limits_apply_until_the_retry() -> None:
    limits = {**PUBLIC, "internal": Limit(9.0, 1.0)}
    made, _ = greeted(state=NodeState(key=b"k" * 32, incarnation=1, limits_version=3, limits=limits))
    effects = made.received(
        Refused(code="full", sentence=SENTENCE, retry_after=20.0, free_limits={"public": Limit(1.0, 1.0)}),
        1.0,
    )
    assert effects[:3] == [
        Log(logging.WARNING, SENTENCE),
        ApplyLimits(3, "free", {"public": Limit(1.0, 1.0), "internal": Limit(9.0, 1.0)}),
        Close(1000),
    ]
    due = made.next_deadline()
    assert due is not None
    assert 11.0 <= due <= 31.0
    assert made.tick(due) == [Connect(A)]
    made.connected(due)
    assert ApplyLimits(4, "lease", PUBLIC) in made.received(welcome(made, limits_version=4), due)


def test_a_manager_that_is_starting_refuses_nothing_for_good() -> None:
    made, _ = greeted(A, B)
    effects = made.received(Refused(code="starting", sentence="Starting", retry_after=15.0), 1.0)
    assert without_logs(effects) == [Close(1000)]
    assert isinstance(made.phase, Waiting)
    assert made.phase.until <= 1.5


def test_who_is_behind_goes_above_on_the_same_connection() -> None:
    made, _ = greeted()
    effects = made.received(Behind(incarnation=41), 0.1)
    assert effects[0] == Save(replace(made.state, incarnation=42))
    assert isinstance(effects[1], Send)
    assert isinstance(effects[1].message, Hello)
    assert effects[1].message.incarnation == 42
    assert len(effects) == 2


def test_who_is_behind_goes_above_also_when_joined_or_told_by_a_welcome() -> None:
    made = joined()
    assert made.received(Behind(incarnation=9), 3.0)[0] == Save(replace(made.state, incarnation=10))
    assert made.received(welcome(made, incarnation=20), 3.0)[0] == Save(replace(made.state, incarnation=21))


def test_a_welcome_that_answers_an_earlier_hello_is_ignored() -> None:
    made, _ = greeted()
    made.received(Behind(incarnation=41), 0.1)
    assert made.received(welcome(made, incarnation=1), 0.2) == []
    assert isinstance(made.phase, Greeting)


def test_endless_and_absurd_incarnations_break_the_protocol() -> None:
    made, _ = greeted()
    for _ in range(HELLOS_MAX - 1):
        assert isinstance(made.received(Behind(incarnation=made.state.incarnation), 0.1)[0], Save)
    assert Close(CLOSE_PROTOCOL, f"{HELLOS_MAX} hellos without a welcome") in made.received(
        Behind(incarnation=made.state.incarnation), 0.1
    )
    made, _ = greeted()
    assert Close(CLOSE_PROTOCOL, f"incarnation {2**62} is absurd") in made.received(
        Behind(incarnation=2**62), 0.1
    )


def test_a_clone_becomes_a_newcomer_on_the_same_connection() -> None:
    old = NodeState(key=b"k" * 32, id=ID, ticket="t", incarnation=7, limits_version=3, limits=PUBLIC)
    made, _ = greeted(state=old)
    effects = made.received(Clone(sentence="Another process of this id lives"), 0.1)
    assert effects[0] == Log(logging.WARNING, "Another process of this id lives")
    assert isinstance(effects[1], Save)
    saved = effects[1].state
    assert saved.key != old.key
    assert saved == replace(old, key=saved.key, id="", ticket="", incarnation=1, in_force=PUBLIC)
    assert isinstance(effects[2], Send)


def test_an_ask_is_answered_at_once() -> None:
    assert joined().received(Ask(number=12), 0.1) == [Send(Here(number=12))]


def test_a_push_of_limits_is_applied_and_saved_and_confirmed_once_the_gateway_has_them() -> None:
    made = joined()
    limits = {"public": Limit(50.0, 1.0)}
    assert without_logs(made.received(LimitsPush(version=4, limits=limits), 2.0)) == [
        ApplyLimits(4, "lease", limits),
        Save(replace(made.state, limits_version=4, limits=limits)),
    ]
    assert made.limits_applied(4, PUBLIC, 2.5) == [Send(Report(number=2, limits_version=4))]
    assert made.received(LimitsPush(version=3, limits=PUBLIC), 2.1) == []


def test_a_ticket_is_void_by_a_word_about_the_present_session_alone() -> None:
    """A late word about an earlier one would cost a ticket that was given since."""
    made, _ = greeted()
    made.received(welcome(made), 0.1)
    held, incarnation = made.state.ticket, made.state.incarnation
    assert made.received(Void(incarnation=incarnation - 1), 0.2) == []
    assert made.state.ticket == held
    effects = made.received(Void(incarnation=incarnation), 0.3)
    [hello] = [one.message for one in effects if isinstance(one, Send)]
    assert isinstance(hello, Hello)
    assert (hello.ticket, hello.incarnation) == ("", incarnation + 1)


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
    assert made.source == "lease"
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
    assert made.source == "safe"
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


def test_a_redirect_moves_to_the_first_that_is_named() -> None:
    made = joined(A)
    effects = made.received(Redirect(managers=(C, B)), 2.0)
    assert without_logs(effects) == [Close(CLOSE_MOVING, "moving")]
    assert isinstance(made.phase, Waiting)
    assert made.phase.address == C
    assert made.phase.until <= 2.3
    made.tick(made.phase.until)
    made.connect_failed("connection refused", 2.3)
    assert isinstance(made.phase, Waiting)
    assert made.phase.address == B


def test_a_redirect_to_nowhere_else_moves_nothing_unless_the_manager_goes() -> None:
    made = joined(A)
    assert made.received(Redirect(managers=(A,)), 2.0) == []
    assert without_logs(made.received(Redirect(managers=(), going=True), 2.0)) == [
        Close(CLOSE_MOVING, "moving")
    ]


def test_a_manager_that_goes_is_left_for_another_at_once() -> None:
    made = joined(A)
    made.received(Managers(managers=(A, B)), 1.0)
    effects = made.closed(CLOSE_GOING, "", 20.0)
    assert isinstance(made.phase, Waiting)
    assert made.phase.address == B
    assert made.phase.until <= 20.3
    assert isinstance(effects[0], Log)
    assert effects[0].level == logging.INFO


def test_a_superseded_session_comes_again_only_after_a_while() -> None:
    made = joined(A, B)
    made.closed(CLOSE_SUPERSEDED, "", 20.0)
    assert isinstance(made.phase, Waiting)
    assert 27.5 <= made.phase.until <= 42.5


def test_leaving_says_so_and_ends_everything() -> None:
    made = joined()
    assert made.leave("stopped", 2.0) == [Send(Leave(reason="stopped")), Close(1000)]
    assert made.next_deadline() is None
    assert made.tick(99.0) == made.closed(1000, "", 99.0) == made.received(Ask(number=1), 99.0) == []


def test_leaving_while_connecting_or_waiting_gives_the_attempt_up() -> None:
    made = session()
    made.start(0.0)
    assert made.leave("stopped", 0.1) == [Close(1000)]
    made = session()
    made.start(0.0)
    made.connect_failed("connection refused", 0.1)
    assert made.leave("stopped", 0.2) == []


def test_no_hello_leaves_with_an_incarnation_that_is_not_on_disk() -> None:
    made, _ = greeted()
    effects = made.save_failed("no space left on device", 0.1)
    assert without_logs(effects) == [Close(1000)]
    assert isinstance(made.phase, Waiting)


def test_limits_that_cannot_be_saved_cost_no_session() -> None:
    made = joined()
    assert made.save_failed("no space left on device", 0.1) == [
        Log(logging.WARNING, "The state is not saved: no space left on device")
    ]
    assert isinstance(made.phase, Joined)


def test_an_order_is_on_disk_before_the_manager_hears_that_it_was_taken() -> None:
    made = joined()
    made.gateway = "nginx: running"
    effects = without_logs(made.received(Order(serial=4, writer="m2", action="cordon"), 1.0))
    match effects:
        case [Save(state), Send(Report() as report)]:
            assert (state.service, state.order) == ("cordoned", (4, "m2"))
            assert (report.config.service, report.config.ready) == ("cordoned", False)
            assert (report.config.order_serial, report.config.order_writer) == (4, "m2")
            assert report.gateway == "nginx: running, cordoned"
        case _:
            raise AssertionError(effects)
    again, effects = greeted(state=made.state)
    assert again.service.shown == "cordoned"
    [said] = [e.message for e in effects if isinstance(e, Send) and isinstance(e.message, Hello)]
    assert (said.config.service, said.gateway) == ("cordoned", ": cordoned")


def test_what_a_manager_never_says_breaks_the_protocol() -> None:
    effects = joined().received(Leave(), 0.1)
    assert effects[0] == Close(CLOSE_PROTOCOL, "a manager does not say leave")
    made, _ = greeted()
    assert Close(CLOSE_PROTOCOL, "a welcome without a node id") in made.received(welcome(made, id="x"), 0.1)


@given(st.integers(0, 10_000), st.integers(0, 2**32))
def test_full_jitter_stays_below_its_step_and_its_cap(step: int, seed: int) -> None:
    assert 0.0 <= full_jitter(step, Random(seed)) <= min(15.0, 0.5 * 2 ** min(step, 10))


def test_each_round_tries_everyone_once() -> None:
    candidates, rng = Candidates([A, B, A]), Random(1)
    candidates.learn((B, C))
    candidates.learn(())
    candidates.restart(rng, first=(C,), last=(A,))
    assert [candidates.next(rng) for _ in range(3)] == [C, B, A]
    assert candidates.round == 0
    assert {candidates.next(rng) for _ in range(3)} == {A, B, C}
    assert candidates.round == 1


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
    assert not made.registered
    assert made.degrades_in(8 * 86400.0) == 0.0


def test_how_long_a_node_was_alone_is_counted_over_its_restarts() -> None:
    made = alone_for(1000.0)
    again = session(state=made.state)
    again.start(50.0, silent=990.0)
    assert again.registered
    assert again.degrades_in(50.0) == pytest.approx(10.0)
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
    made._clock = lambda: replace(CLOCK, running=CLOCK.running + 1000.0)
    assert any(isinstance(effect, ApplyLimits) and effect.source == "free" for effect in made.tick(1.0))


def test_when_a_manager_is_back_a_node_that_gave_up_is_what_it_was() -> None:
    made = alone_for(1000.0)
    run_to(made, 1000.0)
    assert made.source == "free"
    made._search.phase = Connecting(A)
    made.connected(1001.0)
    effects = made.received(welcome(made, degrade_after=1000.0, free_limits=FREE), 1001.0)
    assert ApplyLimits(3, "lease", PUBLIC) in effects
    assert made.registered
    assert made.state.id == ID


def test_a_node_that_may_be_alone_for_ever_never_gives_up() -> None:
    made = alone_for(0.0)
    run_to(made, 86400.0)
    assert made.registered
    assert made.degrades_in(86400.0) == inf


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
    assert not made.registered


def test_once_let_in_a_provisional_node_is_like_any_other() -> None:
    made, _ = provisional()
    made.connected(1.0)
    assert ApplyLimits(3, "lease", PUBLIC) in made.received(welcome(made), 1.0)
    assert made.registered


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
