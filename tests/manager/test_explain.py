"""What people are told of why a node has its share."""

from typing import Any

import pytest

from manager.limits.explain import explain


def shares(**changes: Any) -> dict[str, Any]:
    manager = {"name": "m1", "alive": True, "entitled": 100.0, "budget": 100.0}
    node = {
        "id": "krakend_1",
        "name": "n1",
        "manager": "m1",
        "state": "active",
        "weight": 1.0,
        "share": {"max_rate": 100.0, "every": 1.0},
        "entitled": 100.0,
        "in_force": 100.0,
    }
    plain = {
        "limit": "public",
        "per_second": 100.0,
        "algorithm": "equal",
        "mode": "available",
        "split": False,
    }
    of_manager = {key: value for key, value in changes.items() if key in manager}
    of_node = {key.removeprefix("node_"): value for key, value in changes.items() if key.startswith("node_")}
    rest = {key: value for key, value in changes.items() if key in plain}
    return {**plain, **rest, "managers": [manager | of_manager], "nodes": [node | of_node]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "m1 has 100/s, all that is its nodes'"),
        ({}, "n1 at m1: told 100 per 1 s, all that is its own"),
        ({"budget": 50.0}, "others have not given it back yet"),
        (
            {"budget": 50.0, "mode": "conserve", "split": True},
            "in a split nobody adds anything, managers only hand over",
        ),
        ({"budget": 150.0}, "it waits until they work under less"),
        ({"alive": False}, "m1 is out of reach: 100/s count for it until its leases are over"),
        ({"alive": False, "mode": "conserve"}, "until it is back or has left for good"),
        ({"node_in_force": 150.0}, "150/s count until it has confirmed"),
        ({"node_in_force": 10.0}, "100/s are its own when there is room"),
        ({"node_in_force": None, "node_entitled": None}, "its manager knows what is in force"),
        (
            {"node_share": None, "node_state": "removed"},
            "it is removed, and 100/s count until its lease is over",
        ),
    ],
)
def test_every_reason_has_its_sentence(changes: dict[str, Any], said: str) -> None:
    assert any(said in line for line in explain(shares(**changes)))
