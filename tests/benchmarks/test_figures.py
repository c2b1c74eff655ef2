"""What the benchmarks make of their figures, and in which order they take them."""

from math import inf

from benchmarks.figures import ratio, with_part
from benchmarks.gossip import MEMBERS_AT_ONCE, STORIES, batches

SYSTEMS = ("ours", "serf")


def test_a_part_of_the_results_replaces_the_one_of_its_heading_and_no_other() -> None:
    text = "# One\n\nold\n\n## of one\n\n# Two\n\nkept\n"
    assert with_part(text, "# One\n\nnew\n") == "# One\n\nnew\n\n# Two\n\nkept\n"
    assert with_part(text, "# Three\n\nnew\n") == f"{text}\n# Three\n\nnew\n"


def test_a_ratio_needs_something_to_compare_with() -> None:
    assert ratio([1.0, 1.0, inf], [2.0, 0.0, inf]) == "0.5 (0.5-0.5)"
    assert ratio([1.0], [0.0]) == "–"


def test_every_story_is_lived_through_once_a_round_by_each_system() -> None:
    wanted = [
        (each.system, each.size, each.round, story)
        for batch in batches((3, 32), 2, SYSTEMS, STORIES, set())
        for each in batch
        for story in each.stories
    ]
    assert len(wanted) == len(set(wanted)) == len(SYSTEMS) * 2 * 2 * len(STORIES)


def test_what_is_taken_is_not_taken_again() -> None:
    every = batches((3, 5), 1, SYSTEMS, STORIES, set())
    taken = {(e.system, e.size, e.round, story) for batch in every for e in batch for story in e.stories}
    assert batches((3, 5), 1, SYSTEMS, STORIES, taken) == []
    [[left]] = batches((3, 5), 1, SYSTEMS, STORIES, taken - {("serf", 5, 0, "kill")})
    assert (left.system, left.size, left.stories) == ("serf", 5, ("kill",))


def test_stories_of_milliseconds_have_the_machine_to_themselves_and_the_others_keep_a_bound() -> None:
    for batch in batches((3, 5, 16, 32), 5, SYSTEMS, STORIES, set()):
        assert len(batch) == 1 or sum(each.size for each in batch) <= MEMBERS_AT_ONCE
        stories = {story for each in batch for story in each.stories}
        assert len(batch) == 1 or stories.isdisjoint({"news", "leave"})
