"""What the fuzz found, told as short stories that do not hang on what a seed draws."""

from dataclasses import replace
from random import Random

import pytest

from gossip.config import LAN
from gossip.ledger import Ledger, generation_above
from gossip.messages import OUR_VERSIONS, Address, Alive, Dead, State
from gossip.pages import Mark
from gossip.swim import Swim
from simulations.cluster import DEFAULT, Cluster
from simulations.nodes import Disk, SimNode
from simulations.processes import NODE_PORT

OLD, NEW, NEWEST = 1 << 40, 2 << 40, 3 << 40


def follow(copy: Ledger, owner: Ledger) -> None:
    piece = owner.piece("a", copy.digest().get("a", Mark(0, 0)))
    assert piece is not None
    assert copy.apply(piece) is not None


def test_of_three_processes_of_one_disk_at_one_manager_each_becomes_a_node() -> None:
    """Seed 330: the third stayed in a session that was welcomed and that nobody counted."""
    cluster = Cluster(1, 1, DEFAULT)
    cluster.world.run_until(cluster.formed, 10.0, "formed")
    [first] = cluster.add_nodes(1)
    cluster.world.run_for(2.0)
    state = first.disk.state
    assert state is not None
    for at in (1, 2):
        disk = Disk(replace(state))
        cluster.nodes.append(SimNode(cluster.network, f"copy{at}", f"10.1.9.{at}", cluster.seeds, disk))
    cluster.world.run_for(60.0)
    assert len({node.id for node in cluster.nodes}) == 3
    assert all(node.joined for node in cluster.nodes)
    assert len(cluster.managers[0].core.served()) == 3


def test_what_an_owner_left_behind_twice_in_a_row_is_kept_whole() -> None:
    """Seed 1613: what stood on the page before the last was lost, and its readers met a KeyError."""
    copy = Ledger("b", OLD)
    first, second, third = Ledger("a", OLD), Ledger("a", NEW), Ledger("a", NEWEST)
    first.put("x", b"1")
    first.put("y", b"1")
    follow(copy, first)
    second.put("y", b"2")
    follow(copy, second)
    third.put("z", b"3")
    follow(copy, third)
    assert dict(copy.former["a"].items()) == {"x": b"1", "y": b"2"}


def test_who_has_more_of_a_former_page_than_its_owner_took_over_keeps_it() -> None:
    """Seed 1052: a start that took over a stale copy made everyone drop the newer ones."""
    copy, first, second = Ledger("b", OLD), Ledger("a", OLD), Ledger("a", NEW)
    first.put("x", b"1")
    first.put("x", b"2")
    follow(copy, first)
    second.note_succession([Mark(OLD, 1)])
    follow(copy, second)
    assert dict(copy.former["a"].items()) == {"x": b"2"}
    second.note_succession([Mark(OLD, 2)])
    follow(copy, second)
    assert copy.former == {}


def test_two_starts_above_one_generation_do_not_share_the_next() -> None:
    """Seed 193."""
    assert generation_above(NEW, 1) != generation_above(NEW, 2)
    assert min(generation_above(NEW, 0), generation_above(NEW + 2**24 - 1, 0)) > NEW


def test_a_late_echo_from_elsewhere_brings_nobody_back_who_left() -> None:
    """Seed 54; rule M4."""
    core = Swim(
        name="m1",
        address=Address("10.0.0.1", 7946),
        meta=b"",
        incarnation=1,
        came_later=lambda _: False,
        group_of=lambda _: None,
        tokens=iter(range(9)),
        wall=lambda now: 1.8e9 + now,
        peers=(),
        config=LAN,
        random=Random(1),
        now=0.0,
    )
    here, elsewhere = Address("10.0.0.2", 7946), Address("10.0.0.3", 7946)
    core.receive(Alive("m2", 7, here, b"", OUR_VERSIONS), here, 1.0)
    core.receive(Dead("m2", 7, "m2"), here, 2.0)
    core.receive(Alive("m2", 5, elsewhere, b"", OUR_VERSIONS), elsewhere, 3.0)
    [m2] = core.members.others()
    assert m2.state is State.LEFT
    core.receive(Alive("m2", 8, elsewhere, b"", OUR_VERSIONS), elsewhere, 4.0)
    assert (m2.state, m2.address) == (State.ALIVE, elsewhere)


def test_a_clock_that_is_set_back_makes_no_rejoin_window_longer() -> None:
    """Seed 99: with the clock a day back, a removed node held its seat for a day."""
    cluster = Cluster(1, 1, replace(DEFAULT, rejoin_window=20.0))
    cluster.world.run_until(cluster.formed, 10.0, "formed")
    [node] = cluster.add_nodes(1)
    cluster.world.run_for(2.0)
    node.kill()
    cluster.world.run_for(2.0)
    [manager] = cluster.managers
    assert manager.core.registry.used == 1
    manager.set_clock(-86400.0)
    cluster.world.run_for(25.0)
    assert manager.core.registry.used == 0


@pytest.mark.parametrize("seed", range(8))
def test_a_start_under_a_clock_set_back_admits_nobody_before_it_has_its_former_page(seed: int) -> None:
    """Seed 7100: an answer to what it had asked below its earlier page counted as the whole."""
    cluster = Cluster(seed, 3, replace(DEFAULT, max_nodes=4))
    cluster.world.run_until(cluster.formed, 10.0, "formed")
    first = (f"{cluster.managers[0].host}:{NODE_PORT}",)
    cluster.add_nodes(4, first)
    cluster.world.run_for(3.0)
    manager = cluster.managers[0]
    manager.skew -= 60.0
    manager.restart()
    cluster.add_nodes(2, first)
    for _ in range(400):
        cluster.world.run_for(0.0005)
        assert manager.core.registry.used <= 4
