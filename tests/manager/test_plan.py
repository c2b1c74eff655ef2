"""Plans as values: waves, sizes, and what a page may hold."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.rollout.plan import Phase, Plan, PlanError, Version, check_size, read_waves, wave_ends
from node.bounds import CONFIG_BYTES_MAX

FIRST = Version(1, "a" * 64, 1000, 1.5, "operator")
PLAN = Plan(versions=(replace(FIRST, number=2, sha256="b" * 64), FIRST), target=2, base=1)


@pytest.mark.parametrize(
    ("waves", "nodes", "ends"),
    [
        (("1", "25%", "100%"), 8, [1, 2, 8]),
        (("1", "25%", "100%"), 3, [1, 1, 3]),
        (("5", "10%", "100%"), 20, [5, 5, 20]),
        (("100%",), 0, [0]),
        (("9", "100%"), 4, [4, 4]),
    ],
)
def test_waves_end_at_a_number_or_a_part_of_all_nodes_and_never_fall(
    waves: tuple[str, ...], nodes: int, ends: list[int]
) -> None:
    assert wave_ends(waves, nodes) == ends


@given(st.integers(0, 5000), st.lists(st.integers(1, 100).map("{}%".format), max_size=5))
def test_the_last_wave_always_reaches_every_node(nodes: int, waves: list[str]) -> None:
    ends = wave_ends((*waves, "100%"), nodes)
    assert ends[-1] == nodes
    assert ends == sorted(ends)


@pytest.mark.parametrize(
    "text", ["", "1,25%", "0,100%", "101%,100%", "1;100%", "a,100%", ["100%"], "1," * 30 + "100%"]
)
def test_waves_that_make_no_sense_are_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match="1,25%,100%"):
        read_waves(text)


def test_a_plan_comes_back_from_a_page_as_it_was_written() -> None:
    plan = replace(PLAN, phase=Phase.ROLLING_BACK, why="n1: no", pause=2.5, heal=True, skip_pause=1)
    assert Plan.from_json(plan.as_json()) == plan


@pytest.mark.parametrize(
    "change",
    [
        {"target": 7},
        {"versions": []},
        {"phase": "asleep"},
        {"max_unavailable": 0},
        {"waves": "1"},
        {"versions": [{"number": 1}]},
        {"pause": "soon"},
    ],
)
def test_what_is_no_plan_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"plan|wave|hase|float"):
        Plan.from_json(PLAN.as_json() | change)


def test_an_empty_configuration_and_a_huge_one_are_refused_even_by_force() -> None:
    with pytest.raises(PlanError, match="is empty"):
        check_size(0, None, force=True)
    with pytest.raises(PlanError, match="at most"):
        check_size(CONFIG_BYTES_MAX + 1, None, force=True)


def test_a_much_smaller_configuration_needs_force() -> None:
    with pytest.raises(PlanError, match=r"has 499 bytes, version 1 has 1000: .* --force"):
        check_size(499, FIRST, force=False)
    check_size(499, FIRST, force=True)
    check_size(500, FIRST, force=False)
