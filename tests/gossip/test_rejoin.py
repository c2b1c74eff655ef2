"""Whom a member tries to meet, and that this costs no more among many than among few."""

from math import inf
from random import Random

from gossip.config import LAN
from gossip.messages import Address
from gossip.rejoin import Rejoin

PEERS = tuple(f"10.0.0.{number}:7946" for number in range(1, 33))


def tried(rejoin: Rejoin, until: float, *, there: bool, takes: float = 0.0) -> list[tuple[float, str]]:
    """When it tries which peer, if each attempt is over after `takes` seconds: somebody is `there` or not.

    It is asked at its deadlines and, as by every member, each second.
    """
    now = 0.0
    found: list[tuple[float, str]] = []
    under_way: list[tuple[float, str]] = []
    while True:
        now = max(now, min([rejoin.next_deadline(False), now + 1.0, *(at for at, _ in under_way)]))
        if now > until:
            return found
        for at, peer in [*under_way]:
            if at <= now:
                under_way.remove((at, peer))
                rejoin.answered(peer, address(peer), there, "nobody answers", now)
        for peer in rejoin.due_peers(now, lambda _: False):
            found.append((now, peer))
            rejoin.resolved(peer, [address(peer)], True, now)
            under_way.append((now + takes, peer))


def address(peer: str) -> Address:
    return Address(peer.partition(":")[0], 7946)


def test_of_many_peers_some_are_tried_at_once_and_all_within_half_a_second() -> None:
    attempts = tried(Rejoin(PEERS, LAN, Random(1), 0.0), 0.5, there=False, takes=10.0)
    assert sum(at == 0.0 for at, _ in attempts) == 8
    assert sorted(peer for _, peer in attempts) == sorted(PEERS)


def test_however_many_peers_are_silent_only_four_are_tried_again_at_once_and_each_in_its_turn() -> None:
    attempts = tried(Rejoin(PEERS, LAN, Random(1), 0.0), 100.0, there=False, takes=5.0)
    again = attempts[len(PEERS) :]
    for at, _ in again:
        assert sum(at <= other < at + 5.0 for other, _ in again) <= 4
    assert {peer for _, peer in again} == set(PEERS)


def test_few_peers_that_are_silent_are_all_tried_again_and_again() -> None:
    attempts = tried(Rejoin(PEERS[:3], LAN, Random(1), 0.0), 60.0, there=False)
    for peer in PEERS[:3]:
        assert sum(other == peer for _, other in attempts) >= 60 / LAN.peer_retry_max


def test_peers_that_are_met_are_looked_up_at_a_pace_that_does_not_grow_with_their_number() -> None:
    attempts = tried(Rejoin(PEERS, LAN, Random(1), 0.0), 120.0, there=True)
    assert len(attempts) - len(PEERS) <= 120 * 4
    for peer in PEERS:
        assert sum(other == peer for _, other in attempts) >= 120 / 16


def test_of_a_name_that_stands_for_many_some_are_tried_at_once_and_in_the_end_all() -> None:
    rejoin = Rejoin(("managers:7946",), LAN, Random(1), 0.0)
    places, met = [address(peer) for peer in PEERS], set[Address]()
    for now in range(0, 60, 3):
        assert rejoin.due_peers(now, lambda _: False) == ["managers:7946"]
        some = rejoin.resolved("managers:7946", places, True, now)
        assert len(set(some)) == 8
        met |= {*some}
        for place in some:
            rejoin.answered("managers:7946", place, False, "nobody answers", now)
    assert met == {*places}


def test_a_peer_that_is_met_is_no_reason_to_wake_up() -> None:
    rejoin = Rejoin(PEERS[:1], LAN, Random(1), 0.0)
    assert rejoin.next_deadline(False) == 0.0
    assert rejoin.due_peers(0.0, lambda _: False) == [PEERS[0]]
    rejoin.resolved(PEERS[0], [address(PEERS[0])], True, 0.0)
    rejoin.answered(PEERS[0], address(PEERS[0]), True, "", 0.1)
    assert rejoin.next_deadline(False) == inf
    assert rejoin.due_peers(60.0, lambda _: False) == [PEERS[0]]


def test_a_peer_given_by_an_address_at_which_a_member_runs_is_not_looked_up_and_one_given_by_a_name_is() -> (
    None
):
    peers = ("10.0.0.1:7946", "[fd00::1]:7946", "manager.example:7946")
    there = {Address("10.0.0.1", 7946), Address("fd00::1", 7946)}
    rejoin = Rejoin(peers, LAN, Random(1), 0.0)
    assert rejoin.due_peers(0.0, there.__contains__) == ["manager.example:7946"]
    rejoin.resolved("manager.example:7946", [], True, 0.0)
    assert rejoin.all_tried
    assert not rejoin.knows_others
    assert rejoin.due_peers(60.0, lambda _: False) == list(peers)
