"""What operators may do to a configuration, and what a manager holds of it."""

from hashlib import sha256

import pytest

from gossip.ledger import Ledger
from manager.effects import Count
from manager.outbox import Outbox
from manager.rollout.configs import FETCH_AGAIN_AFTER, Configs, Manner
from manager.rollout.plan import HISTORY_MAX, WAVES, Phase, PlanError
from manager.settings import Settings

KIND, MANNER = "nginx", Manner()


class Here:
    """One manager's configurations, on a page of its own."""

    def __init__(self) -> None:
        self.settings = Settings(Ledger("m1", 1, 1))
        self.outbox = Outbox()
        self.configs = Configs(self.settings, {}, lambda now: now, self.outbox)

    def push(self, content: bytes, *, force: bool = False, kind: str = KIND) -> None:
        self.configs.push(kind, content, "operator", MANNER, 0.0, force=force)

    def ends(self, phase: Phase, why: str = "") -> None:
        self.configs.conclude(KIND, phase, why)

    @property
    def now(self) -> tuple[int, int, Phase]:
        found = self.configs.get(KIND)
        assert found is not None
        return found[1].target, found[1].base, found[1].phase


def test_versions_rise_and_the_one_before_is_what_a_failure_goes_back_to() -> None:
    here = Here()
    here.push(b"one")
    here.ends(Phase.DONE)
    here.push(b"two")
    assert here.now == (2, 1, Phase.RUNNING)
    here.ends(Phase.FAILED, "n1: no")
    assert here.now == (1, 2, Phase.ROLLING_BACK)
    here.ends(Phase.ROLLED_BACK)
    assert here.now == (1, 2, Phase.ROLLED_BACK)
    found = here.configs.get(KIND)
    assert found is not None
    assert found[1].why == "n1: no"
    here.push(b"three")
    assert here.now == (3, 1, Phase.RUNNING)


def test_the_first_configuration_has_nothing_to_go_back_to() -> None:
    here = Here()
    here.push(b"one")
    here.ends(Phase.FAILED, "n1: no")
    assert here.now == (1, 0, Phase.FAILED)
    with pytest.raises(PlanError, match="no version 0 to go back to; known: 1"):
        here.configs.roll_back(KIND, None, MANNER)


def test_a_rollback_names_a_version_or_takes_the_one_before() -> None:
    here = Here()
    for content in (b"one", b"two", b"three"):
        here.push(content, force=True)
        here.ends(Phase.DONE)
    here.configs.roll_back(KIND, None, MANNER)
    assert here.now == (2, 3, Phase.RUNNING)
    here.configs.roll_back(KIND, 1, MANNER)
    assert here.now == (1, 2, Phase.RUNNING)
    with pytest.raises(PlanError, match="no version 9"):
        here.configs.roll_back(KIND, 9, MANNER)


def test_what_all_run_already_is_not_pushed_again() -> None:
    here = Here()
    here.push(b"one")
    with pytest.raises(PlanError, match="this is version 1"):
        here.push(b"one")


def test_old_versions_are_dropped_and_the_one_to_go_back_to_is_not() -> None:
    here = Here()
    here.push(b"00")
    here.ends(Phase.DONE)
    for number in range(1, 15):
        here.push(b"%02d" % number)
    found = here.configs.get(KIND)
    assert found is not None
    numbers = [version.number for version in found[1].versions]
    assert numbers == [*range(15, 15 - HISTORY_MAX + 1, -1), 1]
    here.configs.drop()
    assert len(here.configs.contents) == HISTORY_MAX


@pytest.mark.parametrize(
    ("content", "problem"), [(b"{", "is JSON, and this is not"), (b"[]", "is a JSON object")]
)
def test_a_configuration_for_krakend_that_is_no_json_object_is_refused(content: bytes, problem: str) -> None:
    with pytest.raises(PlanError, match=problem):
        Here().push(content, kind="krakend")


def test_there_are_only_the_kinds_that_there_are() -> None:
    with pytest.raises(PlanError, match="no gateway of kind 'apache'; known: command, haproxy"):
        Here().push(b"x", kind="apache")


@pytest.mark.parametrize(
    ("phase", "allowed"),
    [
        (Phase.RUNNING, {"pause", "resume", "promote", "abort"}),
        (Phase.PAUSED, {"resume", "abort"}),
        (Phase.FAILED, {"resume"}),
        (Phase.ABORTED, {"resume"}),
        (Phase.DONE, set()),
    ],
)
def test_a_rollout_is_steered_where_that_means_something(phase: Phase, allowed: set[str]) -> None:
    for action in ("pause", "resume", "promote", "abort"):
        here = Here()
        here.push(b"one")
        if phase is Phase.PAUSED:
            here.configs.act(KIND, "pause", "operator")
        elif phase is Phase.ABORTED:
            here.configs.act(KIND, "abort", "operator")
        elif phase is not Phase.RUNNING:
            here.ends(phase)
        if action in allowed:
            here.configs.act(KIND, action, "operator")
        else:
            with pytest.raises(PlanError, match=f"there is nothing to {action}"):
                here.configs.act(KIND, action, "operator")


def test_a_manager_without_the_content_does_not_take_a_rollout_over() -> None:
    here = Here()
    here.push(b"one")
    other = Configs(here.settings, {}, lambda now: now, Outbox())
    with pytest.raises(PlanError, match="has not got version 1: resume it on another"):
        other.act(KIND, "resume", "operator")


def test_what_is_missing_is_fetched_and_asked_for_again_only_after_a_while() -> None:
    here = Here()
    here.push(b"one")
    other = Configs(here.settings, {}, lambda now: now, Outbox())
    wanted = other.to_fetch(10.0)
    assert wanted is not None
    assert wanted.sha256 == sha256(b"one").hexdigest()
    assert other.to_fetch(10.0 + FETCH_AGAIN_AFTER / 2) is None
    assert other.to_fetch(10.0 + FETCH_AGAIN_AFTER) is not None
    assert not other.fetched(b"something else")
    assert other.fetched(b"one")
    assert other.content(wanted.sha256) == b"one"
    assert other.to_fetch(99.0) is None


def test_a_plan_on_a_page_that_is_none_is_counted_and_passed_over() -> None:
    here = Here()
    here.settings.set("config/nginx", {"target": 1})
    assert here.configs.get(KIND) is None
    assert here.outbox.take() == [Count("ledger", "bad_record")]


def test_how_a_rollout_goes_holds_for_that_one_alone_but_for_healing() -> None:
    here = Here()
    manner = Manner(waves=("2", "100%"), max_unavailable=3, pause=1.0, heal=True)
    here.configs.push(KIND, b"one", "operator", manner, 0.0, force=False)
    plan = here.configs.push(KIND, b"two", "operator", Manner(pause=2.0), 0.0, force=False)
    assert (plan.waves, plan.max_unavailable, plan.pause, plan.heal) == (WAVES, 1, 2.0, True)
