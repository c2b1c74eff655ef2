"""The state file: whole at every moment, held by one agent."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.effects import NodeState
from node.protocol import Limit
from node.state import ProcessId, StateError, StateFile, state_directory, write_atomically

STATE = NodeState(
    key=b"k" * 32,
    id="krakend_3f20a44d-3d93-4bc9-829b-b76b22055142",
    ticket="t",
    incarnation=7,
    limits_version=3,
    limits={"public": Limit(0.1, 60.0)},
)


@contextmanager
def opened(directory: Path) -> Iterator[StateFile]:
    file = StateFile(directory)
    try:
        yield file
    finally:
        file.close()


def saved(directory: Path, state: NodeState = STATE) -> Path:
    with opened(directory) as file:
        file.save(state)
        return file.path


def test_a_new_directory_has_no_state(tmp_path: Path) -> None:
    with opened(tmp_path / "a" / "b") as file:
        assert (file.state, file.gateway) == (None, None)


@given(
    st.builds(
        NodeState,
        key=st.binary(min_size=32, max_size=32),
        id=st.text(st.characters(exclude_categories=["Cs"])),
        ticket=st.text(st.characters(exclude_categories=["Cs"])),
        incarnation=st.integers(0, 2**63 - 1),
        limits_version=st.integers(0, 2**63 - 1),
        limits=st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"])),
            st.builds(Limit, st.floats(0, 1e18), st.floats(0, 1e18)),
        ),
    ),
    st.none() | st.builds(ProcessId, pid=st.integers(2, 2**22), start_time=st.integers(0, 2**62)),
)
def test_what_is_saved_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, state: NodeState, gateway: ProcessId | None
) -> None:
    directory = tmp_path_factory.getbasetemp() / "state"
    with opened(directory) as file:
        file.save(state)
        file.record_gateway(gateway)
    with opened(directory) as file:
        assert (file.state, file.gateway) == (state, gateway)


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = saved(tmp_path / "default")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_gateway_is_recorded_beside_a_state_and_kept_by_the_next_save(tmp_path: Path) -> None:
    process = ProcessId(pid=42, start_time=99)
    with opened(tmp_path) as file:
        with pytest.raises(StateError, match="not yet written"):
            file.record_gateway(process)
        file.save(STATE)
        file.record_gateway(process)
        file.save(STATE)
    with opened(tmp_path) as file:
        assert file.gateway == process


def test_a_second_agent_is_refused_and_told_the_pid_of_the_first(tmp_path: Path) -> None:
    refusal = rf"in use by another agent, pid {os.getpid()}: stop it, or give"
    with opened(tmp_path), pytest.raises(StateError, match=refusal):
        StateFile(tmp_path)
    with opened(tmp_path):
        pass


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"not json",
        b"\xff\xfe",
        b'{"format": 0, "key": "' + b"00" * 32 + b'"}',
        b"null",
    ],
)
def test_a_damaged_file_is_an_error_and_never_a_new_identity(tmp_path: Path, content: bytes) -> None:
    path = saved(tmp_path)
    path.write_bytes(content)
    with pytest.raises(
        StateError, match=r"is damaged \((it is not whole|at [a-z_.]+)\): delete it, and this"
    ):
        StateFile(tmp_path)
    assert path.read_bytes() == content


def test_a_file_of_a_newer_agent_is_not_taken_for_damaged(tmp_path: Path) -> None:
    path = saved(tmp_path)
    path.write_text(path.read_text().replace('"format":1', '"format":2'))
    with pytest.raises(StateError, match=r"newer agent \(format 2, this one knows 1\): upgrade this agent"):
        StateFile(tmp_path)


@pytest.mark.parametrize("cut", range(0, 200, 7))
def test_a_file_cut_short_is_damaged(tmp_path: Path, cut: int) -> None:
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(StateError, match="is damaged"):
        StateFile(tmp_path)


def fail(*_arguments: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("call", ["fsync", "rename", "fchmod", "open"])
def test_a_full_disk_is_an_error_and_the_old_content_stays(
    tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as file:
        file.save(STATE)
        with monkeypatch.context() as patched:
            patched.setattr(os, call, fail)
            with pytest.raises(StateError, match="cannot be written: no space left on device"):
                file.save(NodeState(key=b"n" * 32))
        assert file.state == STATE
    with opened(tmp_path) as file:
        assert file.state == STATE


def test_the_new_content_is_synced_before_it_takes_the_old_ones_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    sync, rename = os.fsync, os.rename

    def note_sync(descriptor: int) -> None:
        calls.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
        sync(descriptor)

    def note_rename(source: Path, target: Path) -> None:
        calls.append(f"rename {source.name} {target.name}")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "rename", note_rename)
    write_atomically(tmp_path / "file", b"content", 0o600)
    assert calls == ["fsync .file.new", "rename .file.new file", f"fsync {tmp_path.name}"]


def test_a_directory_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=r"cannot hold the node's state .* name another `state_dir:`"):
        StateFile(tmp_path / "file" / "default")


def test_the_directory_is_the_systems_if_writable_else_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.state.SYSTEM_DIRECTORY", tmp_path / "krakend-cluster")
    environ = {"XDG_STATE_HOME": "/xdg"}
    assert state_directory("", "edge", environ) == tmp_path / "krakend-cluster" / "edge"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert state_directory("", "edge", environ) == Path("/xdg/krakend-cluster/edge")
    assert state_directory("", "edge", {}) == Path.home() / ".local/state/krakend-cluster/edge"
    assert state_directory("/own", "edge", environ) == Path("/own/edge")
