"""What a conductor decides, from the nodes as the pages show them."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from manager.records import Turn
from manager.rollout.conductor import Conductor, Standing, Step, drifted, is_back
from manager.rollout.plan import Phase, Plan, Version
from node.protocol import ConfigState

OLD, NEW = "a" * 64, "b" * 64
ORDER = (5, "m1")
PLAN = Plan(
    versions=(Version(2, NEW, 10, 0.0, "o"), Version(1, OLD, 10, 0.0, "o")),
    target=2,
    base=1,
    waves=("1", "50%", "100%"),
    pause=10.0,
)
STAGED = ConfigState(
    managed=True, version=1, running=OLD, on_disk=OLD, staged=2, plan_serial=5, plan_writer="m1"
)
HAS_IT = replace(STAGED, version=2, running=NEW, on_disk=NEW, staged=0)


def node(number: int, config: ConfigState = STAGED, *, active: bool = True) -> Standing:
    return Standing(f"n{number}", (1, 7), active, config)


def step(nodes: list[Standing], plan: Plan = PLAN, held: tuple[str, ...] = (), now: float = 0.0) -> Step:
    return Conductor().step(plan, ORDER, nodes, held, now)


def test_the_first_wave_changes_the_first_node_alone() -> None:
    assert step([node(n) for n in (3, 1, 2, 4)]).permit == ("n1",)
    assert step([node(n) for n in (1, 2, 3, 4)], held=("n1",)).permit == ()


def test_a_wave_begins_when_the_one_before_has_run_well_for_the_pause() -> None:
    conductor, nodes = Conductor(), [node(1, HAS_IT), node(2), node(3), node(4)]
    waits = conductor.step(PLAN, ORDER, nodes, (), 100.0)
    assert waits.permit == ()
    assert "wave 2 begins when wave 1 has run well for 10 s" in waits.wait
    assert conductor.step(PLAN, ORDER, nodes, (), 109.9).permit == ()
    assert conductor.step(PLAN, ORDER, nodes, (), 110.0).permit == ("n2",)


def test_a_promoted_wave_does_not_wait() -> None:
    nodes = [node(1, HAS_IT), node(2), node(3), node(4)]
    assert step(nodes, replace(PLAN, skip_pause=1)).permit == ("n2",)


def test_who_is_out_for_other_reasons_is_subtracted() -> None:
    plan = replace(PLAN, waves=("100%",), max_unavailable=2)
    nodes = [node(1), node(2), node(3), node(4, active=False)]
    assert step(nodes, plan).permit == ("n1",)
    nodes[2] = node(3, replace(STAGED, ready=False, staged=0))
    blocked = step(nodes, plan)
    assert blocked.permit == ()
    assert blocked.wait == "not in service for other reasons: n3, n4; max_unavailable is 2"


def test_a_node_that_has_not_checked_it_or_does_not_know_the_plan_is_not_sent_out() -> None:
    assert step([node(1, replace(STAGED, staged=0))]).wait == "not yet fetched and checked by n1"
    assert step([node(1, replace(STAGED, plan_serial=4))]).permit == ()


def test_a_node_that_could_not_take_it_fails_the_rollout_with_its_words() -> None:
    failed = replace(STAGED, staged=0, failed=2, note="is not valid here: line 3")
    verdict = step([node(1), node(2, failed)])
    assert verdict.verdict is Phase.FAILED
    assert verdict.why == "n2: is not valid here: line 3"


def test_changed_nodes_that_are_worse_than_the_rest_fail_the_rollout() -> None:
    plan = replace(PLAN, waves=("50%", "100%"))
    ill = replace(HAS_IT, ready=False)
    assert step([node(1, ill), node(2), node(3), node(4)], plan).verdict is Phase.FAILED
    all_ill = [node(1, ill), *(node(n, replace(STAGED, ready=False)) for n in (2, 3))]
    assert step(all_ill, plan).verdict is None, "it is not the configuration's doing"


def test_whom_an_operator_keeps_out_is_no_sign_against_what_it_runs_and_is_not_waited_for() -> None:
    cordoned = replace(HAS_IT, ready=False, service="cordoned")
    plan = replace(PLAN, waves=("1", "100%"), pause=0.0, max_unavailable=2)
    assert step([node(1, cordoned), node(2), node(3)], plan).permit == ("n2",)
    assert step([node(1, cordoned), node(2), node(3)], replace(plan, max_unavailable=1)).permit == ()
    assert is_back(Turn(5, "m1", (1, 7)), node(1, cordoned), PLAN)
    restarting = replace(cordoned, service="restarting")
    assert not is_back(Turn(5, "m1", (1, 7)), node(1, restarting), PLAN)


def test_rolling_back_touches_only_nodes_that_run_a_version_of_ours() -> None:
    plan = replace(PLAN, target=1, base=2, phase=Phase.ROLLING_BACK, max_unavailable=9)
    their_own = replace(STAGED, running="c" * 64, on_disk="c" * 64, staged=1)
    back = [node(1, replace(HAS_IT, staged=1)), node(2, their_own), node(3)]
    assert step(back, plan).permit == ("n1",)
    assert step([node(2, their_own), node(3)], plan).verdict is Phase.ROLLED_BACK


def test_whoever_is_out_of_service_already_may_change_at_once() -> None:
    ill = replace(HAS_IT, ready=False, staged=1)
    plan = replace(PLAN, target=1, base=2, phase=Phase.ROLLING_BACK)
    assert step([node(1, ill), node(2, ill), node(3, replace(HAS_IT, staged=1))], plan).permit == ("n1", "n2")


def test_a_finished_rollout_goes_on_for_nodes_that_come_later_and_leaves_edits_alone() -> None:
    plan = replace(PLAN, phase=Phase.DONE)
    newcomer = replace(STAGED, version=0, running="c" * 64, on_disk="c" * 64)
    edited = replace(HAS_IT, on_disk="d" * 64, staged=2)
    assert step([node(1, HAS_IT), node(2, newcomer), node(3, edited)], plan).permit == ("n2",)
    assert drifted(node(3, edited), plan)
    assert not drifted(node(2, newcomer), plan)
    assert step([node(1, HAS_IT), node(3, edited)], replace(plan, heal=True)).permit == ("n3",)


def test_a_plan_that_stands_changes_nothing() -> None:
    for phase in (Phase.PAUSED, Phase.FAILED, Phase.ABORTED):
        assert step([node(1)], replace(PLAN, phase=phase)).permit == ()


def test_it_is_done_when_all_that_are_changed_have_run_well_for_the_pause() -> None:
    conductor, nodes = Conductor(), [node(1, HAS_IT), node(2, HAS_IT)]
    waits = conductor.step(PLAN, ORDER, nodes, (), 100.0)
    assert (waits.verdict, waits.wait) == (None, "done when all have run well for 10 s")
    assert conductor.step(PLAN, ORDER, nodes, (), 109.9).verdict is None
    assert conductor.step(PLAN, ORDER, nodes, ("n2",), 110.0).verdict is None, "somebody is still out"
    assert conductor.step(PLAN, ORDER, nodes, (), 110.0).verdict is Phase.DONE
    promoted = replace(PLAN, skip_pause=waits.skip)
    assert conductor.step(promoted, (6, "m1"), nodes, (), 111.0).verdict is Phase.DONE
    assert step([]).verdict is Phase.DONE, "there is nothing to look at"


def test_it_is_not_done_when_all_nodes_have_left_before_they_have_shown_how_it_runs() -> None:
    conductor, nodes = Conductor(), [node(1, HAS_IT), node(2, HAS_IT)]
    assert conductor.step(PLAN, ORDER, nodes, (), 0.0).verdict is None
    left = conductor.step(PLAN, ORDER, [], (), 60.0)
    assert (left.verdict, left.wait) == (None, "no node is left that could show how it runs")
    assert conductor.step(replace(PLAN, skip_pause=left.skip), ORDER, [], (), 61.0).verdict is Phase.DONE
    assert conductor.step(PLAN, ORDER, nodes, (), 62.0).verdict is None
    assert conductor.step(PLAN, ORDER, nodes, (), 72.0).verdict is Phase.DONE
    assert step([]).verdict is Phase.DONE, "there never was one"


def test_a_rollout_that_is_done_is_in_its_last_wave() -> None:
    assert step([node(1, HAS_IT)], replace(PLAN, phase=Phase.DONE)).wave == 2


def test_who_comes_within_the_last_pause_is_changed_and_looked_at_as_well() -> None:
    conductor = Conductor()
    assert conductor.step(PLAN, ORDER, [node(1, HAS_IT)], (), 100.0).verdict is None
    late = conductor.step(replace(PLAN, skip_pause=2), ORDER, [node(1, HAS_IT), node(2)], (), 105.0)
    assert late.permit == ("n2",)
    nodes = [node(1, HAS_IT), node(2, HAS_IT)]
    assert conductor.step(PLAN, ORDER, nodes, (), 111.0).verdict is None
    assert conductor.step(PLAN, ORDER, nodes, (), 121.0).verdict is Phase.DONE


def test_after_the_last_wave_it_fails_where_a_node_is_not_well() -> None:
    ill = node(2, replace(HAS_IT, ready=False))
    verdict = step([node(1, HAS_IT), ill])
    assert (verdict.verdict, verdict.why) == (
        Phase.FAILED,
        "n2 has it and is not well; so are 1 of all 2",
    )
    many = [node(number, HAS_IT) for number in (1, *range(3, 13))]
    assert step([ill, *many]).verdict is None, "one of twelve is no sign"


def test_who_restarts_by_a_turn_is_no_sign_against_what_it_runs() -> None:
    for out in (
        replace(HAS_IT, ready=False, changing=True),
        replace(HAS_IT, ready=False, service="restarting"),
    ):
        assert step([node(1, out), node(2), node(3)], held=("n1",)).verdict is None
    assert step([node(1, HAS_IT, active=False), node(2), node(3)]).verdict is Phase.FAILED


def test_a_turn_is_back_when_its_node_is_seen_in_service_and_cannot_go_out_by_it() -> None:
    turn = Turn(5, "m1", (1, 7))
    assert not is_back(turn, None, PLAN)
    assert not is_back(turn, node(1), PLAN), "the permit may still be on its way"
    assert not is_back(turn, node(1, replace(STAGED, ready=False, changing=True)), PLAN)
    assert is_back(turn, node(1, HAS_IT), PLAN)
    assert is_back(turn, node(1, replace(STAGED, failed=2)), PLAN)
    assert is_back(turn, replace(node(1), session=(2, 7)), PLAN), "a permit holds in one session only"
    out = replace(node(1, replace(STAGED, ready=False, changing=True)), session=(2, 7))
    assert not is_back(turn, out, PLAN)
    assert is_back(turn, node(1, replace(STAGED, plan_serial=6)), PLAN), "it would refuse the permit"


configs = st.builds(
    ConfigState,
    managed=st.just(True),
    ready=st.booleans(),
    changing=st.booleans(),
    version=st.integers(0, 2),
    running=st.sampled_from((OLD, NEW)),
    on_disk=st.sampled_from((OLD, NEW)),
    staged=st.integers(0, 2),
    failed=st.integers(0, 2),
    plan_serial=st.integers(4, 5),
    plan_writer=st.just("m1"),
)
standings = st.lists(st.tuples(configs, st.booleans()), max_size=12).map(
    lambda parts: [node(number, config, active=active) for number, (config, active) in enumerate(parts)]
)


@given(standings, st.integers(1, 4), st.sampled_from(list(Phase)), st.data())
def test_never_more_turns_than_there_is_room_for(
    nodes: list[Standing], most: int, phase: Phase, data: st.DataObject
) -> None:
    held = data.draw(st.sets(st.sampled_from([n.id for n in nodes]), max_size=most)) if nodes else set()
    plan = replace(PLAN, waves=("100%",), max_unavailable=most, phase=phase)
    permit = Conductor().step(plan, ORDER, nodes, held, 0.0).permit
    out = {n.id for n in nodes if not n.well} | held
    assert not held & set(permit)
    if taken_out := set(permit) - out:
        assert len(out | taken_out) <= most
