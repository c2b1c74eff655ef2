"""A simulator is as good as the bugs it finds: known ones, put back one at a time.

A checker must name each under faults that are drawn from the seed. `make mutants` looks for each from the
first seed on, up to 1,000; here the one that named it is tried first, and then a bounded number.
"""

import pytest

from simulations.mutants import MUTANTS, OF_STRICT
from simulations.mutants.hunt import hunt
from simulations.mutants.patch import applied

SEEDS = 40
NAMED_AT = {
    "answer_to_an_exchange_ignored": 6,
    "aside_for_ever": 79,
    "busy_blames_others": 45,
    "conflict_of_others_is_fatal": 6,
    "dead_name_keeps_its_address": 20,
    "documents_not_copied": 17,
    "end_of_an_old_session": 13,
    "equal_accusation_is_old": 20,
    "failed_peer_is_given_up": 7,
    "file_beats_the_operator": 8,
    "first_news_first": 5,
    "forgotten_in_the_wrong_order": 55,
    "former_name_is_believed": 25,
    "former_page_dropped": 17,
    "fresh_manager_admits": 19,
    "grace_by_our_own_view": 10,
    "intents_told_for_ever": 6,
    "joins_once": 7,
    "known_node_refused": 4,
    "late_duplicate_after_collection": 17,
    "late_echo_from_elsewhere": 42,
    "late_reset_taken": 14,
    "margin_begins_anew": 4,
    "merge_waits_for_ever": 166,
    "new_metadata_ignored": 42,
    "notes_are_not_heeded": 18,
    "old_disk_is_welcomed": 29,
    "old_news_is_told_on": 5,
    "only_the_living_are_remembered": 30,
    "others_have_nothing": 7,
    "pages_dropped_by_timers": 3,
    "power_cycled_is_a_clone": 6,
    "refuted_by_one": 13,
    "sessions_counted_not_hellos": 15,
    "settings_not_copied": 8,
    "silence_is_ours": 45,
    "stale_alive_ends_suspicion": 6,
    "stale_alive_revives": 14,
    "suspect_about_a_gone_member": 6,
    "table_about_ourselves_ignored": 6,
    "unreached_is_not_suspected": 70,
    "uses_counted_alone": 19,
    "versions_without_generation": 10,
}
"""The seed that named each when that was last looked up, where it was not the first: it is tried first."""


@pytest.mark.parametrize("mutant", list(MUTANTS))
def test_a_mutant_fits_the_core(mutant: str) -> None:
    with applied(MUTANTS[mutant]):
        pass


@pytest.mark.parametrize("mutant", [name for name in MUTANTS if name not in OF_STRICT])
def test_a_known_bug_is_named_by_a_checker(mutant: str) -> None:
    found = hunt(NAMED_AT.get(mutant, 1), 1)(mutant)
    if not found["checker"]:
        found = hunt(1, SEEDS)(mutant)
    assert found["checker"], (
        f"no checker names it within {SEEDS} seeds any more; where it is named now says "
        f"python -m simulations mutants --only {mutant} --seeds 1000"
    )
    assert found["green"], f"seed {found['seed']} breaks a promise without it too"


def test_a_mutant_leaves_nothing_behind() -> None:
    before = hunt(1, 1)("moving_is_leaving")
    assert before["checker"] == "removed_means_ended"
    assert before["green"]
