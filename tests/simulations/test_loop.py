"""The event loop of a simulated process: what comes together is one turn of its manager, as in production."""

from functools import partial

import pytest

from manager.seed.frames import TOGETHER_SECONDS
from simulations.cluster import Cluster
from simulations.faults import Fire
from simulations.line import Line
from simulations.loop import Loop
from simulations.plan import LAGS, Plan
from simulations.processes import SimManager
from simulations.watch import Watch
from simulations.world import World


class Told:
    """A process that tells what it does, and ends its turn soon."""

    def __init__(self, seed: int = 1, *, lag: float = 0.0) -> None:
        self.world = World(seed)
        self.loop = Loop(self.world, self.world.random("loop"), lag=lag)
        self.done: list[str] = []

    def hear(self, what: str) -> None:
        self.loop.submit(lambda: self.heard(what))

    def heard(self, what: str) -> None:
        if self.done[-1:] in ([], ["end"]):
            self.loop.soon(lambda: self.done.append("end"))
        self.done.append(what)


def test_what_comes_alone_is_a_turn_of_its_own() -> None:
    told = Told()
    told.hear("a")
    told.hear("b")
    assert told.done == ["a", "end", "b", "end"]


def test_what_has_come_while_a_loop_was_at_something_else_is_one_turn() -> None:
    told = Told(lag=0.01)
    told.hear("a")
    told.hear("b")
    assert not told.done
    assert not told.loop.busy
    told.world.run_for(0.01)
    assert told.done == ["a", "b", "end"]


def test_what_waits_for_a_process_that_was_stopped_is_one_turn() -> None:
    told = Told()
    told.loop.pause()
    told.hear("a")
    told.hear("b")
    told.loop.resume()
    told.world.run_for(0.0)
    assert told.done == ["a", "b", "end"]


@pytest.mark.parametrize("lag", [0.0, 0.01])
def test_a_process_may_be_stopped_between_what_it_hears_and_what_it_makes_of_that(lag: float) -> None:
    stories = set()
    for seed in range(20):
        told = Told(seed, lag=lag)
        told.loop.pause_within()
        told.hear("a")
        told.hear("b")
        told.world.run_for(1.0)
        assert told.loop.busy
        before = tuple(told.done)
        told.loop.resume()
        told.world.run_for(1.0)
        stories.add((before, tuple(told.done)))
    assert stories == {
        (("a",), ("a", "end", "b", "end")),
        (("a", "end"), ("a", "end", "b", "end")),
    }


def test_a_process_that_ends_within_a_turn_makes_nothing_of_it() -> None:
    told = Told(lag=0.01)
    told.hear("a")
    told.loop.submit(told.loop.end)
    told.hear("b")
    told.world.run_for(1.0)
    assert told.done == ["a"]


def test_what_nodes_say_within_a_moment_is_one_turn_in_the_order_of_each() -> None:
    told = Told()
    line = Line(told.loop)
    for conn, what in ((1, "a"), (2, "b"), (1, "a2")):
        line.put(conn, partial(told.heard, what))
    told.world.run_for(TOGETHER_SECONDS / 2)
    assert not told.done
    told.world.run_for(TOGETHER_SECONDS)
    assert told.done == ["a", "a2", "b", "end"]


def test_what_a_connection_had_brought_is_taken_before_its_end() -> None:
    told = Told()
    line = Line(told.loop)
    line.put(1, partial(told.heard, "a"))
    line.put(2, partial(told.heard, "b"))
    line.take(1)
    assert told.done == ["a"]


class Turns(Watch):
    turns = 0

    def turned(self, manager: SimManager) -> None:
        self.turns += 1
        super().turned(manager)


def turns_for_forty_nodes(slow: tuple[float, float] | None) -> int:
    cluster = Cluster(1, 1, watch=Turns)
    cluster.world.run_until(cluster.formed, 10.0, "formed")
    assert isinstance(cluster.watch, Turns)
    before = cluster.watch.turns
    cluster.managers[0].loop.slow = slow
    nodes = cluster.add_nodes(40)
    cluster.world.run_until(lambda: all(node.joined for node in nodes), 10.0, "joined")
    return cluster.watch.turns - before


def test_nodes_that_come_together_cost_a_busy_manager_few_turns() -> None:
    assert turns_for_forty_nodes((0.3, 0.3)) < turns_for_forty_nodes(None) / 4


def test_half_of_the_seeds_have_managers_that_take_together_what_comes_within_milliseconds() -> None:
    plans = [Plan.draw(seed) for seed in range(50)]
    assert {plan.lag for plan in plans} == set(LAGS)
    manager = Fire(next(plan for plan in plans if plan.lag)).managers[0]
    done: list[str] = []
    manager.loop.submit(lambda: done.append("at once"))
    assert not done
    assert not manager.loop.busy
