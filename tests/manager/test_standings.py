"""What nodes say that they run is news: on a full page it stands aside for what must not be lost."""

import contextlib
from dataclasses import replace

import pytest

from gossip.ledger import PageFull
from gossip.pages import PAGE_BYTES_MAX, PAGE_BYTES_RESERVE, VALUE_BYTES_MAX
from manager.effects import Count
from manager.outbox import Outbox
from manager.records import RUNS, Runs
from manager.rollout.standings import Standings
from node.protocol import ConfigState
from tests.manager.running import Running

SESSION = (1, 7)
STARTS = ConfigState(managed=True, version=1, running="a" * 64, on_disk="a" * 64, ready=False)
RUNS_WELL = replace(STARTS, ready=True)
FAILED = replace(STARTS, failed=2, note="it is not valid here: line 3, what a gateway says takes some room")


class Bench:
    """m1, and what it asks of its shell."""

    def __init__(self) -> None:
        core = Running().core
        self.ledger, self.outbox = core.group.ledger, Outbox()
        self.standings = Standings(core.group, core.registry, self.outbox)

    def fill(self) -> None:
        for size in (VALUE_BYTES_MAX, 1):
            with contextlib.suppress(PageFull):
                for at in range(10_000):
                    self.ledger.put(f"{size}/{at}", bytes(size))

    def says(self, id_: str, config: ConfigState) -> None:
        self.standings.reported(id_, "nginx", SESSION, config)

    def on_page(self, id_: str) -> ConfigState | None:
        value = self.ledger.own.get(RUNS + id_)
        return None if value is None else Runs.unpack(value).config


def test_news_that_a_full_page_has_no_room_for_is_counted_and_said_again_by_the_next_report() -> None:
    bench = Bench()
    bench.says("n1", STARTS)
    bench.fill()
    bench.says("n1", FAILED)
    bench.says("n2", STARTS)
    assert (bench.on_page("n1"), bench.on_page("n2")) == (STARTS, None)
    assert bench.outbox.take() == 2 * [Count("ledger", "page_full")]
    bench.ledger.delete(f"{VALUE_BYTES_MAX}/0")
    bench.says("n1", FAILED)
    bench.says("n2", STARTS)
    assert (bench.on_page("n1"), bench.on_page("n2")) == (FAILED, STARTS)


def test_on_a_full_page_a_node_still_says_what_takes_no_more_room() -> None:
    bench = Bench()
    bench.says("n1", STARTS)
    bench.fill()
    bench.says("n1", RUNS_WELL)
    assert (bench.on_page("n1"), bench.outbox.take()) == (RUNS_WELL, [])


@pytest.mark.parametrize("config", [STARTS, FAILED])
def test_what_nodes_say_leaves_the_reserve_to_what_must_not_be_lost(config: ConfigState) -> None:
    bench = Bench()
    for at in range(5):
        bench.says(f"n{at}", STARTS)
    bench.fill()
    for at in range(3_000):
        bench.says(f"n{at}", config)
    assert bench.ledger.own.size <= PAGE_BYTES_MAX - PAGE_BYTES_RESERVE
