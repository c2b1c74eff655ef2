"""Each scenario with a few seeds, and small: what it promises holds."""

import pytest

from simulations.cli import names, scenario
from simulations.report import Report

SMALLER = {
    "busy-manager": (3, 10, 1.5),
    "cap-in-a-split": (3, 10, 2.0),
    "config-rollout": (3, 8, 1.5),
    "churn": (3, 16, 2.0),
    "clone-army": (3, 8, 1.0),
    "flip-flop": (3, 8, 2.0),
    "forgotten-tombstones": (3, 8, 3.0),
    "lossy-link": (4, 8, 2.0),
    "one-way": (4, 8, 1.5),
    "restart-all": (3, 12, 1.0),
    "rolling-upgrade": (3, 12, 0.5),
    "rollout-by-founders": (3, 8, 1.0),
    "skewed-demand": (3, 20, 0.5),
    "slow-disk": (3, 10, 1.0),
    "split-brain": (3, 12, 2.0),
    "split-brain-strict": (3, 6, 0.5),
    "split-failover": (3, 12, 1.5),
    "subscription-in-a-split": (3, 9, 1.5),
    "thundering-herd": (3, 400, 1.0),
}


def told(name: str, seed: int) -> Report:
    managers, nodes, minutes = SMALLER[name]
    report: Report = scenario(name).run(managers, nodes, seed, minutes)
    return report


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", names())
def test_a_scenario_keeps_what_it_promises(name: str, seed: int) -> None:
    report = told(name, seed)
    assert report.broken == [], report.text()


def test_every_seed_of_a_scenario_is_another_story_and_one_seed_always_the_same() -> None:
    first, again, other = (told("churn", seed) for seed in (1, 1, 2))
    assert first.trace == again.trace
    assert list(first.lines()) == list(again.lines())
    assert first.trace != other.trace


def test_a_herd_of_five_thousand_nodes_is_seated_exactly() -> None:
    report: Report = scenario("thundering-herd").run(3, 5000, 1, 1.0)
    assert report.broken == [], report.text()
