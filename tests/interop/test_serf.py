"""Debian's `serf` and our managers in one group: each takes the other for a member like any other.

What both kinds live through together, under keys and without, is in `test_matrix.py`.
"""

from contextlib import closing

import pytest

from gossip.messages import Address
from tests.e2e.cluster import GOSSIP_PORT, wait_for
from tests.interop.agents import OF_ANY_GROUP, PATIENCE, MixedGroup, OneWayMirror, unlike

pytestmark = pytest.mark.needs("serf")

MANAGERS = ["m1", "m2", "m3"]
IN_VAIN = "Failed ping: s2"


def test_an_agent_joins_through_each_of_three_managers(group: MixedGroup) -> None:
    group.start_managers(3)
    for number, manager in enumerate(MANAGERS, 1):
        group.start_agent(f"s{number}", join=manager)
    group.all_alive()
    for manager in MANAGERS:
        assert group.kinds(manager) == {
            **dict.fromkeys(MANAGERS, "manager"),
            **dict.fromkeys(["s1", "s2", "s3"], "foreign"),
        }


def test_agents_that_ran_before_the_managers_join_through_each_of_them(group: MixedGroup) -> None:
    for agent in ("s1", "s2", "s3"):
        group.start_agent(agent)
    for manager in MANAGERS:
        group.start_manager(manager)
    group.formed(3)
    for agent, manager in zip(("s1", "s2", "s3"), MANAGERS, strict=True):
        group.serf(agent, "join", group.address(manager))
        group.known_to_managers(agent)
    group.all_alive()


def test_an_agent_that_waits_for_a_manager_joins_when_that_one_comes(group: MixedGroup) -> None:
    waiting = f"-retry-join={group.address('m1')}"
    agent = group.start_agent("s1", waiting, "-retry-interval=1s")
    agent.says("Join failed")
    group.start_manager("m1", peers=[])
    group.all_alive()


def test_a_manager_that_is_killed_and_restarted_is_believed_to_be_the_new_one(group: MixedGroup) -> None:
    group.start_managers(3)
    group.start_agent("s1", join="m1")
    group.all_alive()
    before = group.members_of("s1")["m2"]["tags"]["kcm_start"]
    group.managers["m2"].kill()
    group.start_manager("m2")
    wait_for(
        lambda: group.members_of("s1")["m2"]["tags"]["kcm_start"] != before,
        PATIENCE,
        "the new process is seen",
    )
    group.all_alive()


def test_an_agent_that_a_signal_ended_is_dead_until_an_operator_says_that_it_left(group: MixedGroup) -> None:
    group.start_managers(3)
    for number in (1, 2, 3):
        group.start_agent(f"s{number}", join=f"m{number}")
    group.all_alive()
    assert "Successfully contacted all live nodes" in group.serf("s1", "reachability")
    assert group.kcm("reachability", manager="m2").returncode == 0
    group.agents["s2"].stop()
    group.agents["s3"].kill()
    for agent in ("s2", "s3"):
        group.listed(agent, ours="dead", theirs="failed")
    group.serf("s1", "force-leave", "s3")
    group.listed("s3", ours="left", theirs="left")
    group.listed("s2", ours="dead", theirs="failed")
    assert group.kcm("force-leave", "s2", manager="m3").returncode == 0
    group.listed("s2", ours="left", theirs="left")
    assert group.kcm("force-leave", "--prune", "s2", manager="m3").returncode == 0
    wait_for(
        lambda: not any("s2" in view for view in group.views().values()), PATIENCE, "s2 is listed nowhere"
    )


def test_a_running_manager_that_an_operator_declares_gone_says_that_it_is_not(group: MixedGroup) -> None:
    group.start_managers(3)
    agent = group.start_agent("s1", "-log-level=debug", join="m1")
    group.start_agent("s2", join="m2")
    group.all_alive()
    group.serf("s1", "force-leave", "m2")
    agent.says("messageJoinType: m2")
    group.all_alive()
    # Its own word is still newer than all that was said of it.
    assert group.managers["m2"].stop() == 0
    group.listed("m2", ours="left", theirs="left", within=15.0)


def test_nothing_that_managers_tell_each_other_reaches_an_agent(group: MixedGroup) -> None:
    group.start_managers(2)
    for agent, manager in (("s1", "m1"), ("s2", "m2")):
        group.start_agent(agent, "-log-level=debug", join=manager)
    group.all_alive()
    for number in range(1, 5):
        group.start_node(f"n{number}", f"m{1 + number % 2}")
    group.everywhere({f"n{number}": "active" for number in range(1, 5)}, 20.0, "all nodes are active")
    group.start_manager("m3")
    group.all_alive()
    group.nodes["n1"].stop()
    group.everywhere(
        {"n1": "removed", **{f"n{number}": "active" for number in range(2, 5)}}, 10.0, "n1 is removed"
    )
    wait_for(lambda: not group.differences(), 10.0, "the managers agree")
    for agent in group.agents:
        assert not unlike(group.complaints(agent), OF_ANY_GROUP)
    for manager in MANAGERS:
        # News may come before news of who writes it: it is sent again.
        assert group.rejected(manager).keys() <= {"ledger_from_stranger"}


def test_agents_that_cannot_reach_each_other_do_so_through_the_managers(group: MixedGroup) -> None:
    known_as = f"{group.net}.202"
    member = Address(group.address("s2"), GOSSIP_PORT)
    with closing(OneWayMirror(known_as, member, shut_out=group.address("s1"))) as mirror:
        group.start_managers(3)
        first = group.start_agent("s1", "-log-level=debug", join="m1")
        second = group.start_agent("s2", f"-advertise={known_as}:{GOSSIP_PORT}", join="m2")
        group.all_alive()

        def heard() -> str:
            # Nobody repeats an event that was lost.
            group.serf("s1", "event", "-coalesce=false", "deploy", "now")
            return second.says("Received event: user-event: deploy", within=2.0)

        wait_for(heard, 15.0, "s2 hears the event of s1")
        # s1 probes s2 in turn, in vain by UDP and by TCP.
        wait_for(lambda: first.text.count(IN_VAIN) > 2, 30.0, "s1 has probed s2 thrice")
        # … and hears of it by way of a manager: not always in time where the machine is busy.
        assert first.text.count("Suspect s2 has failed") < first.text.count(IN_VAIN) - 1
        assert "EventMemberFailed: s2" not in first.text
        group.all_alive()
    assert mirror.kept_out > 0
