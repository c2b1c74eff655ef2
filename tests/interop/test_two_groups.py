"""Two groups of managers that come upon each other, by an agent in both or an address that changed hands."""

from itertools import product

import pytest

from tests.e2e.cluster import wait_for
from tests.interop.agents import PATIENCE, MixedGroup

pytestmark = pytest.mark.needs("serf")

BLUE = "group: {name: blue}\n"
GREEN = "group: {name: green}\n"


def told_of(group: MixedGroup, manager: str, stranger: str) -> int:
    """How often `manager` said that `stranger` is of another group."""
    said = f"{stranger} at {group.address(stranger)}:7946 is a manager of group "
    return group.managers[manager].text.count(said)


def exchange_tables_with_all(group: MixedGroup) -> None:
    """Both agents tell each manager of the others at once, and not in their turn."""
    for agent, manager in product(group.agents, group.managers):
        group.serf(agent, "join", group.address(manager))


def caps(group: MixedGroup, *managers: str) -> list[int | None]:
    return [group.get(name, "subscription")["max_nodes"] for name in managers]


def test_an_agent_in_two_groups_merges_the_managers_of_neither(group: MixedGroup) -> None:
    for name, peers, config in (
        ("m1", ["m2"], BLUE),
        ("m2", ["m1"], BLUE),
        ("m3", ["m4"], GREEN),
        ("m4", ["m3"], GREEN),
    ):
        group.start_manager(name, peers=peers, config=config)
    wait_for(lambda: all(len(group.members(name)) == 2 for name in group.managers), 15.0, "two groups")
    group.start_agent("s1", join="m1")
    group.start_agent("s2", join="m3")
    group.serf("s1", "join", group.address("m3"))

    blue, green, agents = ("m1", "m2"), ("m3", "m4"), ("s1", "s2")
    seen = {
        **dict.fromkeys(blue, dict.fromkeys((*blue, *agents), "alive")),
        **dict.fromkeys(green, dict.fromkeys((*green, *agents), "alive")),
        **dict.fromkeys(agents, dict.fromkeys((*blue, *green, *agents), "alive")),
    }
    wait_for(lambda: group.members_of("s1").keys() == seen["s1"].keys(), PATIENCE, "s1 lists all", every=0.3)
    exchange_tables_with_all(group)
    wait_for(lambda: group.views() == seen, PATIENCE, "agents list all, managers only their own", every=0.3)
    met = [*product(blue, green), *product(green, blue)]
    wait_for(lambda: all(told_of(group, *pair) for pair in met), 15.0, "each manager names the others")
    assert group.kcm("subscription", "set", "--max-nodes=7").returncode == 0
    wait_for(lambda: caps(group, "m2") == [7], 10.0, "blue has it")
    # What is told again and again is said once.
    before = {manager: group.rejected(manager)["other_group"] for manager in group.managers}
    exchange_tables_with_all(group)
    wait_for(
        lambda: all(group.rejected(name)["other_group"] > count for name, count in before.items()),
        15.0,
        "all hear of the others again",
    )
    assert caps(group, "m1", "m2", "m3", "m4") == [7, 7, None, None]
    assert [told_of(group, *pair) for pair in met] == [1] * len(met)


def test_a_manager_that_meets_its_namesake_in_another_group_by_an_agent_goes_on(group: MixedGroup) -> None:
    group.start_manager("m1", peers=[], config=BLUE).says("is listening")
    group.start_agent("s1", join="m1")
    namesake = ("--name=m1", f"--state-dir={group.folder}/green")
    later = group.start_manager("m2", *namesake, peers=["s1"], config=GREEN)
    later.says(f"m1 at {group.address('m1')}:7946 is a manager of group 'blue'", within=PATIENCE)
    group.serf("s1", "join", group.address("m2"))
    wait_for(lambda: group.rejected("m2")["other_group"] > 1, 15.0, "it hears so again")
    assert later.running
    assert group.members("m1") == group.members("m2") == {"m1": "alive", "s1": "alive"}


def test_a_manager_of_another_group_at_the_address_of_one_of_ours_does_not_take_its_place(
    group: MixedGroup,
) -> None:
    group.start_managers(3, config=BLUE)
    group.start_agent("s1", join="m1")
    group.all_alive()
    group.managers["m3"].kill()
    # Under the same name, and before anybody has missed the former.
    other_state = f"--state-dir={group.folder}/green"
    group.start_manager("m3", other_state, config=GREEN).says("is listening")
    wait_for(
        lambda: [group.views()[manager]["m3"] for manager in ("m1", "m2")] == ["dead", "dead"],
        PATIENCE,
        "for both the former m3 is dead",
        every=0.3,
    )
    wait_for(lambda: told_of(group, "m1", "m3") == told_of(group, "m2", "m3") == 1, PATIENCE, "both say why")
    assert group.kcm("subscription", "set", "--max-nodes=7").returncode == 0
    wait_for(lambda: caps(group, "m2") == [7], 10.0, "blue has it")
    assert caps(group, "m3") == [None]
    assert not {"m1", "m2"} & group.members("m3").keys()
