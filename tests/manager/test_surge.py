"""Seats beyond the cap: only in the place of a node just lost, for a while, and the same at all managers."""

from dataclasses import replace
from pathlib import Path

import pytest

from manager.config.configured import core_config
from manager.records import NodeState
from manager.terms import ManagerConfig
from node.protocol import Hello, Refused, Welcome
from node.settings import SettingsError
from simulations.cluster import Cluster
from simulations.nodes import SimNode
from simulations.watch import Watch
from tests.manager.test_config import configuration
from tests.manager.test_core import Bench, key

CONFIG = ManagerConfig(max_nodes=2, surge_seats=1, surge_seconds=40.0)


def named(number: int, name: str, address: str = "") -> Hello:
    return Hello(key=key(number), incarnation=1, nonce=1, name=name, address=address or f"10.9.0.{number}")


def full(config: ManagerConfig = CONFIG) -> Bench:
    bench = Bench(config)
    bench.say(1, named(1, "blue"))
    bench.say(2, named(2, "green"))
    return bench


def comes(bench: Bench, number: int, name: str, address: str = "") -> bool:
    """Whether the newcomer is let in, with a seat."""
    answers = bench.say(number, named(number, name, address))
    assert any(isinstance(one, Welcome | Refused) for one in answers)
    return any(isinstance(one, Welcome) and not one.over_limit for one in answers)


def test_who_comes_in_the_place_of_a_node_just_lost_is_let_in_beyond_the_cap() -> None:
    bench = full()
    bench.hang_up(1)
    assert comes(bench, 3, "blue")
    bench.wait(1.0)
    assert bench.core.registry.used == 3
    assert not bench.node(3).record.over_limit


def test_the_same_address_will_do() -> None:
    bench = full()
    bench.hang_up(1)
    assert comes(bench, 3, "another", "10.9.0.1")


def test_the_same_fingerprint_will_do_which_is_kept_only_where_it_is_asked_for() -> None:
    for config, comes_in in ((CONFIG, True), (ManagerConfig(max_nodes=2), False)):
        bench = Bench(config)
        marked = [replace(named(at, f"n{at}"), fingerprint="f" if at != 2 else "g") for at in (1, 2, 3)]
        for at in (1, 2):
            bench.say(at, marked[at - 1])
        assert bench.node(1).record.fingerprint == ("f" if comes_in else "")
        bench.hang_up(1)
        assert any(isinstance(one, Welcome) for one in bench.say(3, marked[2])) is comes_in


def test_nobody_else_is_let_in_beyond_the_cap() -> None:
    bench = full()
    assert not comes(bench, 3, "blue")
    bench.hang_up(1)
    assert not comes(bench, 4, "red")
    assert not comes(bench, 5, "")


def test_one_lost_node_makes_room_for_one() -> None:
    bench = full(ManagerConfig(max_nodes=2, surge_seats=5))
    bench.hang_up(1)
    assert comes(bench, 3, "blue")
    assert not comes(bench, 4, "blue")
    bench.hang_up(2)
    assert not comes(bench, 5, "blue")
    assert comes(bench, 6, "green")


def test_there_are_no_more_seats_than_the_surge_has() -> None:
    bench = full()
    bench.hang_up(1)
    bench.hang_up(2)
    assert comes(bench, 3, "blue")
    assert not comes(bench, 4, "green")


def test_who_was_lost_long_ago_makes_no_room() -> None:
    bench = full(ManagerConfig(max_nodes=2, surge_seats=1, surge_seconds=10.0))
    bench.hang_up(1)
    bench.wait(11.0)
    assert not comes(bench, 3, "blue")


def test_the_seat_ends_when_the_time_is_over_or_the_lost_node_is_back() -> None:
    bench = full(ManagerConfig(max_nodes=2, surge_seats=1, surge_seconds=8.0))
    bench.hang_up(1)
    comes(bench, 3, "blue")
    bench.wait(9.0)
    assert bench.node(3).record.over_limit
    bench = full()
    bench.hang_up(1)
    comes(bench, 3, "blue")
    bench.say(4, Hello(key=key(1), incarnation=2, nonce=1, name="blue"))
    bench.wait(1.0)
    assert (bench.state(1), bench.node(3).record.over_limit) == (NodeState.ACTIVE, True)


def test_once_the_lost_node_gives_its_seat_up_its_successor_has_one_of_the_cap() -> None:
    bench = full(ManagerConfig(max_nodes=2, surge_seats=1, rejoin_window=5.0, unreachable_after=99.0))
    bench.hang_up(1)
    comes(bench, 3, "blue")
    bench.wait(6.0)
    assert bench.core.registry.used == 2
    assert not bench.node(3).record.over_limit


def test_a_rolling_restart_of_a_full_group_with_new_disks_refuses_nobody_at_any_manager() -> None:
    config = ManagerConfig(max_nodes=6, surge_seats=2, rejoin_window=20.0, retry_after=60.0)
    cluster = Cluster(5, 3, config, watch=Watch)
    cluster.world.run_until(cluster.formed, 10.0, "formed")
    nodes = cluster.add_nodes(6)
    cluster.world.run_until(lambda: all(node.joined for node in nodes), 10.0, "all are in")
    for at, old in enumerate(nodes):
        old.kill()
        cluster.world.run_for(1.0)
        seeds = cluster.seeds[at % 3 :] + cluster.seeds[: at % 3]
        new = SimNode(cluster.network, old.name, f"10.2.0.{at + 1}", seeds)
        cluster.nodes.append(new)
        cluster.world.run_until(lambda: cluster.nodes[-1].joined, 5.0, f"{new.name} is back, as another node")
        cluster.settle(10.0, "all agree")
        assert all(manager.core.registry.used <= 8 for manager in cluster.managers)
        assert all(manager.core.registry.over == 0 for manager in cluster.managers)
        cluster.world.run_for(9.0)
    cluster.world.run_for(30.0)
    assert {(m.core.registry.used, m.core.registry.over) for m in cluster.managers} == {(6, 0)}


def test_strict_has_no_seats_beyond_the_cap(tmp_path: Path) -> None:
    text = "group: {founders: [m1]}\nsubscription: {policy: strict, surge: {seats: 1, for: 5m}}\n"
    with pytest.raises(SettingsError, match="leave as many seats free as a rolling restart needs"):
        configuration(text, tmp_path)
    core = core_config(configuration(text.replace("strict", "available"), tmp_path))
    assert (core.surge_seats, core.surge_seconds) == (1, 300.0)
