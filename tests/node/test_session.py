"""The session, called directly: what happened goes in, effects come out."""

import logging
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.backoff import full_jitter
from node.candidates import Candidates
from node.effects import ApplyLimits, Close, Connect, Effect, Log, LookUp, NodeState, Renewed, Save, Send
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
)
from node.search import HELLOS_MAX
from tests.node.sessions import (
    ID,
    PUBLIC,
    SENTENCE,
    A,
    B,
    C,
    greeted,
    joined,
    run_to,
    session,
    welcome,
    without_logs,
)


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
    assert again.duties.service.shown == "cordoned"
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
