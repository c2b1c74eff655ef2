"""The file: what was written is read again, and whatever is wrong with it is said before anything is sent."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.ledger import Ledger
from gossip.pages import NOTHING, Mark, Piece
from manager.disk.saved import Changes, Saved
from manager.disk.snapshot import restore
from manager.disk.store import FILE_NAME, Store, StoreError
from manager.stats import Reported

STEP = [Reported("krakend_1", 7, {"agent_cpu_seconds": 1.5})]


def opened(directory: Path, name: str = "m1", group: str = "blue", secret: str = "s") -> Store:
    return Store(directory, name, group, secret)


def again(directory: Path) -> Saved:
    store = opened(directory)
    store.close()
    return store.saved


def pages(saved: Saved) -> dict[str, Piece]:
    return {owner: page.whole() for owner, page in saved.pages.items()}


# A ledger's life, and the disk that follows it as a reader.
steps = st.lists(
    st.tuples(
        st.sampled_from(["put", "delete", "collect", "renew", "save"]),
        st.sampled_from(["node/a", "node/b", "c", "\udcff"]),
        st.binary(max_size=3),
    ),
    max_size=40,
)


@settings(max_examples=40, deadline=None)
@given(steps)
def test_whatever_becomes_of_a_page_the_file_has_what_was_last_saved(
    life: list[tuple[str, str, bytes]],
) -> None:
    ledger, mark, generation = Ledger("m1", 10), NOTHING, 10
    with tempfile.TemporaryDirectory() as folder:
        store = opened(Path(folder))
        model, last = Saved(), {}
        for what, key, value in [*life, ("save", "", b"")]:
            match what:
                case "put":
                    ledger.put(key, value)
                case "delete":
                    ledger.delete(key)
                case "collect":
                    ledger.own.collect(min(mark.version, ledger.own.version))
                case "renew":
                    generation += 1
                    ledger.renew(generation)
                case _:
                    piece = ledger.piece("m1", mark)
                    if piece is not None:
                        changes = Changes(pages=(piece,))
                        store.write([changes])
                        model.apply(changes)
                        mark, last = Mark(piece.generation, piece.upto), {"m1": ledger.own.whole()}
        store.close()
        assert {owner: piece.entries for owner, piece in pages(model).items()} == {
            owner: piece.entries for owner, piece in last.items()
        }
        assert pages(again(Path(folder))) == pages(model)


def test_all_that_is_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    store = opened(tmp_path)
    other = Ledger("m2", 3)
    other.put("x", b"1")
    store.write(
        [
            Changes(pages=(other.own.whole(),), facts={"incarnation": "7"}),
            Changes(former={"m3": other.own.whole()}, steps={1000.0: STEP, 2000.0: STEP}),
            Changes(steps={2000.0: [*STEP, *STEP]}, steps_from=1500.0),
            Changes(traffic={(1000.0, "node"): [("n", b"1")], (1000.0, "all"): [("all", b"2")]}),
            Changes(traffic={(2000.0, "node"): [("n", b"3")]}, traffic_from={"node": 1500.0, "all": 500.0}),
        ]
    )
    store.close()
    saved = again(tmp_path)
    assert pages(saved) == {"m2": other.own.whole()}
    assert saved.former["m2"].whole() == other.own.whole()
    assert (saved.facts["incarnation"], saved.steps) == ("7", {2000.0: [*STEP, *STEP]})
    assert saved.traffic == {(1000.0, "all"): [("all", b"2")], (2000.0, "node"): [("n", b"3")]}


def test_a_former_page_that_was_taken_over_is_dropped(tmp_path: Path) -> None:
    other = Ledger("m2", 3)
    other.put("x", b"1")
    store = opened(tmp_path)
    store.write([Changes(former={"m2": other.own.whole()}), Changes(former={"m2": None})])
    store.close()
    assert again(tmp_path).former == {}


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    store = opened(tmp_path / "m1")
    store.write([Changes(facts={"a": "b"})])
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "m1").iterdir()}
    assert modes == {"lock": 0o600, FILE_NAME: 0o600, f"{FILE_NAME}-wal": 0o600}
    assert (tmp_path / "m1").stat().st_mode & 0o777 == 0o700
    store.close()


def test_a_second_process_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    store = opened(tmp_path)
    with pytest.raises(
        StoreError, match=rf"in use by another manager, pid {os.getpid()}: stop it"
    ) as refused:
        opened(tmp_path)
    assert refused.value.exit_code == 2
    store.close()
    opened(tmp_path).close()


@pytest.mark.parametrize(
    ("name", "group", "said"),
    [("m2", "blue", "is the state of manager m1, this is m2"), ("m1", "red", "of group blue, this is red")],
)
def test_another_managers_state_is_left_alone(tmp_path: Path, name: str, group: str, said: str) -> None:
    opened(tmp_path).close()
    with pytest.raises(StoreError, match=said):
        opened(tmp_path, name, group)


def test_another_secret_than_last_time_is_warned_about_and_not_written_down(tmp_path: Path) -> None:
    first = opened(tmp_path, secret="a long random text")
    first.close()
    assert first.notices == []
    second = opened(tmp_path, secret="another")
    second.close()
    assert "every known node will be refused" in second.notices[0]
    assert b"a long random text" not in (tmp_path / FILE_NAME).read_bytes()


KILLED = """
import os, sys
from pathlib import Path
from gossip.ledger import Ledger, Mark
from manager.disk.saved import Changes
from manager.disk.store import Store
store, ledger = Store(Path(sys.argv[1]), "m1", "blue"), Ledger("m1", 10)
for at in range(100):
    ledger.put(f"node/{at}", bytes(200))
    store.write([Changes(pages=(ledger.piece("m1", Mark(10, at) if at else Mark(0, 0)),))])
    print(at, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a process left behind that wrote 100 entries, one commit each, and was killed."""
    folder = tmp_path_factory.mktemp("killed")
    run = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.stdout.split()[-1:] == ["99"], run.stderr
    return folder


def copied(folder: Path, to: Path) -> Path:
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def test_a_process_that_is_killed_has_lost_nothing_that_it_wrote(killed: Path, tmp_path: Path) -> None:
    saved = Store(copied(killed, tmp_path / "copy"), "m1", "blue").saved
    assert [key for key, _ in saved.pages["m1"].items()] == [f"node/{at}" for at in range(100)]


@pytest.mark.parametrize("left", [0.0, 0.2, 0.5, 0.9, 0.999])
def test_a_write_that_a_power_cut_tore_is_not_there_and_those_before_it_are(
    killed: Path, tmp_path: Path, left: float
) -> None:
    folder = copied(killed, tmp_path / "copy")
    log = folder / f"{FILE_NAME}-wal"
    whole = log.read_bytes()
    cut = int(len(whole) * left)
    log.write_bytes(whole[:cut] + bytes(len(whole) - cut))
    store = Store(folder, "m1", "blue")
    page = store.saved.pages.get("m1")
    names = [] if page is None else [key for key, _ in page.items()]
    assert names == [f"node/{at}" for at in range(len(names))]
    assert (page is None and left < 0.2) or (page is not None and page.version == len(names))
    store.close()


def damage(path: Path) -> Iterator[bytes]:
    content = path.read_bytes()
    yield b"not a database at all" * 300
    yield content[:4096] + os.urandom(len(content) - 4096)
    yield content[: len(content) // 2]
    yield content[:100]
    yield b""


@pytest.mark.parametrize("which", range(5))
def test_a_damaged_file_is_named_with_a_way_out_and_left_as_it_is(tmp_path: Path, which: int) -> None:
    store = opened(tmp_path)
    ledger = Ledger("m1", 10)
    for at in range(300):
        ledger.put(f"node/{at}", bytes(200))
    store.write([Changes(pages=(ledger.own.whole(),))])
    store.close()
    path = tmp_path / FILE_NAME
    content = list(damage(path))[which]
    path.write_bytes(content)
    with pytest.raises(
        StoreError, match=r"state\.db is damaged .*kcm snapshot restore FILE.*move it and .* away"
    ):
        opened(tmp_path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(("left", "why"), [(0, "it is empty"), (1, "it is cut off after 1 bytes")])
def test_an_emptied_file_costs_nothing_of_the_log_beside_it(
    killed: Path, tmp_path: Path, left: int, why: str
) -> None:
    folder = copied(killed, tmp_path / "copy")
    log = folder / f"{FILE_NAME}-wal"
    before = log.read_bytes()
    (folder / FILE_NAME).write_bytes((folder / FILE_NAME).read_bytes()[:left])
    with pytest.raises(StoreError, match=rf"state\.db is damaged \({why}\)"):
        Store(folder, "m1", "blue")
    assert log.read_bytes() == before


def test_a_log_whose_file_is_gone_is_not_started_over(killed: Path, tmp_path: Path) -> None:
    folder = copied(killed, tmp_path / "copy")
    (folder / FILE_NAME).rename(folder / "elsewhere")
    with pytest.raises(StoreError, match=r"its log state\.db-wal is: put it back .* or move the log away"):
        Store(folder, "m1", "blue")
    (folder / "elsewhere").rename(folder / FILE_NAME)
    assert len(Store(folder, "m1", "blue").saved.pages["m1"].values) == 100


def test_a_first_start_that_was_cut_short_is_begun_again(tmp_path: Path) -> None:
    for left in (b"", b"SQLite format 3", bytes(4096)):
        (tmp_path / f"{FILE_NAME}.new").write_bytes(left)
        (tmp_path / f"{FILE_NAME}.new-journal").write_bytes(b"whatever")
        opened(tmp_path).close()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", FILE_NAME]
        (tmp_path / FILE_NAME).unlink()


def test_a_state_that_is_lost_is_no_first_start(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.close()
    (tmp_path / FILE_NAME).unlink()
    second = opened(tmp_path)
    second.close()
    assert first.notices == []
    assert "is not there, and a manager has used this folder before" in second.notices[0]


def test_a_file_of_a_newer_version_is_not_touched(tmp_path: Path) -> None:
    opened(tmp_path).close()
    database = sqlite3.connect(tmp_path / FILE_NAME)
    database.execute("PRAGMA user_version=99")
    database.close()
    with pytest.raises(StoreError, match=r"newer version \(schema 99, this one knows 3\): upgrade"):
        opened(tmp_path)


@pytest.mark.parametrize("version", [0, 1])
def test_another_programs_database_is_not_taken_for_a_state(tmp_path: Path, version: int) -> None:
    database = sqlite3.connect(tmp_path / FILE_NAME)
    database.executescript(f"CREATE TABLE t (a); PRAGMA user_version={version};")
    database.close()
    before = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(StoreError, match="another program's"):
        opened(tmp_path)
    assert (tmp_path / FILE_NAME).read_bytes() == before


def fill(path: Path) -> None:
    """Take all the room that the disk has."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.needs("root")
def test_on_a_full_disk_nothing_is_half_written_and_with_room_it_goes_on(disk: Path) -> None:
    store = opened(disk / "m1")
    filler = disk / "filler"
    ledger = Ledger("m1", 10)
    ledger.put("node/1", b"1")
    store.write([Changes(pages=(ledger.own.whole(),))])
    fill(filler)
    for at in range(300):
        ledger.put(f"node/{at}", bytes(300))
    piece = ledger.piece("m1", Mark(10, 1))
    assert piece is not None
    with pytest.raises(StoreError, match="disk is full: free some space") as full:
        store.write([Changes(pages=(piece,))])
    assert (full.value.full, full.value.exit_code) == (True, 1)
    filler.unlink()
    store.write([Changes(pages=(piece,))])
    store.close()
    assert again(disk / "m1").pages["m1"].mark == (10, 301)


@pytest.mark.needs("root")
def test_a_start_on_a_full_disk_says_so(disk: Path) -> None:
    fill(disk / "filler")
    with pytest.raises(StoreError, match="disk is full: free some space") as full:
        opened(disk / "m1")
    assert full.value.exit_code == 1


@pytest.mark.needs("root")
def test_a_disk_that_may_only_be_read_is_named(disk: Path) -> None:
    opened(disk / "m1").close()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(StoreError, match=r"cannot hold .*read-only file system.*--state-dir") as refused:
        opened(disk / "m1")
    assert refused.value.exit_code == 2


# Snapshots


def test_a_restored_snapshot_is_the_state_and_the_former_one_is_kept(tmp_path: Path) -> None:
    directory, snapshot = tmp_path / "m1", tmp_path / "snapshot"
    store = opened(directory)
    store.write([Changes(facts={"a": "then"})])
    snapshot.write_bytes(store.snapshot())
    store.write([Changes(facts={"a": "now"})])
    store.close()
    assert restore(snapshot, directory, "m1", "blue") == directory / "state.db.before-restore"
    assert again(directory).facts["a"] == "then"
    (directory / "state.db.before-restore").replace(directory / FILE_NAME)
    assert again(directory).facts["a"] == "now"


def restored_over(killed: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A folder that a killed process left, with the snapshot of another state in its place; and that."""
    folder, snapshot = copied(killed, tmp_path / "copy"), tmp_path / "snapshot"
    store = opened(tmp_path / "other", secret="")
    snapshot.write_bytes(store.snapshot())
    store.close()
    restore(snapshot, folder, "m1", "blue")
    return folder, snapshot


def test_a_restore_over_what_a_killed_process_left_keeps_none_of_its_log(
    killed: Path, tmp_path: Path
) -> None:
    folder, _ = restored_over(killed, tmp_path)
    assert again(folder).pages == {}


def cut_short(folder: Path, snapshot: Path, renames: int, patch: pytest.MonkeyPatch) -> None:
    """The power fails during a restore of the snapshot that is made, after so many renames."""
    store = opened(snapshot.parent / "other", secret="")
    snapshot.write_bytes(store.snapshot())
    store.close()
    rename, done = os.replace, []

    def killed_after(old: Path, new: Path) -> None:
        rename(old, new)
        done.append(old)
        if len(done) == renames:
            raise KeyboardInterrupt

    with patch.context() as at:
        at.setattr(os, "replace", killed_after)
        with pytest.raises(KeyboardInterrupt):
            restore(snapshot, folder, "m1", "blue")


def test_a_restore_that_is_cut_short_lets_no_manager_start_without_what_its_log_has(
    killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(killed, tmp_path / "copy")
    cut_short(folder, tmp_path / "snapshot", 1, monkeypatch)
    with pytest.raises(StoreError, match=r"put it back beside that \(.* as state\.db\.before-restore\)"):
        Store(folder, "m1", "blue")
    (folder / "state.db.before-restore").rename(folder / FILE_NAME)
    assert len(Store(folder, "m1", "blue").saved.pages["m1"].values) == 100


def test_a_restore_that_is_cut_short_between_two_states_lets_no_manager_start_with_none(
    killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(killed, tmp_path / "copy")
    cut_short(folder, tmp_path / "snapshot", 2, monkeypatch)
    with pytest.raises(
        StoreError, match=r"do that again .*, or put state\.db\.before-restore-wal back"
    ) as raised:
        Store(folder, "m1", "blue")
    assert raised.value.exit_code == 2
    for suffix in ("-wal", ""):
        (folder / f"state.db.before-restore{suffix}").rename(folder / f"{FILE_NAME}{suffix}")
    assert len(Store(folder, "m1", "blue").saved.pages["m1"].values) == 100


@pytest.mark.parametrize("renames", [1, 2])
def test_a_restore_that_was_cut_short_can_be_done_again_and_keeps_the_former_state_whole(
    killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    folder, snapshot = copied(killed, tmp_path / "copy"), tmp_path / "snapshot"
    cut_short(folder, snapshot, renames, monkeypatch)
    assert restore(snapshot, folder, "m1", "blue") == folder / "state.db.before-restore"
    assert again(folder).pages == {}
    for suffix in ("-wal", ""):
        (folder / f"state.db.before-restore{suffix}").rename(folder / f"{FILE_NAME}{suffix}")
    assert len(Store(folder, "m1", "blue").saved.pages["m1"].values) == 100


def test_a_log_that_an_earlier_restore_left_says_nothing_of_the_next_snapshot(tmp_path: Path) -> None:
    directory, snapshot = tmp_path / "m1", tmp_path / "snapshot"
    store = opened(directory)
    store.write([Changes(facts={"a": "first"})])
    (directory / "state.db.new-wal").write_bytes((directory / f"{FILE_NAME}-wal").read_bytes())
    store.write([Changes(facts={"a": "second"})])
    snapshot.write_bytes(store.snapshot())
    store.close()
    restore(snapshot, directory, "m1", "blue")
    assert again(directory).facts["a"] == "second"


def test_each_step_of_a_restore_is_on_disk_before_the_next(
    killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another order a power cut would leave an older state, or one beside the log of another."""
    folder, snapshot, steps = copied(killed, tmp_path / "copy"), tmp_path / "snapshot", list[str]()
    store = opened(tmp_path / "other", secret="")
    snapshot.write_bytes(store.snapshot())
    store.close()
    rename = os.replace

    def noted(old: Path, new: Path) -> None:
        steps.append(old.name)
        rename(old, new)

    monkeypatch.setattr(os, "replace", noted)
    monkeypatch.setattr("manager.disk.snapshot.sync_folder", lambda _: steps.append("synced"))
    restore(snapshot, folder, "m1", "blue")
    assert steps == [
        "synced",
        FILE_NAME,
        "synced",
        f"{FILE_NAME}-wal",
        "synced",
        f"{FILE_NAME}.new",
        "synced",
    ]


def test_a_restore_that_fails_leaves_all_as_it_was(
    killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, snapshot = copied(killed, tmp_path / "copy"), tmp_path / "snapshot"
    store = opened(tmp_path / "other", secret="")
    snapshot.write_bytes(store.snapshot())
    store.close()
    rename = os.replace

    def fails_at_last(old: Path, new: Path) -> None:
        if old.name.endswith(".new"):
            raise OSError(5, "Input/output error")
        rename(old, new)

    monkeypatch.setattr(os, "replace", fails_at_last)
    with pytest.raises(StoreError, match="input/output error"):
        restore(snapshot, folder, "m1", "blue")
    monkeypatch.undo()
    assert len(Store(folder, "m1", "blue").saved.pages["m1"].values) == 100


def test_beside_a_state_that_a_restore_replaced_there_is_no_log_of_another(
    killed: Path, tmp_path: Path
) -> None:
    folder, snapshot = restored_over(killed, tmp_path)
    assert (folder / "state.db.before-restore-wal").exists()
    again(folder)
    restore(snapshot, folder, "m1", "blue")
    assert not (folder / "state.db.before-restore-wal").exists()


def test_what_is_no_snapshot_changes_nothing(tmp_path: Path) -> None:
    directory, snapshot = tmp_path / "m1", tmp_path / "snapshot"
    opened(directory).close()
    before = (directory / FILE_NAME).read_bytes()
    for content in (b"something else" * 1000, b""):
        snapshot.write_bytes(content)
        with pytest.raises(StoreError, match=r"snapshot is no whole snapshot .*: name another"):
            restore(snapshot, directory, "m1", "blue")
    assert (directory / FILE_NAME).read_bytes() == before
    assert sorted(path.name for path in directory.iterdir()) == ["lock", FILE_NAME]


def test_nothing_is_restored_under_a_manager_that_runs(tmp_path: Path) -> None:
    store = opened(tmp_path / "m1")
    (tmp_path / "snapshot").write_bytes(store.snapshot())
    with pytest.raises(StoreError, match="in use by another manager"):
        restore(tmp_path / "snapshot", tmp_path / "m1", "m1", "blue")
    store.close()
