"""Claims of one manager beside another: how many at once, for whose answer they wait, and for how long."""

import pytest

from gossip.kinship import LEDGER_PROTOCOL, TAG_GROUP, TAG_SPEAKS, TAG_STARTED
from gossip.ledger_messages import Heard, LedgerMessage, Push, Sender
from gossip.messages import User
from gossip.pages import NOTHING, Entry, Piece
from gossip.wire.ledger import encode_ledger
from manager.records import NODE, NodeRecord, NodeState
from manager.seats.admission import (
    OUTSTANDING_MAX,
    PATIENCE,
    PATIENCE_SILENT,
    UNDECIDED_MAX,
    Admission,
    Claim,
    Verdict,
)
from manager.seats.surge import Surge
from tests.manager.running import IDENTITY, WALL, Running

M2 = Sender("m2", 5)
PLENTY = 1000


def id_of(number: int) -> str:
    return IDENTITY.id_of(number.to_bytes(32))


def record(number: int, state: NodeState, *, instead: int = 0) -> NodeRecord:
    """Of node `number`, which has that stamp too; `instead`: the lost node in whose place it comes."""
    seat, lost = state is not NodeState.CLAIMED, id_of(instead) if instead else ""
    return NodeRecord(state, 1, 1, number, seat, False, WALL, "", f"n{number}", "", "", instead=lost)


class Bench:
    """m1 beside m2, which answers for nothing before it is told to. Time stands still for all but claims."""

    def __init__(self, surge_seats: int = 0) -> None:
        self.running = Running()
        started = f"{M2.start:016x}"
        ours = {TAG_SPEAKS: LEDGER_PROTOCOL, TAG_GROUP: "blue", TAG_STARTED: started}
        self.running.meets("m2", "10.0.0.2", ours)
        self.group, registry = self.running.core.group, self.running.core.registry
        self.registry = registry
        self.admission = Admission(self.group, registry, Surge(registry, surge_seats, 60.0))
        self.claims = 0

    def writes(self, number: int, state: NodeState, *, instead: int = 0) -> int:
        """Stands on our page; gives its version with that."""
        key = NODE + id_of(number)
        self.group.ledger.put(key, record(number, state, instead=instead).pack())
        self.registry.page_changed("m1", [key], 0.0)
        return self.group.ledger.own.version

    def admits(self, number: int) -> None:
        self.writes(number, NodeState.ACTIVE)
        self.admission.note_admitted(PLENTY)

    def claim(self, number: int, *, instead: int = 0, at: float = 0.0) -> None:
        """Node `number` claims a seat here."""
        version = self.writes(number, NodeState.CLAIMED, instead=instead)
        lost = id_of(instead) if instead else ""
        self.admission.claimed(Claim(number, id_of(number), number, version, at, lost))

    def m2_says(self, message: LedgerMessage) -> None:
        self.running.hears(User(encode_ledger(message)))

    def m2_claims(self, number: int, *, instead: int = 0) -> None:
        entry = Entry(NODE + id_of(number), 1, record(number, NodeState.CLAIMED, instead=instead).pack())
        self.m2_says(Push(M2, (Piece("m2", 1, 0, 1, 0, (entry,)),)))

    def m2_answers(self) -> None:
        """m2 has all of our page."""
        self.m2_says(Heard(M2, "m1", self.group.ledger.own.mark, NOTHING))

    def way(self, cap: int | None = PLENTY, *, counted: bool = False) -> str:
        return self.admission.way(cap, counted=counted)

    def judged(self, now: float, cap: int = PLENTY) -> list[tuple[int, Verdict]]:
        return [(claim.conn, verdict) for claim, verdict in self.admission.judge(cap, now)]


def test_while_there_is_room_64_are_let_in_before_the_others_have_answered_and_no_more() -> None:
    bench = Bench()
    for number in range(1, OUTSTANDING_MAX):
        bench.admits(number)
    assert bench.way() == "open"
    bench.admits(OUTSTANDING_MAX)
    assert bench.way() == "wait"
    bench.m2_answers()
    assert bench.way() == "open"


def test_claims_count_among_the_64_that_others_may_not_know_of() -> None:
    bench = Bench()
    for number in range(1, OUTSTANDING_MAX):
        bench.admits(number)
    bench.claim(OUTSTANDING_MAX)
    assert bench.way() == bench.way(counted=True) == "wait"
    bench.admission.withdraw(OUTSTANDING_MAX)
    assert (bench.way(), bench.way(counted=True)) == ("open", "claim")


def test_with_fewer_free_seats_than_64_for_each_manager_a_newcomer_claims_and_no_more_than_64_at_once() -> (
    None
):
    bench = Bench()
    assert bench.way(2 * OUTSTANDING_MAX) == "open"
    assert bench.way(2 * OUTSTANDING_MAX - 1) == "claim"
    for number in range(1, OUTSTANDING_MAX):
        bench.claim(number)
    assert bench.way(1) == "claim"
    bench.claim(OUTSTANDING_MAX)
    assert bench.way(1) == "wait"


def test_without_a_cap_only_those_claim_whose_uses_are_counted_and_no_more_than_64_at_once() -> None:
    bench = Bench()
    for number in range(1, OUTSTANDING_MAX):
        bench.claim(number)
    assert (bench.way(None), bench.way(None, counted=True)) == ("open", "claim")
    bench.claim(OUTSTANDING_MAX)
    assert (bench.way(None), bench.way(None, counted=True)) == ("open", "wait")


def test_a_manager_that_was_silent_is_waited_for_no_longer_than_200_ms_until_it_answers_again() -> None:
    bench = Bench()
    bench.claim(1)
    assert bench.judged(PATIENCE - 0.01) == []
    assert bench.judged(PATIENCE) == [(1, Verdict.IN)]
    bench.claim(2)
    assert bench.judged(PATIENCE_SILENT - 0.01) == []
    assert bench.judged(PATIENCE_SILENT) == [(2, Verdict.IN)]
    bench.claim(3)
    bench.m2_answers()
    assert bench.judged(0.0) == [(3, Verdict.IN)]
    bench.claim(4)
    assert bench.judged(PATIENCE - 0.01) == []
    assert bench.judged(PATIENCE) == [(4, Verdict.IN)]


def test_a_claim_waits_for_earlier_ones_of_others_for_two_seconds_and_is_refused_then() -> None:
    bench = Bench()
    bench.m2_claims(1)
    bench.claim(2)
    bench.m2_answers()
    assert bench.judged(UNDECIDED_MAX - 0.01, cap=1) == []
    assert bench.judged(UNDECIDED_MAX, cap=1) == [(2, Verdict.FULL)]


def test_a_claim_is_judged_when_it_said_that_it_would_be_and_not_a_moment_before() -> None:
    """Sums and differences of times round differently: judged just too early, it waited for long."""
    bench = Bench()
    for number, patience in ((1, PATIENCE), (2, PATIENCE_SILENT)):
        bench.claim(number, at=0.15)
        assert 0.15 + patience - 0.15 < patience
        assert bench.judged(0.15) == []
        while (now := bench.admission.next_deadline()) < 0.15 + patience:
            assert bench.judged(now) == []
        assert bench.judged(now) == [(number, Verdict.IN)]
    bench.m2_claims(3)
    bench.claim(4, at=0.3)
    bench.m2_answers()
    assert 0.3 + UNDECIDED_MAX - 0.3 < UNDECIDED_MAX
    assert bench.judged(0.3 + PATIENCE, cap=3) == []
    assert bench.judged(bench.admission.next_deadline(), cap=3) == [(4, Verdict.FULL)]


@pytest.mark.parametrize("ahead_at", ["m1", "m2"])
def test_in_a_surge_a_claim_ahead_takes_the_seat_of_the_node_that_it_comes_for_and_no_other(
    ahead_at: str,
) -> None:
    bench = Bench(surge_seats=2)
    bench.writes(1, NodeState.REMOVED)
    bench.writes(2, NodeState.REMOVED)
    if ahead_at == "m1":
        bench.claim(3, instead=1)
    else:
        bench.m2_claims(3, instead=1)
    bench.claim(4, instead=2)
    bench.m2_answers()
    assert (4, Verdict.IN) in bench.judged(0.0, cap=2)
