"""The membership state machine, by calling it and comparing what it asks for."""

from dataclasses import replace
from itertools import count
from random import Random

import pytest

from gossip.config import LAN
from gossip.effects import (
    CannotRefute,
    MemberChanged,
    NameConflict,
    OpenStream,
    OtherGroup,
    Output,
    PeerFailed,
    Rejected,
    Resolve,
    RoundaboutOnly,
    Send,
)
from gossip.incarnations import AHEAD_MAX
from gossip.messages import (
    Ack,
    Address,
    Alive,
    Dead,
    IndirectPing,
    MemberState,
    Message,
    Nack,
    Ping,
    PushPull,
    State,
    Suspect,
    Versions,
)
from gossip.swim import Swim
from gossip.wire import encode_packet

WALL = 1_800_000_000.0
ME = Address("10.0.0.1", 7946)
LATER = b"later"
"""What a process of our name says that started after us."""


def address(number: int) -> Address:
    return Address(f"10.0.0.{number}", 7946)


def swim(*others: str, peers: tuple[str, ...] = (), came_later: bool = False, seed: int = 1) -> Swim:
    """`m1`, which has met `others` (`m2` at 10.0.0.2 …) and has nothing left to tell."""
    core = Swim(
        name="m1",
        address=ME,
        meta=b"",
        incarnation=10,
        came_later=lambda meta: came_later and meta != LATER,
        group_of=lambda meta: "green" if meta == b"green" else None,
        tokens=count(1),
        wall=lambda now: WALL + now,
        peers=peers,
        config=LAN,
        random=Random(seed),
        now=0.0,
    )
    for name in others:
        core.receive(Alive(name, 1, address(int(name[1:]))), address(2), 0.0)
    core.broadcasts.take(10**6, 0, 1, 10**6)
    return core


def state_of(core: Swim, name: str) -> State:
    member = core.members.get(name)
    assert member is not None
    return member.state


def sent(output: list[Output]) -> list[tuple[Address, tuple[Message, ...]]]:
    return [(item.address, item.messages) for item in output if isinstance(item, Send)]


def told(core: Swim) -> list[Message]:
    """What it would gossip now."""
    return core.broadcasts.take(10**6, 0, 10**6, 10**6)


def next_probe(core: Swim, now: float) -> tuple[float, Ping, list[Output]]:
    """Let time pass until it pings somebody directly."""
    for _ in range(50):
        now = max(now, core.next_deadline())
        output = core.tick(now)
        for _, messages in sent(output):
            if isinstance(messages[0], Ping):
                return now, messages[0], output
    raise AssertionError("it never probes")


def run(core: Swim, now: float, until: float) -> list[Output]:
    """Let time pass, nobody answering."""
    output: list[Output] = []
    while core.next_deadline() <= until:
        now = max(now, core.next_deadline())
        output += core.tick(now)
    return output


def test_a_ping_is_acknowledged_to_its_sender() -> None:
    assert swim("m2").receive(Ping(7, "m1"), address(2), 1.0) == [Send(address(2), (Ack(7),))]


def test_a_ping_for_somebody_else_is_not_answered() -> None:
    assert swim("m2").receive(Ping(7, "m9"), address(2), 1.0) == [Rejected("ping_for_another")]


def test_an_ack_goes_where_the_ping_asks_if_a_member_lives_there() -> None:
    output = swim("m2", "m3").receive(Ping(7, "m1", address(3)), address(2), 1.0)
    assert output == [Send(address(3), (Ack(7),))]


def test_an_ack_never_goes_to_a_stranger_whom_the_ping_names() -> None:
    output = swim("m2").receive(Ping(7, "m1", Address("192.0.2.9", 53)), address(2), 1.0)
    assert output == [Send(address(2), (Ack(7),))]


def test_an_indirect_ping_is_passed_to_a_known_member_and_its_ack_back() -> None:
    core = swim("m2", "m3")
    [ping_sent] = core.receive(IndirectPing(7, "m3", address(3), nack=True), address(2), 1.0)
    assert isinstance(ping_sent, Send)
    [ping] = ping_sent.messages
    assert isinstance(ping, Ping)
    assert (ping_sent.address, ping.target) == (address(3), "m3")
    assert core.receive(Ack(ping.number), address(3), 1.2) == [Send(address(2), (Ack(7),))]


def test_a_helper_without_an_ack_says_so_before_the_probe_of_the_asker_is_over() -> None:
    core = swim("m2", "m3")
    run(core, 0.0, 1.0)
    core.receive(IndirectPing(7, "m3", address(3), nack=True), address(2), 1.0)
    in_time = LAN.probe_interval - LAN.probe_timeout
    assert sent(run(core, 1.0, 1.0 + 0.9 * in_time)).count((address(2), (Nack(7),))) == 1


def test_an_ack_that_comes_after_the_nack_is_passed_on_and_no_second_nack_is_sent() -> None:
    core = swim("m2", "m3")
    run(core, 0.0, 1.0)
    [request] = core.receive(IndirectPing(7, "m3", address(3), nack=True), address(2), 1.0)
    assert isinstance(request, Send)
    assert isinstance(request.messages[0], Ping)
    run(core, 1.0, 1.45)
    assert sent(core.receive(Ack(request.messages[0].number), address(3), 1.45)) == [(address(2), (Ack(7),))]
    assert (address(2), (Nack(7),)) not in sent(run(core, 1.46, 2.0))


def test_an_indirect_ping_cannot_be_aimed_at_an_address_of_the_askers_choice() -> None:
    request = IndirectPing(7, "m3", Address("192.0.2.9", 53), nack=True)
    assert swim("m2", "m3").receive(request, address(2), 1.0) == [Rejected("indirect_ping_for_stranger")]


def test_every_member_is_probed_once_per_cycle() -> None:
    """Row B7: a biased order probes some members late or never."""
    core = swim(*(f"m{number}" for number in range(2, 12)))
    now, probed = 0.0, []
    for _ in range(30):
        now, ping, _ = next_probe(core, now)
        core.receive(Ack(ping.number), address(int(ping.target[1:])), now)
        probed.append(ping.target)
    for cycle in (probed[:10], probed[10:20], probed[20:30]):
        assert sorted(cycle, key=lambda name: int(name[1:])) == [f"m{number}" for number in range(2, 12)]


def test_without_an_ack_others_are_asked_before_anything_is_said() -> None:
    """Row B27: suspicion must not spread before the indirect probes ran."""
    core = swim("m2", "m3", "m4", "m5")
    now, ping, _ = next_probe(core, 0.0)
    output = run(core, now, now + LAN.probe_timeout + 0.01)
    asked = [messages[0] for _, messages in sent(output) if isinstance(messages[0], IndirectPing)]
    assert {request.target for request in asked if isinstance(request, IndirectPing)} == {ping.target}
    assert len(asked) == LAN.indirect_checks
    assert any(isinstance(item, OpenStream) and isinstance(item.message, Ping) for item in output)
    assert state_of(core, ping.target) is State.ALIVE
    assert told(core) == []


def test_in_a_group_of_three_the_only_helper_is_always_asked() -> None:
    """Row B5: a sample that misses the one candidate."""
    for seed in range(200):
        core = swim("m2", "m3", seed=seed)
        now, ping, _ = next_probe(core, 0.0)
        output = run(core, now, now + LAN.probe_timeout + 0.01)
        helpers = [where for where, messages in sent(output) if isinstance(messages[0], IndirectPing)]
        assert helpers == [address(5 - int(ping.target[1:]))]


def test_a_relayed_ack_clears_the_target() -> None:
    core = swim("m2", "m3")
    now, ping, _ = next_probe(core, 0.0)
    run(core, now, now + 0.6)
    core.receive(Ack(ping.number), address(3), now + 0.7)
    run(core, now + 0.7, now + 1.05)
    assert state_of(core, ping.target) is State.ALIVE


def test_an_ack_by_tcp_clears_the_target() -> None:
    """Row B43: a helper that is down does not count against the target."""
    core = swim("m2", "m3")
    now, ping, _ = next_probe(core, 0.0)
    output = run(core, now, now + 0.6)
    [stream] = [item for item in output if isinstance(item, OpenStream) and isinstance(item.message, Ping)]
    core.stream_answered(stream.token, Ack(ping.number), now + 0.8)
    run(core, now + 0.8, now + 1.05)
    assert state_of(core, ping.target) is State.ALIVE


@pytest.mark.parametrize("left", [True, False])
def test_that_nobody_answers_where_a_gone_member_was_is_no_news(left: bool) -> None:
    core = swim("m2", peers=("m2",))
    core.receive(Dead("m2", 1, "m2" if left else "m1"), address(2), 0.0)
    now, output = 0.0, list[Output]()
    while now < 20.0:
        now = max(now, core.next_deadline())
        for item in core.tick(now):
            tried = core.resolved("m2", [address(2)], now) if isinstance(item, Resolve) else [item]
            for join in tried:
                if isinstance(join, OpenStream):
                    output += core.stream_answered(join.token, None, now)
    assert core.rejoin.unmet() == ["m2"]
    assert output == []


def probe_by_tcp(core: Swim, now: float) -> tuple[float, list[Output]]:
    """Let it probe `m2`, which answers by TCP alone."""
    now, ping, _ = next_probe(core, now)
    output = run(core, now, now + 0.6)
    [stream] = [item for item in output if isinstance(item, OpenStream) and isinstance(item.message, Ping)]
    return now + 0.6, core.stream_answered(stream.token, Ack(ping.number), now + 0.6)


def test_a_member_that_udp_does_not_reach_is_said_once_until_it_does() -> None:
    core = swim("m2")
    now, output = 0.0, list[Output]()
    for _ in range(5):
        now, said = probe_by_tcp(core, now)
        output += said
    assert output == [RoundaboutOnly("m2", address(2), by_tcp=True)]
    now, ping, _ = next_probe(core, now)
    core.receive(Ack(ping.number), address(2), now + 0.01)
    for _ in range(2):
        now, said = probe_by_tcp(core, now)
        assert said == []
    _, said = probe_by_tcp(core, now)
    assert said == [RoundaboutOnly("m2", address(2), by_tcp=True)]


def test_a_silent_member_is_suspected_and_then_declared_dead() -> None:
    core = swim("m2")
    output = run(core, 0.0, 8.0)
    changes = [item for item in output if isinstance(item, MemberChanged)]
    assert [(c.before, c.after) for c in changes] == [
        (State.ALIVE, State.SUSPECT),
        (State.SUSPECT, State.DEAD),
    ]


def death_of_m2(core: Swim, accusers: list[str], now: float) -> float:
    """When `m2` is declared dead, accused by `accusers` at `now`, nobody answering any more."""
    for accuser in accusers:
        core.receive(Suspect("m2", 1, accuser), address(3), now)
    start = now
    while state_of(core, "m2") is not State.DEAD:
        now = max(now, core.next_deadline())
        for item in core.tick(now):
            # Everybody else is well.
            if (
                isinstance(item, Send)
                and isinstance(item.messages[0], Ping)
                and item.messages[0].target != "m2"
            ):
                core.receive(Ack(item.messages[0].number), item.address, now)
    return now - start


def test_in_a_group_of_three_one_accuser_alone_does_not_bring_a_member_down_quickly() -> None:
    """memberlist waits for no confirmation there, so that whoever is slow himself takes down the healthy."""
    core = swim("m2", "m3")
    core.receive(Suspect("m2", 1, "m1"), address(3), 0.0)
    member = core.members.get("m2")
    assert member is not None
    assert member.suspicion is not None
    assert core._claims.suspects._end(member) == 24.0


def test_with_all_confirmations_it_is_given_up_sooner_than_by_memberlist() -> None:
    assert death_of_m2(swim("m2", "m3"), ["m3"], 0.0) == 3.0
    assert death_of_m2(swim("m2", "m3", "m4", "m5"), ["m3", "m4", "m5"], 0.0) == 3.0


def test_while_one_confirmation_of_three_is_missing_a_suspect_has_longer() -> None:
    assert death_of_m2(swim("m2", "m3", "m4", "m5", "m6"), ["m3", "m4"], 0.0) == 7.357


def test_where_nobody_could_confirm_the_suspicion_is_short() -> None:
    assert death_of_m2(swim("m2"), ["m2x"], 0.0) == 4.0


def test_whoever_is_accused_by_another_is_probed_next() -> None:
    core = swim(*(f"m{number}" for number in range(2, 12)))
    core.receive(Suspect("m7", 1, "m3"), address(3), 0.0)
    _, ping, output = next_probe(core, 0.0)
    assert ping.target == "m7"
    assert (address(7), (ping, Suspect("m7", 1, "m1"))) in sent(output)


def test_who_is_not_waiting_for_an_answer_gives_a_second_opinion_within_half_an_interval() -> None:
    core = swim(*(f"m{number}" for number in range(2, 12)))
    begun, ping, _ = next_probe(core, 0.0)
    core.receive(Ack(ping.number), address(2), begun + 0.01)
    core.receive(Suspect("m7", 1, "m3"), address(3), begun + 0.02)
    at, ping, _ = next_probe(core, begun + 0.02)
    assert (ping.target, at) == ("m7", begun + LAN.probe_interval / 2)


def test_however_many_are_accused_we_probe_twice_in_an_interval_at_the_most() -> None:
    core = swim(*(f"m{number}" for number in range(2, 30)))
    now, pings = 0.0, 0
    for number in range(1000):
        now = number * 0.01
        for item in core.receive(Suspect(f"m{2 + number % 28}", 1, "m3"), address(3), now) + core.tick(now):
            if isinstance(item, Send) and isinstance(item.messages[0], Ping):
                pings += 1
                core.receive(Ack(item.messages[0].number), item.address, now)
    assert pings <= 2 * 10 + 1


def test_a_late_call_is_our_own_fault_and_nobody_is_judged_for_it() -> None:
    """Row B23: the event loop was blocked, or the process stopped, for three seconds."""
    core = swim("m2", "m3")
    now, ping, _ = next_probe(core, 0.0)
    core.receive(Suspect("m3", 1, "m2"), address(2), now)
    late = now + 30.0
    core.tick(late)
    assert state_of(core, "m3") is State.SUSPECT
    assert state_of(core, ping.target) in (State.ALIVE, State.SUSPECT)
    assert core.prober.awareness.score == LAN.awareness_max
    core.receive(Alive("m3", 2, address(3)), address(3), late + 0.001)
    assert state_of(core, "m3") is State.ALIVE


@pytest.mark.parametrize("late", [0.3, 0.6, 0.9])
def test_a_member_that_is_late_with_every_call_still_gives_up_who_is_dead(late: float) -> None:
    core = swim("m2")
    now = 0.0
    while state_of(core, "m2") is not State.DEAD:
        now = core.next_deadline() + late
        core.tick(now)
        assert now < 300.0


def test_who_is_late_with_every_call_hears_what_came_meanwhile_before_it_judges() -> None:
    core = swim("m2")
    now, answered = 0.0, 0
    while answered < 100:
        assert now < 10_000.0
        now = core.next_deadline() + 0.9
        pings = [item for item in core.tick(now) if isinstance(item, Send)]
        assert state_of(core, "m2") is State.ALIVE
        for ping in (ping for item in pings for ping in item.messages if isinstance(ping, Ping)):
            # Its answer is there at once, and waits for our next call.
            core.receive(Ack(ping.number), address(2), now + 0.8)
            answered += 1


def test_a_member_in_doubt_about_itself_probes_more_slowly_and_waits_longer() -> None:
    core = swim("m2", "m3")
    core.prober.awareness.add(3)
    first, ping, _ = next_probe(core, 0.0)
    core.receive(Ack(ping.number), address(int(ping.target[1:])), first + 0.01)
    assert core.prober.awareness.score == 2
    second, _, _ = next_probe(core, first + 0.01)
    assert second - first == pytest.approx(4 * LAN.probe_interval)


def test_helpers_that_send_a_nack_clear_us_and_those_that_do_not_speak_against_us() -> None:
    for nacks, score in ((3, 0), (1, 2), (0, 3)):
        core = swim("m2", "m3", "m4", "m5", "m6")
        now, ping, _ = next_probe(core, 0.0)
        run(core, now, now + 0.6)
        for _ in range(nacks):
            core.receive(Nack(ping.number), address(3), now + 0.7)
        run(core, now + 0.7, now + 1.0)
        assert state_of(core, ping.target) is State.SUSPECT
        assert core.prober.awareness.score == score


def test_an_accusation_about_us_is_refuted_above_it() -> None:
    for accusation in (Suspect("m1", 10, "m2"), Dead("m1", 10, "m2"), Suspect("m1", 44, "m2")):
        core = swim("m2")
        core.receive(accusation, address(2), 1.0)
        assert told(core) == [Alive("m1", accusation.incarnation + 1, ME)]


def test_an_old_accusation_about_us_is_ignored() -> None:
    core = swim("m2")
    core.receive(Suspect("m1", 9, "m2"), address(2), 1.0)
    assert told(core) == []


@pytest.mark.parametrize("absurd", [int(WALL) + AHEAD_MAX + 2, 3_999_999_999, 2**32 - 1])
def test_an_accusation_far_above_any_clock_is_counted_and_costs_nothing(absurd: int) -> None:
    """Rows B4 and B37: no loop up to a huge incarnation, no wrap-around, nobody locked out for good."""
    core = swim("m2")
    for claim in (Suspect("m1", absurd, "m2"), Dead("m1", absurd, "m2"), Alive("m1", absurd, ME)):
        assert core.receive(claim, address(2), 1.0) == [Rejected("absurd_incarnation")]
    table = PushPull(False, (MemberState("m1", ME, b"", absurd, State.DEAD),))
    assert core.table_received(table, 1.0)[1] == [Rejected("absurd_incarnation")]
    assert core.members.me.incarnation == 10
    assert told(core) == []


@pytest.mark.parametrize("absurd", [int(WALL) + AHEAD_MAX + 2, 3_999_999_999])
def test_nobody_is_taken_to_an_incarnation_that_it_could_not_outbid(absurd: int) -> None:
    core = swim("m2")
    for claim in (Suspect("m2", absurd, "m9"), Dead("m2", absurd, "m9"), Dead("m2", absurd, "m2")):
        assert core.receive(claim, address(9), 1.0) == [Rejected("absurd_incarnation")]
    for number, state in enumerate(State):
        table = PushPull(False, (MemberState("m2", address(2), b"", absurd, state),))
        assert Rejected("absurd_incarnation") in core.table_received(table, 1.0 + 0.1 * number)[1]
    member = core.members.get("m2")
    assert member is not None
    assert (member.state, member.incarnation) == (State.ALIVE, 1)


def test_incarnations_cannot_be_climbed_by_accusing_ever_higher() -> None:
    """Each refutation is above the accusation: the next accusation must not be believed higher again."""
    core = swim("m2")
    start = int(WALL) + AHEAD_MAX
    for _ in range(1000):
        core.receive(Suspect("m1", core.members.me.incarnation + AHEAD_MAX, "m2"), address(2), 1.0)
        core.receive(Suspect("m1", start, "m2"), address(2), 1.0)
    assert core.members.me.incarnation <= start + 1 + 64


def test_a_member_whose_clock_is_years_ahead_is_asked_and_believed_at_its_own_word() -> None:
    """Row B36: neither its clock that is ahead nor ours that is behind locks a legitimate member out."""
    core = swim("m2")
    far = int(WALL) + 3 * 366 * 86400
    rejected, ask = core.receive(Alive("m3", far, address(3)), address(3), 1.0)
    assert rejected == Rejected("absurd_incarnation")
    assert isinstance(ask, OpenStream)
    assert ask.address == address(3)
    said = PushPull(False, (MemberState("m3", address(3), b"", far, State.ALIVE),))
    assert MemberChanged("m3", None, State.ALIVE, "joined") in core.stream_answered(ask.token, said, 1.1)
    core.receive(Suspect("m3", far, "m2"), address(2), 2.0)
    core.receive(Alive("m3", far + 1, address(3)), address(3), 2.1)
    assert state_of(core, "m3") is State.ALIVE


def test_what_another_says_of_an_absurd_incarnation_is_not_the_members_own_word() -> None:
    core = swim("m2")
    far = int(WALL) + 2 * AHEAD_MAX
    _, ask = core.receive(Alive("m3", far, address(3)), address(3), 1.0)
    assert isinstance(ask, OpenStream)
    said = PushPull(False, (MemberState("m2", address(2), b"", far, State.ALIVE),))
    assert Rejected("absurd_incarnation") in core.stream_answered(ask.token, said, 1.1)


def test_who_forges_absurd_incarnations_makes_us_no_flood_of_connections() -> None:
    core = swim("m2")
    output: list[Output] = []
    for number in range(1000):
        output += core.receive(
            Alive(f"x{number}", 3_900_000_000, address(9)), address(9), 1.0 + number / 1000
        )
    assert sum(isinstance(item, OpenStream) for item in output) == 1
    assert core.members.get("x7") is None


def test_after_our_clock_was_set_back_far_we_outbid_what_a_member_tells_that_we_ask() -> None:
    core = swim(peers=("10.0.0.2:7946",))
    core.tick(0.0)
    [join] = core.resolved("10.0.0.2:7946", [address(2)], 0.0)
    assert isinstance(join, OpenStream)
    far = int(WALL) + 2 * AHEAD_MAX
    theirs = PushPull(True, (MemberState("m1", ME, b"", far, State.DEAD),))
    core.stream_answered(join.token, theirs, 0.1)
    assert core.members.me.incarnation == far + 1


def test_that_a_member_holds_us_for_gone_beyond_refuting_is_said_once() -> None:
    core = swim(peers=("10.0.0.2:7946",))
    core.tick(0.0)
    said: list[Output] = []
    for now in (0.0, 20.0):
        [join] = core.resolved("10.0.0.2:7946", [address(2)], now)
        assert isinstance(join, OpenStream)
        theirs = PushPull(True, (MemberState("m1", ME, b"", 3_999_999_998, State.DEAD),))
        said += core.stream_answered(join.token, theirs, now + 0.1)
    assert said.count(CannotRefute(3_999_999_998)) == 1
    assert core.members.me.incarnation == 10


@pytest.mark.parametrize("score", [0, 7])
def test_who_was_away_during_a_probe_blames_nobody_however_bad_its_health(score: int) -> None:
    core = swim("m2", "m3")
    core.prober.awareness.score = score
    now, _, _ = next_probe(core, 0.0)
    for _ in range(20):
        now += 8.0
        assert not [item for item in core.tick(now) if isinstance(item, MemberChanged)]
        now += 0.001
        core.tick(now)
    assert state_of(core, "m2") is state_of(core, "m3") is State.ALIVE


def test_a_stale_alive_does_not_stop_a_suspicion() -> None:
    """Row B8."""
    core = swim("m2", "m3")
    core.receive(Suspect("m2", 1, "m3"), address(3), 1.0)
    core.receive(Alive("m2", 1, address(2)), address(3), 1.1)
    assert state_of(core, "m2") is State.SUSPECT
    run(core, 1.1, 6.0)
    assert state_of(core, "m2") is State.DEAD


def test_a_newer_alive_ends_a_suspicion() -> None:
    core = swim("m2", "m3")
    core.receive(Suspect("m2", 1, "m3"), address(3), 1.0)
    output = core.receive(Alive("m2", 2, address(2)), address(2), 1.1)
    assert output == [MemberChanged("m2", State.SUSPECT, State.ALIVE, "refuted")]


def test_a_member_that_restarts_with_other_metadata_is_believed_at_once() -> None:
    """Row B10."""
    core = swim("m2")
    core.receive(Alive("m2", 2, address(2), b"new"), address(2), 1.0)
    member = core.members.get("m2")
    assert member is not None
    assert member.meta == b"new"


def test_a_suspicion_of_somebody_unknown_adds_nobody() -> None:
    """Row B28: a member that was removed does not come back by being accused."""
    core = swim("m2")
    assert core.receive(Suspect("m9", 5, "m2"), address(2), 1.0) == []
    assert core.members.get("m9") is None


def test_a_member_that_left_does_not_return_with_its_old_incarnation() -> None:
    """Row B32."""
    core = swim("m2", "m3")
    core.receive(Dead("m2", 1, "m2"), address(2), 1.0)
    core.receive(Alive("m2", 1, address(2)), address(3), 1.5)
    assert state_of(core, "m2") is State.LEFT


def test_a_dead_member_is_taken_at_a_new_address_with_a_newer_incarnation() -> None:
    """Row B22: the name of a replaced host is not held by the dead one."""
    core = swim("m2", "m3")
    core.receive(Dead("m2", 1, "m3"), address(3), 1.0)
    core.receive(Alive("m2", 2, address(22)), address(22), 2.0)
    assert state_of(core, "m2") is State.ALIVE
    member = core.members.get("m2")
    assert member is not None
    assert member.address == address(22)


def test_a_running_member_is_not_replaced_by_another_of_its_name() -> None:
    core = swim("m2")
    claim = Alive("m2", 99, address(22))
    told = Send(address(2), (claim,))
    conflict, passed_on, check = core.receive(claim, address(22), 1.0)
    assert (conflict, passed_on) == (NameConflict("m2", address(22), ours=False), told)
    assert core.receive(claim, address(22), 1.1) == [told]
    assert isinstance(check, OpenStream)
    assert check.address == address(2)
    assert core.stream_answered(check.token, Ack(0), 1.2) == []
    member = core.members.get("m2")
    assert member is not None
    assert (member.state, member.address) == (State.ALIVE, address(2))


def test_a_member_that_is_gone_from_where_we_knew_it_is_taken_where_it_says_that_it_is() -> None:
    core = swim("m2")
    check = core.receive(Alive("m2", 99, address(22)), address(22), 1.0)[-1]
    assert isinstance(check, OpenStream)
    core.stream_answered(check.token, None, 2.0)
    member = core.members.get("m2")
    assert member is not None
    assert (member.state, member.address, member.incarnation) == (State.ALIVE, address(22), 99)


def test_an_old_claim_from_elsewhere_is_not_taken_when_a_member_does_not_answer() -> None:
    core = swim("m2", "m3")
    core.receive(Alive("m2", 99, address(22)), address(22), 1.0)
    core.receive(Suspect("m2", 1, "m3"), address(3), 12.0)
    assert state_of(core, "m2") is State.SUSPECT


def test_our_own_name_elsewhere_stops_us_only_if_we_came_later_and_the_other_answers() -> None:
    core = swim("m2", came_later=True)
    output = core.receive(Alive("m1", 99, address(9)), address(2), 1.0)
    [check] = [item for item in output if isinstance(item, OpenStream)]
    assert check.address == address(9)
    assert check.message == PushPull(False, (MemberState("m1", address(1), b"", 10, State.ALIVE),))
    there = PushPull(False, (MemberState("m1", address(9), b"", 99, State.ALIVE),))
    assert core.stream_answered(check.token, there, 1.1) == [NameConflict("m1", address(9), ours=True)]


@pytest.mark.parametrize(
    "there",
    [
        MemberState("m1", address(9), LATER, 100, State.ALIVE),
        MemberState("m4", address(9), b"", 1, State.ALIVE),
        MemberState("m1", address(8), b"", 1, State.ALIVE),
    ],
    ids=["one that restarted", "another member", "one that only knows it"],
)
def test_whoever_is_where_our_namesake_was_does_not_stop_us_unless_it_is_earlier(there: MemberState) -> None:
    """Both would stop where each was asked before the other's restart (strict seed 2885)."""
    core = swim("m2", came_later=True)
    output = core.receive(Alive("m1", 99, address(9)), address(2), 1.0)
    [check] = [item for item in output if isinstance(item, OpenStream)]
    assert core.stream_answered(check.token, PushPull(False, (there,)), 1.1) == []


def test_the_earlier_of_two_processes_stays_where_the_other_has_restarted_while_it_was_asked() -> None:
    """What the former one said is still under way (strict seed 2885)."""
    core = swim("m2", came_later=True)
    output = core.receive(Alive("m1", 99, address(9)), address(2), 1.0)
    [check] = [item for item in output if isinstance(item, OpenStream)]
    core.table_received(PushPull(False, (MemberState("m1", address(9), LATER, 100, State.ALIVE),)), 1.1)
    there = PushPull(False, (MemberState("m1", address(9), b"", 99, State.ALIVE),))
    assert core.stream_answered(check.token, there, 1.2) == []


def test_our_own_name_at_an_address_where_nobody_answers_does_not_stop_us() -> None:
    core = swim("m2", came_later=True)
    output = core.receive(Alive("m1", 99, address(9)), address(2), 1.0)
    [check] = [item for item in output if isinstance(item, OpenStream)]
    assert core.stream_answered(check.token, None, 1.1) == []


def test_the_earlier_of_two_processes_of_one_name_goes_on() -> None:
    core = swim("m2", came_later=False)
    output = core.receive(Alive("m1", 99, address(9)), address(2), 1.0)
    assert output == [NameConflict("m1", address(9), ours=False)]


def test_an_agents_address_is_repeated_in_the_form_in_which_the_agent_wrote_it() -> None:
    core = swim("m2")
    claim = Alive("s1", 1, address(7), b"", mapped=True)
    core.receive(claim, address(2), 1.0)
    assert told(core) == [claim]
    answer, _ = core.table_received(PushPull(False, ()), 1.0)
    assert {entry.name: entry.mapped for entry in answer.members} == {"m1": False, "m2": False, "s1": True}
    listed = PushPull(False, (MemberState("s1", address(7), b"", 2, State.ALIVE),))
    core.table_received(listed, 1.1)
    assert told(core) == [replace(claim, incarnation=2, mapped=False)]


@pytest.mark.parametrize("versions", [Versions(1, 5, 2, 0, 0, 0), Versions(1, 5, 2, 0, 9, 9)])
def test_versions_that_would_spoil_every_push_pull_of_agents_are_refused(versions: Versions) -> None:
    core = swim()
    claim = Alive("m2", 1, address(2), b"", versions)
    assert core.receive(claim, address(2), 1.0) == [Rejected("versions")]


def test_a_manager_of_another_group_is_never_let_in_and_said_so_once() -> None:
    """Row B21: an address that changed hands, or an agent in both groups, merges nothing."""
    core = swim("m2")
    claim = Alive("g1", 1, address(9), b"green")
    assert core.receive(claim, address(2), 1.0) == [
        Rejected("other_group"),
        OtherGroup("g1", address(9), "green"),
    ]
    assert core.receive(claim, address(2), 1.1) == [Rejected("other_group")]
    table = PushPull(True, (MemberState("g1", address(9), b"green", 1, State.ALIVE),))
    core.table_received(table, 1.2)
    assert core.members.get("g1") is None


def test_a_member_whose_name_and_address_are_another_groups_now_is_dead() -> None:
    """Row B21: whoever runs there now is pinged by that name, and answers."""
    core = swim("m2", "m3")
    assert core.receive(Alive("m3", 1, address(3), b"green"), address(2), 1.0)[0] == Rejected("other_group")
    assert state_of(core, "m3") is State.ALIVE
    output = core.receive(Alive("m3", 2, address(3), b"green"), address(2), 1.1)
    assert [item.after for item in output if isinstance(item, MemberChanged)] == [State.DEAD]
    assert told(core) == [Dead("m3", 1, "m1")]
    core.receive(Alive("m3", 3, address(4), b"green"), address(2), 1.2)
    core.receive(Alive("m3", 3, address(3), b"blue"), address(2), 1.3)
    assert state_of(core, "m3") is State.ALIVE


def test_a_namesake_in_another_group_stops_nobody() -> None:
    core = swim("m2", came_later=True)
    claim = Alive("m1", 99, address(9), b"green")
    expected = [Rejected("other_group"), OtherGroup("m1", address(9), "green")]
    assert core.receive(claim, address(2), 1.0) == expected
    assert core.receive(claim, address(2), 1.1) == expected[:1]
    assert told(core) == []


def test_second_hand_death_is_only_a_suspicion() -> None:
    core = swim("m2", "m3")
    table = PushPull(False, (MemberState("m3", address(3), b"", 1, State.DEAD),))
    core.table_received(table, 1.0)
    assert state_of(core, "m3") is State.SUSPECT


def test_a_table_that_holds_us_for_dead_is_refuted_in_the_very_answer() -> None:
    core = swim("m2")
    table = PushPull(True, (MemberState("m1", ME, b"", 10, State.DEAD),))
    answer, _ = core.table_received(table, 1.0)
    assert answer.members[0].incarnation == 11


def test_whoever_is_asked_for_its_table_learns_who_asked() -> None:
    """Row B41: A knows B, B does not know A."""
    core = swim()
    core.table_received(PushPull(False, (MemberState("m2", address(2), b"", 1, State.ALIVE),)), 1.0)
    assert state_of(core, "m2") is State.ALIVE


def test_among_a_hundred_joins_a_death_is_told_within_a_second() -> None:
    """Row B45: news of one kind do not starve those of another."""
    core = swim("m2", "m3")
    for number in range(100):
        core.receive(Alive(f"x{number}", 1, Address("10.9.9.9", 1 + number)), address(2), 0.0)
    core.receive(Dead("m3", 1, "m2"), address(2), 0.0)
    output = run(core, 0.0, 1.0)
    assert any(Dead("m3", 1, "m2") in messages for _, messages in sent(output))


def test_an_outdated_accusation_of_a_member_is_answered_to_it_directly() -> None:
    core = swim("m2")
    assert core.receive(Suspect("m1", 9, "m2"), address(2), 1.0) == [Send(address(2), (Alive("m1", 10, ME),))]
    assert core.receive(Suspect("m1", 9, "m2"), address(66), 1.0) == []


def test_who_pings_us_and_is_suspected_here_hears_of_it() -> None:
    core = swim("m2", "m3")
    core.receive(Suspect("m2", 1, "m3"), address(3), 1.0)
    told(core)
    core.broadcasts.take(10**6, 0, 1, 10**6)
    output = core.receive(Ping(7, "m1", address(2), "m2"), address(2), 1.1)
    assert (address(2), (Suspect("m2", 1, "m1"),)) in sent(output)
    assert sent(core.receive(Ping(8, "m1", address(3), "m3"), address(3), 1.1)) == [(address(3), (Ack(8),))]


def test_a_confirmation_is_told_on_and_one_too_many_is_not() -> None:
    core = swim("m2", "m3", "m4", "m5", "m6", "m7", "m8")
    core.receive(Suspect("m2", 1, "m3"), address(3), 1.0)
    told(core)
    for accuser in ("m4", "m5", "m6"):
        core.receive(Suspect("m2", 1, accuser), address(4), 1.1)
        assert told(core) == [Suspect("m2", 1, accuser)]
        core.broadcasts.take(10**6, 0, 1, 10**6)
    core.receive(Suspect("m2", 1, "m7"), address(4), 1.2)
    assert Suspect("m2", 1, "m7") not in told(core)


def test_what_another_knows_of_our_suspects_confirms_none() -> None:
    """Good news alone is taken of whom we ask: an accusation that was only heard of is no confirmation."""
    core = swim("m2", "m3", "m4")
    core.receive(Suspect("m2", 1, "m3"), address(3), 1.0)
    output = run(core, 1.0, 1.5)
    [inquiry] = [
        item for item in output if isinstance(item, OpenStream) and isinstance(item.message, PushPull)
    ]
    theirs = PushPull(
        False,
        (
            MemberState("m4", address(4), b"", 1, State.SUSPECT),
            MemberState("m2", address(2), b"", 2, State.ALIVE),
        ),
    )
    core.stream_answered(inquiry.token, theirs, 1.6)
    assert (state_of(core, "m2"), state_of(core, "m4")) == (State.ALIVE, State.ALIVE)


def test_who_holds_us_for_dead_is_told_directly_that_we_live() -> None:
    """Row B14: whoever has given us up does not gossip with us, nor we with them."""
    core = swim(peers=("10.0.0.2:7946",))
    [resolve] = core.tick(0.0)
    assert resolve == Resolve("10.0.0.2:7946")
    [join] = core.resolved("10.0.0.2:7946", [address(2)], 0.0)
    assert isinstance(join, OpenStream)
    theirs = PushPull(True, (MemberState("m1", ME, b"", 10, State.DEAD),))
    output = core.stream_answered(join.token, theirs, 0.1)
    assert (address(2), (Alive("m1", 11, ME),)) in sent(output)


def test_a_lost_member_is_tried_for_as_long_as_we_live() -> None:
    core = swim("m2")
    core.receive(Dead("m2", 1, "m3"), address(3), 0.0)
    output = run(core, 0.0, 3600.0)
    joins = [item for item in output if isinstance(item, OpenStream) and isinstance(item.message, PushPull)]
    assert len(joins) > 3600 / 5
    assert len(joins) < 3600 / 1


def test_a_peer_that_answers_nothing_is_tried_on_at_growing_intervals() -> None:
    core = swim(peers=("10.0.0.2:7946",))
    now, tries = 0.0, []
    while now < 300.0:
        now = max(now, core.next_deadline())
        for item in core.tick(now):
            if isinstance(item, Resolve):
                tries.append(now)
                for join in core.resolved(item.peer, [address(2)], now):
                    assert isinstance(join, OpenStream)
                    core.stream_answered(join.token, None, now)
    assert tries[1] <= 0.5
    assert 300 / LAN.peer_retry_max <= len(tries) <= 300 / (LAN.peer_retry_max / 2)


def test_a_peers_name_is_looked_up_afresh_each_time_and_joined_where_it_leads_then() -> None:
    core = swim(peers=("manager.example:7946",))
    now, joined = 0.0, []
    answers: list[list[Address]] = [[], [], [address(2)], [address(3)]]
    while now < 120.0 and answers:
        now = max(now, core.next_deadline())
        for item in core.tick(now):
            if isinstance(item, Resolve):
                for join in core.resolved(item.peer, answers.pop(0), now):
                    if isinstance(join, OpenStream):
                        joined.append(join.address)
                        core.stream_answered(join.token, None, now)
    assert joined == [address(2), address(3)]


def test_that_a_peer_cannot_be_joined_is_said_once_until_it_can() -> None:
    core = swim(peers=("10.0.0.2:7946",))
    now, said = 0.0, 0
    while now < 60.0:
        now = max(now, core.next_deadline())
        for item in core.tick(now):
            if isinstance(item, Resolve):
                for join in core.resolved(item.peer, [address(2)], now):
                    assert isinstance(join, OpenStream)
                    said += sum(
                        isinstance(o, PeerFailed) for o in core.stream_answered(join.token, None, now)
                    )
    assert said == 1


def test_ourselves_among_the_peers_are_not_dialled() -> None:
    core = swim(peers=("10.0.0.1:7946",))
    core.tick(0.0)
    assert core.resolved("10.0.0.1:7946", [ME], 0.0) == []
    assert core.rejoin.all_tried
    assert not core.rejoin.knows_others


def test_one_packet_never_carries_more_than_fits() -> None:
    """Rows B13, B40, B45: a burst is spread over packets, each whole."""
    core = swim("m2")
    for number in range(300):
        core.receive(
            Alive(f"x{number}", 1, Address(f"10.1.{number // 250}.{number % 250}", 7946)), address(2), 0.0
        )
    for _, messages in sent(run(core, 0.0, 5.0)):
        assert len(messages) <= 127
        assert len(encode_packet(messages, crc=True)) <= LAN.packet_bytes_max + 5


def test_gossip_falls_silent_when_there_is_no_news() -> None:
    core = swim("m2", "m3")
    core.receive(Alive("m4", 1, address(4)), address(2), 0.0)
    run(core, 0.0, 2.0)
    assert len(core.broadcasts) == 0


def test_forged_members_in_thousands_fill_a_bounded_table() -> None:
    core = swim()
    rejected = 0
    for number in range(LAN.members_max + 100):
        output = core.receive(Alive(f"x{number}", 1, Address("10.9.9.9", 1 + number)), address(2), 0.0)
        rejected += Rejected("too_many_members") in output
    assert len(core.members) == LAN.members_max
    assert rejected == 101


def test_who_is_gone_the_longest_makes_room_for_a_newcomer() -> None:
    core = swim("m2", "m3")
    for number in range(LAN.members_max - 3):
        core.receive(Alive(f"x{number}", 1, Address("10.9.9.9", 1 + number)), address(2), 0.0)
    core.receive(Dead("m3", 1, "m2"), address(2), 1.0)
    core.receive(Dead("x7", 1, "m2"), address(2), 2.0)
    core.receive(Alive("m4", 1, address(4)), address(4), 3.0)
    assert core.members.get("m3") is None
    assert state_of(core, "m4") is State.ALIVE


def test_who_is_gone_for_long_makes_no_suspicion_longer_and_no_news_be_told_more_often() -> None:
    """Hosts whose names never come back: peers count them for half a minute, and then no more."""
    core = swim(*(f"m{number}" for number in range(2, 101)))
    for number in range(4, 101):
        core.receive(Dead(f"m{number}", 1, "m2"), address(2), 1.0)
    assert core.members.size == len(core.members) == 100
    core.tick(1.0 + LAN.gossip_to_dead / 2)
    assert core.members.size == 100
    core.tick(1.1 + LAN.gossip_to_dead)
    assert (core.members.size, len(core.members)) == (3, 100)
    core.receive(Alive("m4", 2, address(4)), address(4), 40.0)
    core.receive(Dead("m4", 2, "m2"), address(2), 41.0)
    assert core.members.size == 4
    core.members.forget("m4")
    assert core.members.size == 3


def test_thousands_of_suspects_cost_a_packet_no_more_than_one() -> None:
    """Counted and not timed: what is asked with every packet looks at no suspect."""
    core = swim("m2")
    for number in range(2000):
        core.receive(Alive(f"x{number}", 1, Address("10.9.9.9", 1 + number)), address(2), 0.0)
        core.receive(Suspect(f"x{number}", 1, "m2"), address(2), 0.0)
    core.next_deadline()
    looked: list[str] = []
    core._claims.suspects._end = lambda member: looked.append(member.name) or 0.0  # type: ignore[method-assign, func-returns-value]
    for number in range(100):
        core.receive(Ping(number, "m1"), address(2), 0.1)
        core.next_deadline()
    assert looked == []


@pytest.mark.parametrize("leaving", [False, True])
def test_what_was_due_is_done_and_not_due_again_at_once(leaving: bool) -> None:
    """Seed 4: a suspect that was not reminded while we left kept the loop busy."""
    core = swim("m2", "m3", peers=("10.0.0.9:7946",))
    core.receive(Suspect("m2", 1, "m3"), address(3), 0.0)
    core.receive(Dead("m3", 1, "m2"), address(3), 0.0)
    core.leaving = leaving
    now, calls = 0.0, 0
    while now < 10.0:
        now = max(now, core.next_deadline())
        core.tick(now)
        calls += 1
    assert calls < 1000


def test_forged_members_cause_no_storm_of_packets() -> None:
    """Ten thousand of them: as many packets a second as gossip has rounds, whatever there is to tell."""
    core = swim("m2", "m3")
    for number in range(LAN.members_max):
        core.receive(Alive(f"x{number}", 1, Address("10.9.9.9", 1 + number)), address(2), 0.0)
    packets = len(sent(run(core, 0.0, 5.0)))
    assert packets <= 5.0 * (LAN.gossip_nodes / LAN.gossip_fresh_gap + 10)


def test_news_of_the_last_other_members_death_is_no_storm() -> None:
    """Found under policy `strict`, seed 11: it stayed fresh, and was sent every 20 ms."""
    core = swim("m2")
    core.receive(Dead("m2", 1, "m1"), address(2), 0.0)
    packets = len(sent(run(core, 0.0, 20.0)))
    assert packets <= 20.0 / LAN.gossip_interval + 10


def test_news_told_to_the_dead_and_to_strangers_still_reaches_the_living() -> None:
    """What went to members that are gone counted as told, so that a force-leave was learned slowly."""
    core = swim(*(f"m{number}" for number in range(2, 8)))
    for number in range(3, 8):
        core.receive(Dead(f"m{number}", 1, "m2"), address(2), 0.0)
    core.broadcasts.take(10**6, 0, 1, 10**6)
    core.receive(Alive("m9", 1, address(9)), address(2), 0.0)
    core.receive(Dead("m9", 1, "m9"), address(2), 0.0)
    for number in range(50):
        core.receive(Ping(number, "m1"), Address("10.7.7.7", 1 + number), 0.0)
    news = Dead("m9", 1, "m9")
    output = run(core, 0.0, 10.0)
    to_m2 = sum(news in messages for where, messages in sent(output) if where == address(2))
    assert to_m2 == core._teller.limit()


def test_nobody_is_taken_in_who_is_said_to_run_where_we_do() -> None:
    """Our own former name, or whoever had our address: it would be ourselves whom we ask (foca#34)."""
    core = swim("m2")
    assert core.receive(Alive("m0", 50, ME), address(2), 1.0) == []
    assert core.members.get("m0") is None
    core.receive(Alive("m2", 60, ME), address(2), 1.0)
    moved = core.members.get("m2")
    assert moved is not None
    assert (moved.address, moved.incarnation) == (address(2), 1)


def test_who_leaves_does_not_look_for_itself() -> None:
    core = swim(peers=("10.0.0.1:7946",))
    core.depart()
    assert core.resolved("10.0.0.1:7946", [ME], 1.0) == []
