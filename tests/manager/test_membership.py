"""What the log says of members."""

from gossip.effects import CameBack, MemberChanged, NameConflict, PeerFailed, RoundaboutOnly, StoodAside
from gossip.messages import Address, State
from manager.effects import Level, Log
from manager.membership import LINES_MAX, MemberLog
from manager.outbox import Outbox

PLACE = Address("10.0.0.2", 7946)


def joined(name: str) -> MemberChanged:
    return MemberChanged(name, None, State.ALIVE, "joined")


def said(outbox: Outbox) -> list[tuple[Level, str]]:
    return [(effect.level, effect.text) for effect in outbox.take() if isinstance(effect, Log)]


def test_thousands_of_forged_members_fill_no_log_and_what_is_left_out_is_counted() -> None:
    outbox = Outbox()
    log = MemberLog(outbox, "krakend")
    for number in range(10_000):
        log.tell(joined(f"x{number}"), 100.0)
    lines = said(outbox)
    assert len(lines) == LINES_MAX + 1
    assert "further lines about members are left out" in lines[-1][1]
    log.tell(PeerFailed("m9:7946", "no answer"), 120.0)
    assert [level for level, _ in said(outbox)] == [Level.WARNING], "each level has its own room"
    log.tell(joined("m2"), 161.0)
    assert said(outbox) == [
        (Level.WARNING, f"{10_000 - LINES_MAX} lines about members were left out"),
        (Level.INFO, "member m2 is alive: joined"),
    ]


def test_suspicions_are_for_who_looks_for_them() -> None:
    outbox = Outbox()
    log = MemberLog(outbox, "krakend")
    for _ in range(2 * LINES_MAX):
        log.tell(MemberChanged("m2", State.ALIVE, State.SUSPECT, "no answer to m3"), 1.0)
    log.tell(NameConflict("m2", PLACE, ours=False), 1.0)
    *suspicions, conflict = said(outbox)
    assert suspicions == [(Level.DEBUG, "member m2 is suspect: no answer to m3")] * 2 * LINES_MAX
    assert conflict == (Level.ERROR, f"two members are named m2, one of them at {PLACE}: rename one")


def test_who_has_left_is_said_so_once() -> None:
    outbox = Outbox()
    log = MemberLog(outbox, "krakend")
    log.tell(MemberChanged("m2", State.ALIVE, State.LEFT, "left"), 1.0)
    log.tell(MemberChanged("m2", State.DEAD, State.LEFT, "declared gone"), 1.0)
    assert said(outbox) == [
        (Level.INFO, "member m2 has left"),
        (Level.INFO, "member m2 has left: declared gone"),
    ]


def test_who_stands_aside_says_so_and_when_that_is_over() -> None:
    outbox = Outbox()
    log = MemberLog(outbox, "krakend")
    log.tell(StoodAside(), 1.0)
    log.tell(CameBack(), 2.0)
    [(aside, why), (back, over)] = said(outbox)
    assert (aside, back) == (Level.ERROR, Level.WARNING)
    assert why.startswith(
        "the other managers hear too little of this one: most of what it sends them is lost."
    )
    assert over == "the other managers hear this one again"


def test_a_path_that_udp_does_not_pass_is_said_with_what_to_do() -> None:
    outbox = Outbox()
    MemberLog(outbox, "krakend").tell(RoundaboutOnly("m2", PLACE, by_tcp=True), 1.0)
    [(level, text)] = said(outbox)
    assert level is Level.WARNING
    assert text.startswith("m2 at 10.0.0.2:7946 does not answer our pings in time, only by TCP: let UDP ")
