"""What the API shows of a core: values that JSON has, under the names that were promised."""

import json
from math import inf, nan

from manager import views
from manager.seats.refusals import FULL
from manager.subscription.documents import parse_time
from manager.terms import SUBSCRIPTION, ManagerConfig
from node.protocol import Limit
from tests.manager.running import WALL, Running


def test_times_are_rfc_3339_in_utc_with_milliseconds() -> None:
    assert views.rfc3339(0.0) == "1970-01-01T00:00:00.000Z"
    assert views.rfc3339(WALL + 0.0129) == "2027-01-15T08:00:00.012Z"


def test_a_number_that_is_no_time_is_shown_all_the_same() -> None:
    for forged in (nan, inf, -inf, 1e300, -1e15):
        assert views.rfc3339(forged) == "1970-01-01T00:00:00.000Z"


def test_a_node_is_shown_with_its_state_its_seat_and_its_present_share() -> None:
    running = Running(ManagerConfig(limits={"public": Limit(100.0, 60.0)}))
    running.wait(10.0)
    id_ = running.node(1)
    running.node(2)
    running.wait(0.1)
    view = running.core.registry.view(id_)
    assert view is not None
    assert views.node_view(running.core, view) == {
        "id": id_,
        "name": "n1",
        "state": "active",
        "over_limit": False,
        "since": "2027-01-15T08:00:10.000Z",
        "why": "said hello to m1",
        "manager": "m1",
        "address": "10.1.0.1",
        "seat": True,
        "incarnation": 1,
        "gateway": "",
        "service": "in service",
        "order": None,
        "order_taken": {"serial": 0, "writer": "", "note": ""},
        "token": "",
        "labels": {},
        "limits": {"public": {"max_rate": 50.0, "every": 60.0}},
    }


def test_a_node_that_has_ended_has_no_share() -> None:
    running = Running(ManagerConfig(limits={"public": Limit(100.0)}))
    running.wait(10.0)
    id_ = running.node(1)
    running.hang_up(1)
    view = running.core.registry.view(id_)
    assert view is not None
    shown = views.node_view(running.core, view)
    assert (shown["state"], shown["seat"], shown["limits"]) == ("removed", True, {})


def test_nodes_are_listed_by_id_the_refused_ones_too() -> None:
    running = Running(ManagerConfig(max_nodes=1))
    running.wait(10.0)
    ids = {running.node(1): "active", running.node(2): "refused", running.node(3): "refused"}
    nodes = views.nodes_view(running.core)["nodes"]
    assert [node["id"] for node in nodes] == sorted(ids)
    assert {node["id"]: node["state"] for node in nodes} == ids
    assert {node["why"] for node in nodes if node["state"] == "refused"} == {FULL}


def test_members_are_ourselves_managers_of_our_group_and_foreign_ones_by_name() -> None:
    running = Running()
    running.meets("m3", "10.0.0.3")
    running.meets("agent", "10.0.0.8", {})
    running.meets("m2", "fd00::2")
    running.meets("green", "10.0.0.7", {"kcm": "1", "kcm_group": "green"})
    running.loses("m3")
    members = views.members_view(running.core)["members"]
    assert {parse_time(member.pop("since")) for member in members} == {WALL}
    assert members == [
        {"name": "agent", "state": "alive", "address": "10.0.0.8:7946", "kind": "foreign"},
        {"name": "m1", "state": "alive", "address": "10.0.0.1:7946", "kind": "manager"},
        {"name": "m2", "state": "alive", "address": "[fd00::2]:7946", "kind": "manager"},
        {"name": "m3", "state": "dead", "address": "10.0.0.3:7946", "kind": "manager"},
    ]


def test_without_a_subscription_nothing_is_capped() -> None:
    running = Running()
    running.wait(10.0)
    running.node(1)
    assert views.subscription_view(running.core, running.now()) == {
        "max_nodes": None,
        "used": 1,
        "cap": None,
        "free": None,
        "over_limit": 0,
        "refused": 0,
        "source": "none",
        "serial": 0,
        "policy": "available",
        "refusal": "",
        "pending": "",
        "overage": "none",
        "expires": None,
        "stage": "none",
        "why": "no signed document",
        "next": [],
        "lapses": [],
    }


def test_the_subscription_says_where_the_cap_comes_from_and_what_is_left() -> None:
    running = Running(ManagerConfig(max_nodes=2))
    running.wait(10.0)
    for number in (1, 2, 3):
        running.node(number)
    shown = views.subscription_view(running.core, running.now())
    assert (shown["max_nodes"], shown["used"], shown["free"], shown["refused"]) == (2, 2, 0, 1)
    assert (shown["source"], shown["serial"]) == ("yaml", 0)
    running.core.operator.set_max_nodes(5, running.now())
    shown = views.subscription_view(running.core, running.now())
    assert (shown["max_nodes"], shown["free"], shown["source"], shown["serial"]) == (5, 3, "set", 1)


def test_a_cap_below_what_runs_leaves_nothing_free_rather_than_less() -> None:
    running = Running()
    running.wait(10.0)
    running.node(1)
    running.node(2)
    running.core.operator.set_max_nodes(0, running.now())
    running.wait(1.0)
    shown = views.subscription_view(running.core, running.now())
    assert (shown["free"], shown["over_limit"], shown["pending"]) == (0, 2, "")


def test_whoever_is_to_mark_nodes_beyond_a_cap_is_named_until_it_has() -> None:
    running = Running()
    running.wait(10.0)
    running.node(1)
    running.node(2)
    running.core.settings.set(SUBSCRIPTION, 0)
    shown = views.subscription_view(running.core, running.now())
    assert shown["pending"] == "2 nodes are still to be marked, as over the cap or within it, by m1"
    running.wait(1.0)
    assert views.subscription_view(running.core, running.now())["pending"] == ""
    running.core.settings.set(SUBSCRIPTION, 1)
    shown = views.subscription_view(running.core, running.now())
    assert shown["pending"] == "1 node is still to be marked, as over the cap or within it, by m1"
    running.wait(1.0)
    shown = views.subscription_view(running.core, running.now())
    assert (shown["pending"], shown["used"], shown["over_limit"]) == ("", 1, 1)


def test_the_limits_are_shown_whole_and_as_shared() -> None:
    running = Running(ManagerConfig(limits={"public": Limit(100.0), "batch": Limit(1.0, 3600.0)}))
    running.wait(10.0)
    running.node(1)
    running.node(2)
    running.wait(0.1)
    plain = {"per_client": False, "algorithm": "equal", "lease": 20.0, "reuse_last": 60.0, "safe": None}
    assert views.cluster_limits_view(running.core) == {
        "limits": {
            "batch": {"max_rate": 1.0, "every": 3600.0, **plain},
            "public": {"max_rate": 100.0, "every": 1.0, **plain},
        },
        "share": {"batch": {"max_rate": 1.0, "every": 7200.0}, "public": {"max_rate": 50.0, "every": 1.0}},
        "nodes": 2,
        "mode": "available",
        "source": "yaml",
        "serial": 0,
    }


def test_info_tells_this_manager_and_its_group_apart() -> None:
    running = Running()
    running.meets("m2", "10.0.0.2")
    running.meets("m3", "10.0.0.3")
    running.loses("m3")
    running.wait(10.0)
    running.node(1)
    shown = views.info_view(running.core, "1.2.3", 10.0)
    assert (shown["name"], shown["group"], shown["version"]) == ("m1", "blue", "1.2.3")
    assert (shown["address"], shown["seed"]) == ("10.0.0.1:7946", "10.0.0.1:7000")
    assert (shown["up_for"], shown["going"]) == (10.0, False)
    assert shown["managers"]["known"] == 3


def test_other_managers_are_asked_at_the_port_that_they_announce() -> None:
    running = Running()
    ours = {"kcm": "1", "kcm_group": "blue"}
    running.meets("m2", "10.0.0.2", {**ours, "kcm_http": "8080"})
    running.meets("m3", "fd00::3", {**ours, "kcm_http": "9897"})
    running.meets("m4", "10.0.0.4", {**ours, "kcm_http": "@evil.example"})
    running.meets("m5", "10.0.0.5", ours)
    running.meets("agent", "10.0.0.8", {"kcm_http": "80"})
    assert views.other_managers(running.core, "http") == {
        "m2": "http://10.0.0.2:8080",
        "m3": "http://[fd00::3]:9897",
    }


def test_every_view_is_json_whatever_a_node_calls_itself() -> None:
    running = Running(ManagerConfig(max_nodes=1))
    running.wait(10.0)
    running.node(1, name="<b>\x1b[31m\u2028")
    core = running.core
    shown = [views.nodes_view(core), views.members_view(core), views.subscription_view(core, running.now())]
    shown += [views.cluster_limits_view(core), views.info_view(core, "1", 1.0)]
    for view in shown:
        assert json.loads(json.dumps(view, allow_nan=False)) == view
