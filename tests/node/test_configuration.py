"""What a node does about its gateway's configuration."""

from hashlib import sha256

import pytest

from node.bounds import CONFIG_BYTES_MAX
from node.configuration import Configuration
from node.effects import Change, Effect, Log, Send, Stage
from node.notes import NOTE_CHARS_MAX
from node.protocol import CHUNK_BYTES_MAX, Chunk, Data, Fetch, Permit, Tried, Try, Wanted

OLD, NEW = sha256(b"old").hexdigest(), sha256(b"new").hexdigest()
WANTED = Wanted(serial=3, writer="m1", version=2, sha256=NEW, size=3)
PERMIT = Permit(serial=3, writer="m1")


def configuration() -> Configuration:
    found = Configuration(1)
    found.managed, found.running, found.on_disk = True, OLD, OLD
    return found


def acts(effects: list[Effect]) -> list[Effect]:
    return [effect for effect in effects if not isinstance(effect, Log)]


def chunk(content: bytes, of: str = NEW, offset: int = 0) -> Chunk:
    return Chunk(sha256=of, offset=offset, data=Data(content))


def staged() -> Configuration:
    """One that has fetched what is wanted and found it valid."""
    found = configuration()
    found.received(WANTED)
    found.received(chunk(b"new"))
    found.staged(NEW, "")
    return found


def test_what_is_wanted_is_fetched_checked_and_not_yet_taken() -> None:
    found = configuration()
    assert found.received(WANTED) == [Send(Fetch(sha256=NEW, offset=0))]
    assert found.received(chunk(b"new")) == [Stage(NEW, b"new")]
    assert acts(found.staged(NEW, "")) == []
    assert (found.state.staged, found.state.running, found.state.ready) == (2, OLD, True)


def test_a_large_one_comes_in_pieces_each_where_the_last_ended() -> None:
    content = bytes(CHUNK_BYTES_MAX) + b"end"
    hash_ = sha256(content).hexdigest()
    found = configuration()
    found.received(Wanted(serial=3, writer="m1", version=2, sha256=hash_, size=len(content)))
    asked = found.received(chunk(content[:CHUNK_BYTES_MAX], hash_))
    assert asked == [Send(Fetch(sha256=hash_, offset=CHUNK_BYTES_MAX))]
    assert found.received(chunk(b"again", hash_)) == [], "a piece that came twice"
    assert found.received(chunk(b"end", hash_, CHUNK_BYTES_MAX)) == [Stage(hash_, content)]


def test_a_manager_that_has_not_got_it_yet_is_asked_again_with_the_next_report() -> None:
    found = configuration()
    found.received(WANTED)
    assert found.received(chunk(b"")) == []
    assert found.resume() == [Send(Fetch(sha256=NEW, offset=0))]


def test_content_with_another_hash_is_not_taken() -> None:
    found = configuration()
    found.received(WANTED)
    assert acts(found.received(chunk(b"bad"))) == []
    assert found.state.failed == 2
    assert "another content" in found.state.note


@pytest.mark.parametrize("size", [0, CONFIG_BYTES_MAX + 1])
def test_an_absurd_size_is_not_fetched(size: int) -> None:
    found = configuration()
    assert acts(found.received(Wanted(serial=3, writer="m1", version=2, sha256=NEW, size=size))) == []
    assert found.state.failed == 2


def test_what_the_gateway_would_not_run_with_is_reported_with_its_words_in_short() -> None:
    found = configuration()
    found.received(WANTED)
    found.received(chunk(b"new"))
    found.staged(NEW, "line 3: " + "x" * 1000)
    assert (found.state.staged, found.state.failed) == (0, 2)
    assert found.state.note.startswith("is not valid here: line 3")
    assert len(found.state.note) == NOTE_CHARS_MAX


def test_a_permit_takes_the_gateway_out_of_service_at_once() -> None:
    found = staged()
    assert acts(found.received(PERMIT)) == [Change(NEW)]
    assert (found.state.ready, found.state.changing) == (False, True)
    found.running = found.on_disk = NEW
    found.changed(NEW, "")
    assert (found.state.ready, found.state.changing, found.version) == (True, False, 2)


def test_a_permit_of_another_plan_is_not_acted_on() -> None:
    found = staged()
    assert found.received(Permit(serial=2, writer="m1")) == []
    assert found.received(Permit(serial=3, writer="m2")) == []
    found.received(Wanted(serial=4, writer="m2", version=3, sha256=OLD, size=3))
    assert found.received(PERMIT) == [], "it knows a newer plan"


def test_an_older_plan_does_not_replace_a_newer_one() -> None:
    found = staged()
    assert found.received(Wanted(serial=2, writer="m9", version=1, sha256=OLD, size=3)) == []
    assert (found.state.plan_serial, found.state.plan_writer) == (3, "m1")


def test_a_permit_that_came_twice_changes_nothing_twice() -> None:
    found = staged()
    found.received(PERMIT)
    assert found.received(PERMIT) == []
    found.running = found.on_disk = NEW
    found.changed(NEW, "")
    assert found.received(PERMIT) == []
    assert found.state.failed == 0


def test_a_permit_without_what_is_wanted_is_answered_by_a_failure_so_that_the_turn_comes_back() -> None:
    found = configuration()
    found.received(WANTED)
    assert acts(found.received(PERMIT)) == []
    assert found.state.failed == 2


def test_a_change_that_failed_leaves_the_version_from_before() -> None:
    found = staged()
    found.received(PERMIT)
    found.changed(NEW, "it is not healthy")
    assert (found.version, found.state.failed, found.state.ready) == (1, 2, True)
    assert found.state.note == "does not run here: it is not healthy"


def test_a_plan_that_comes_during_a_change_is_pursued_afterwards() -> None:
    found = staged()
    found.received(PERMIT)
    assert found.received(Wanted(serial=4, writer="m1", version=3, sha256="c" * 64, size=9)) == []
    found.running = found.on_disk = NEW
    assert found.changed(NEW, "") == [Send(Fetch(sha256="c" * 64, offset=0))]


def test_one_that_runs_it_already_has_nothing_to_do() -> None:
    found = configuration()
    found.running = found.on_disk = NEW
    assert found.received(WANTED) == []
    assert found.version == 2


def test_an_agent_that_cannot_replace_the_configuration_fetches_nothing() -> None:
    found = Configuration(0)
    assert found.received(WANTED) == []
    assert not found.state.managed


def test_a_trial_is_only_checked() -> None:
    found = configuration()
    assert found.received(Try(number=4, sha256=NEW, size=3)) == [Send(Fetch(sha256=NEW, offset=0))]
    assert found.received(chunk(b"new")) == [Stage(NEW, b"new", trial=True)]
    assert found.staged(NEW, "line 3") == [Send(Tried(number=4, error="line 3"))]
    assert (found.state.staged, found.state.failed) == (0, 0)


def test_what_was_being_fetched_ends_with_the_session_and_is_fetched_in_the_next() -> None:
    found = configuration()
    found.received(WANTED)
    found.session_ended()
    assert found.resume() == []
    assert found.received(chunk(b"new")) == []
    assert found.received(WANTED) == [Send(Fetch(sha256=NEW, offset=0))]
