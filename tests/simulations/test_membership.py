"""Who is in the group, in virtual time: splits of any length and shape, restarts, leaves, pauses, silence.

The rows are those of the table in `gossip/PROTOCOL.md`.
"""

import pytest

from gossip.config import LAN
from gossip.messages import State
from manager.records import SETTING
from manager.terms import SUBSCRIPTION
from simulations.checkers import (
    PACKETS_PER_SECOND_MAX,
    alive_while_dead,
    dead_while_alive,
    pages_differ,
    too_many_packets,
)
from simulations.cluster import DEFAULT, Cluster
from simulations.network import Links
from simulations.processes import GOSSIP_PORT, SimManager
from simulations.world import WALL_AT_START

HEALED_WITHIN = 5.0


def formed(count: int, seed: int = 1) -> Cluster:
    cluster = Cluster(seed, count)
    cluster.world.run_until(cluster.formed, 10.0, "the managers form one group")
    cluster.world.run_for(2.0)
    return cluster


def amiss(cluster: Cluster) -> list[str]:
    """In what living managers differ about who is there, where and in which state, and about pages."""
    managers = cluster.managers
    living = [manager for manager in managers if manager.alive]
    views = {manager.name: view(manager) for manager in living}
    differ = [f"{name} has {seen}" for name, seen in views.items() if seen != views[living[0].name]]
    return dead_while_alive(managers) + alive_while_dead(managers) + pages_differ(managers) + differ


def view(manager: SimManager) -> list[tuple[str, str, str]]:
    members = manager.core.group.swim.members
    return sorted((m.name, m.state.name, str(m.address)) for m in members if m.present)


def agree(cluster: Cluster, within: float = HEALED_WITHIN) -> float:
    try:
        return cluster.world.run_until(lambda: not amiss(cluster), within, "all agree")
    except AssertionError as error:
        raise AssertionError("\n".join([str(error), *amiss(cluster)])) from error


def split(cluster: Cluster, shape: str) -> None:
    """Cut the group into one of these shapes.

    `halves`; the last member `alone`, or heard by nobody (`one-way`); halves that both see the first member
    (`bridge`); a `ring` in which each sees its two neighbours only.
    """
    network, hosts = cluster.network, [manager.host for manager in cluster.managers]
    half = len(hosts) // 2
    match shape:
        case "halves":
            network.partition(hosts[:half], hosts[half:])
        case "alone":
            network.partition(hosts[:-1], hosts[-1:])
        case "bridge":
            network.partition(hosts[1 : half + 1], hosts[half + 1 :])
        case "ring":
            for at, host in enumerate(hosts):
                for other in hosts[at + 2 : len(hosts) - (at == 0)]:
                    network.cut(host, other)
        case "one-way":
            for host in hosts[:-1]:
                network.cut(hosts[-1], host, one_way=True)
        case _:
            raise ValueError(shape)


def move(cluster: Cluster, at: int) -> None:
    """The manager starts anew under its name on another host, and is cut off as it was."""
    old = cluster.managers[at]
    old.power_off()
    host = f"10.0.9.{at + 1}"
    network = cluster.network
    for other in cluster.managers:
        for way in ((old.host, other.host), (other.host, old.host)):
            for carrier in ("udp", "tcp"):
                if network.is_cut(*way, carrier):
                    source, target = (host if end == old.host else end for end in way)
                    network.cut(source, target, one_way=True, carriers=(carrier,))
    cluster.managers[at] = SimManager(network, old.name, host, old.peers, DEFAULT)


def state(manager: SimManager, name: str) -> State | None:
    member = manager.core.group.swim.members.get(name)
    return None if member is None else member.state


@pytest.mark.parametrize("moved", [False, True], ids=["", "moved"])
@pytest.mark.parametrize("shape", ["halves", "alone", "bridge", "ring", "one-way"])
@pytest.mark.parametrize(
    ("managers", "seconds"), [(3, 10), (3, 45), (3, 600), (5, 10), (5, 45), (5, 600), (9, 10), (9, 45)]
)
def test_after_a_split_of_any_length_and_shape_all_agree_within_five_seconds(
    managers: int, shape: str, seconds: float, moved: bool
) -> None:
    """Rows B14 and B41: both sides look for whom they lost as long as they live, and exchange both ways."""
    cluster = formed(managers)
    split(cluster, shape)
    cluster.world.run_for(seconds / 2)
    if moved:
        move(cluster, managers - 1)
    cluster.world.run_for(seconds / 2)
    cluster.network.heal()
    agree(cluster)


@pytest.mark.parametrize("managers", [2, 3, 5, 9])
def test_a_group_at_rest_sends_few_packets_whatever_its_size(managers: int) -> None:
    """Rows B16 and B24; rule M6."""
    cluster = formed(managers)
    cluster.world.run_for(10.0)
    before = cluster.network.packets.copy()
    cluster.world.run_for(120.0)
    assert too_many_packets(cluster.managers, before, cluster.network.packets, 120.0, 0.0) == []


def test_at_rest_a_manager_among_sixteen_has_no_more_to_do_than_one_among_three() -> None:
    """What is done for each member again and again would keep a large group busy with itself."""
    events = {}
    for managers in (3, 16):
        cluster = formed(managers)
        cluster.world.run_for(10.0)
        before = cluster.world.events
        cluster.world.run_for(30.0)
        events[managers] = (cluster.world.events - before) / managers
    assert events[16] <= 1.5 * events[3], events


def test_managers_that_come_together_say_once_or_twice_whom_they_see() -> None:
    """Each entry goes to everybody and is answered: one for each newcomer would be n squared for each."""
    cluster = formed(12)
    written = [manager.core.group.ledger.own.version for manager in cluster.managers]
    split(cluster, "halves")
    cluster.world.run_for(15.0)
    cluster.network.heal()
    agree(cluster)
    cluster.world.run_for(2.0)
    now = [manager.core.group.ledger.own.version for manager in cluster.managers]
    assert max(written) <= 6
    assert max(after - before for before, after in zip(written, now, strict=True)) <= 8


def test_what_an_operator_sets_is_copied_by_some_at_once_and_by_all_in_the_end() -> None:
    cluster = formed(12)
    cluster.managers[0].set_max_nodes(5)

    def copies() -> int:
        pages = [manager.core.group.ledger.own for manager in cluster.managers]
        return sum(page.get(SETTING + SUBSCRIPTION) is not None for page in pages)

    cluster.world.run_until(lambda: copies() > 2, 1.0, "some have copied it")
    assert copies() < 12
    cluster.world.run_until(lambda: copies() == 12, 3.0, "all have copied it")


def test_a_manager_is_listed_as_left_at_once_although_others_had_lost_it_before() -> None:
    cluster = formed(5)
    split(cluster, "halves")
    cluster.world.run_for(20.0)
    cluster.network.heal()
    agree(cluster)
    cluster.world.run_for(2.0)
    cluster.managers[4].stop()
    others = cluster.managers[:4]
    cluster.world.run_until(
        lambda: all(state(manager, "m5") is State.LEFT for manager in others), 0.3, "it left"
    )


def test_all_of_thirty_restarted_at_once_are_alive_everywhere_though_old_accusations_fly() -> None:
    """Row B1: claims of before the restart are below its incarnations."""
    cluster = Cluster(1, 30)
    cluster.world.run_until(cluster.formed, 20.0, "one group")
    for manager in cluster.managers[:10]:
        manager.loop.pause()
    cluster.world.run_for(4.0)
    for manager in cluster.managers:
        manager.restart()
        cluster.world.run_for(2.0 / 30)
    agree(cluster, within=10.0)
    cluster.world.run_for(30.0)
    assert amiss(cluster) == []


def test_after_an_outage_of_all_the_group_is_whole_again_in_any_order_of_starts() -> None:
    """Row B15: nobody has to be remembered, configured peers are tried for as long as it takes."""
    cluster = formed(5)
    for manager in cluster.managers:
        manager.power_off()
    cluster.world.run_for(60.0)
    for manager in reversed(cluster.managers):
        manager.restart()
        cluster.world.run_for(20.0)
    agree(cluster)


def test_who_leaves_returns_and_leaves_again_makes_no_storm() -> None:
    """Row B16: of two leave intents the later one stands, and both fall silent."""
    cluster = formed(5)
    leaver = cluster.managers[4]
    for _ in range(3):
        leaver.stop()
        cluster.world.run_for(2.5)
        leaver.restart()
        cluster.world.run_for(0.3)
    leaver.stop()
    cluster.world.run_for(20.0)
    assert {state(manager, "m5") for manager in cluster.managers[:4]} == {State.LEFT}
    before = cluster.network.packets.copy()
    cluster.world.run_for(60.0)
    assert too_many_packets(cluster.managers, before, cluster.network.packets, 60.0, 0.0) == []


def test_many_that_leave_and_return_together_are_alive_and_not_leaving() -> None:
    """Row B17: an intent of before is overridden by the restart."""
    cluster = formed(9)
    for manager in cluster.managers[1:]:
        manager.stop()
    cluster.world.run_for(3.0)
    for manager in cluster.managers[1:]:
        manager.restart()
    agree(cluster)


@pytest.mark.parametrize("after", [0.0, 0.1, 3.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_leave_under_loss_is_never_taken_for_a_running_member(seed: int, after: float) -> None:
    """Row B18: killed at once it is dead, killed when it has told its leave it has left, for all the same."""
    cluster = formed(5, seed)
    cluster.network.links = Links(loss=0.3)
    leaver = cluster.managers[4]
    leaver.stop()
    cluster.world.run_for(after)
    leaver.kill()
    cluster.world.run_for(45.0)
    cluster.network.links.loss = 0.0
    cluster.world.run_for(35.0)
    states = {state(manager, "m5") for manager in cluster.managers[:4]}
    assert states <= {State.LEFT, State.DEAD}
    if after == 3.0:
        assert states == {State.LEFT}


def test_who_leaves_alone_ends_in_time() -> None:
    """Row B19: nobody has to confirm a leave."""
    cluster = formed(3)
    split(cluster, "alone")
    cluster.managers[2].stop()
    cluster.world.run_for(9.5)
    assert not cluster.managers[2].alive


@pytest.mark.parametrize("seconds", [3.0, 10.0, 60.0])
@pytest.mark.parametrize("managers", [3, 5])
def test_who_was_stopped_listens_before_it_judges(managers: int, seconds: float) -> None:
    """Row B23: whoever did not run for a while accuses nobody of having been silent meanwhile."""
    for seed in range(5):
        cluster = formed(managers, seed)
        sleeper = cluster.managers[0]
        sleeper.loop.pause()
        cluster.world.run_for(seconds)
        mark = len(sleeper.lines)
        sleeper.loop.resume()
        agree(cluster)
        cluster.world.run_for(20.0)
        assert not [text for _, text in sleeper.lines[mark:] if "is dead" in text], f"seed {seed}"
        assert amiss(cluster) == []


@pytest.mark.parametrize("slow", [(0.3, 0.5), (1.0, 3.0)])
def test_a_member_with_a_busy_loop_takes_nobody_down(slow: tuple[float, float]) -> None:
    """Row B23: its lag counts against itself."""
    for seed in range(5):
        cluster = formed(5, seed)
        cluster.managers[0].loop.slow = slow
        cluster.world.run_for(60.0)
        cluster.managers[0].loop.hurry()
        others = cluster.managers[1:]
        dead = [text for manager in others for _, text in manager.lines if "is dead" in text]
        assert not [text for text in dead if "member m1 " not in text], f"seed {seed}"
        agree(cluster, within=10.0)


@pytest.mark.parametrize("managers", [3, 5, 9])
def test_a_death_is_found_in_time_and_whoever_finds_it_does_not_blame_itself(managers: int) -> None:
    """Helpers that are well say so before the probe is over: else each survivor probes seldom for a while."""
    cluster = formed(managers)
    *living, killed = cluster.managers
    killed.kill()
    worst = 0

    def found() -> bool:
        nonlocal worst
        worst = max(worst, *(manager.core.group.swim.prober.awareness.score for manager in living))
        return not alive_while_dead(cluster.managers)

    cluster.world.run_until(found, 8.0, "the killed one is dead for all")
    assert worst == 0


@pytest.mark.parametrize("seed", range(2))
def test_a_member_that_hears_and_is_not_heard_makes_no_storm_and_no_growth(seed: int) -> None:
    """Rows B24 and B31: half a connection, for twenty minutes."""
    cluster = formed(5, seed)
    split(cluster, "one-way")
    cluster.world.run_for(60.0)
    before = cluster.network.packets.copy()
    cluster.world.run_for(1200.0)
    for manager in cluster.managers:
        sent = cluster.network.packets[manager.host] - before[manager.host]
        assert sent / 1200.0 <= 3 * PACKETS_PER_SECOND_MAX
        assert len(manager.core.group.swim.members) == 5
        assert len(manager.core.group.swim.broadcasts) <= 10
    cluster.network.heal()
    agree(cluster)


def test_the_accidental_start_of_a_second_member_of_a_name_closes_the_group_for_nobody() -> None:
    """Row B25: a conflict, met while one joins, ends the newcomer, says so, and nothing else."""
    cluster = formed(3)
    peers = tuple(f"{manager.host}:{GOSSIP_PORT}" for manager in cluster.managers)
    twin = SimManager(cluster.network, "m2", "10.0.0.77", peers, DEFAULT)
    cluster.world.run_for(5.0)
    assert not twin.alive
    assert twin.conflicting
    said = [
        text
        for manager in cluster.managers
        for _, text in manager.lines
        if "two members are named m2" in text
    ]
    assert said
    fourth = SimManager(cluster.network, "m4", "10.0.0.4", peers, DEFAULT)
    cluster.managers.append(fourth)
    agree(cluster)


def test_a_peer_that_was_down_at_the_start_is_alive_when_it_comes() -> None:
    """Row B34: a failed first attempt leaves nothing behind."""
    cluster = Cluster(1, 3)
    cluster.managers[0].power_off()
    cluster.world.run_for(120.0)
    cluster.managers[0].restart()
    agree(cluster)


def test_a_restart_resets_no_copy() -> None:
    """Row B35: a page is compared by its generation first, so that counting anew from 1 is news."""
    cluster = formed(3)
    for _ in range(20):
        cluster.managers[0].set_max_nodes(5)
        cluster.world.run_for(0.1)
    cluster.managers[0].restart()
    agree(cluster)
    for manager in cluster.managers:
        assert manager.core.max_nodes == 5


def test_a_member_under_a_new_name_at_its_old_address_does_not_talk_to_itself() -> None:
    """Row B39: the name that it had before is dead, and nobody looks for it where the new one lives."""
    cluster = formed(3)
    old = cluster.managers[2]
    old.kill()
    cluster.world.run_for(0.2)
    cluster.managers[2] = SimManager(cluster.network, "m9", old.host, old.peers, DEFAULT)
    cluster.world.run_for(30.0)
    agree(cluster)
    for manager in cluster.managers:
        assert state(manager, "m3") in (None, State.DEAD)
    before = cluster.network.packets.copy()
    streams = cluster.network.streams.copy()
    cluster.world.run_for(60.0)
    assert too_many_packets(cluster.managers, before, cluster.network.packets, 60.0, 0.0) == []
    begun = cluster.network.streams - streams
    assert all(count <= 60.0 / LAN.peer_retry_max * 2 * 3 for count in begun.values()), begun


@pytest.mark.parametrize("seed", range(5))
def test_who_restarts_while_a_split_heals_stops_no_merge(seed: int) -> None:
    """Row B48."""
    cluster = formed(5, seed)
    split(cluster, "halves")
    cluster.world.run_for(45.0)
    cluster.network.heal()
    cluster.world.run_for(0.5 + seed * 0.3)
    cluster.managers[seed].restart()
    agree(cluster)


@pytest.mark.parametrize(
    "seconds", [-WALL_AT_START, -40 * 86400.0, -3600.0, 3600.0, 40 * 86400.0, 3 * 366 * 86400.0]
)
def test_a_clock_that_is_set_locks_nobody_out(seconds: float) -> None:
    """Row B36: by an hour or by years, back or ahead, and a restart after it."""
    cluster = formed(3)
    cluster.managers[0].set_clock(seconds)
    cluster.world.run_for(2.0)
    agree(cluster)
    cluster.managers[0].restart()
    agree(cluster, within=15.0)
