"""One SQLite file that holds what a restart may not lose: `STATE_DIR/NAME/state.db`, 0600.

WAL with `synchronous=FULL`: a commit is on disk when `write` returns, whole; one that was cut short by a kill
or a power cut is not there at all. `lock` beside it is held for as long as the manager lives.
"""

import contextlib
import errno
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

from gossip.pages import Entry, Page, Piece, page_of
from manager.disk.saved import Changes, Saved
from manager.packing import pack, unpack
from manager.stats import Reported
from manager.traffic import By
from node.folder import InUse, LockedFolder

SYSTEM_DIRECTORY = Path("/var/lib/krakend-cluster-manager")
FILE_NAME = "state.db"
BEFORE_RESTORE = f"{FILE_NAME}.before-restore"
"""Where a restore puts the former state; while that is there and no other, none is made."""
APPLICATION_ID = 0x6B636D73  # "kcms": what `file` and we know such a file by

_SCHEMAS = (
    """
    CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE page (
        owner BLOB NOT NULL, former INTEGER NOT NULL,
        generation INTEGER NOT NULL, version INTEGER NOT NULL, floor INTEGER NOT NULL,
        PRIMARY KEY (owner, former)
    ) WITHOUT ROWID;
    CREATE TABLE entry (
        owner BLOB NOT NULL, former INTEGER NOT NULL, key BLOB NOT NULL,
        version INTEGER NOT NULL, value BLOB,
        PRIMARY KEY (owner, former, key)
    ) WITHOUT ROWID;
    CREATE TABLE step (at REAL PRIMARY KEY, reported BLOB NOT NULL);
    """,
    "CREATE TABLE content (sha256 TEXT PRIMARY KEY, content BLOB NOT NULL);",
    """
    CREATE TABLE traffic (
        at REAL NOT NULL, kind TEXT NOT NULL, answered BLOB NOT NULL, PRIMARY KEY (at, kind)
    ) WITHOUT ROWID;
    """,
)
"""Script n makes schema n + 1 from schema n: a file of an older version is brought up step by step."""

_HEADER_BYTES = 100
"""Of every file of SQLite."""

K = TypeVar("K")
Row = TypeVar("Row", bound=tuple[Any, ...])

_NAME, _GROUP, _SECRET = "name", "group", "secret"
_LOST = (
    "{path} is not there, and a manager has used this folder before: this one starts without what it knew, "
    "and learns from the others what they know"
)
_OTHER_SECRET = (
    "group.secret is not the one of this manager's last start: every known node will be refused, "
    "until it is put back or the nodes' state is removed"
)


class StoreError(Exception):
    """The state cannot be had or kept; the text says why and what to do.

    `exit_code` 1: a later start may find it mended, 2: it will not. `full`: the disk is full, and a second
    try may find room.
    """

    def __init__(self, text: str, exit_code: int = 2, *, full: bool = False) -> None:
        super().__init__(text)
        self.exit_code = exit_code
        self.full = full


class Damaged(StoreError):
    """The file cannot be read, because of `why`."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"{path} is damaged ({why}): put a snapshot in its place by `kcm snapshot restore FILE`, or move "
            f"it and {path.name}-wal away: then this manager starts without it and learns from the others "
            "what they know. A founder under policy strict is then another one, whom nobody meets: expel it"
        )
        self.why = why


def state_directory(configured: str, name: str) -> Path | None:
    """Where manager `name` keeps its state; None where there is no place for it."""
    if configured:
        return Path(configured).expanduser() / name
    if SYSTEM_DIRECTORY.is_dir() and os.access(SYSTEM_DIRECTORY, os.W_OK | os.X_OK):
        return SYSTEM_DIRECTORY / name
    return None


class Store:
    """The open file. `saved` is what was in it; `notices` are for the operator."""

    def __init__(self, directory: Path, name: str, group: str, secret: str = "") -> None:
        """Make, lock, check and read `directory` for manager `name` of `group`. Raises `StoreError`."""
        self.path = directory / FILE_NAME
        was_used = (directory / "lock").exists()
        self._folder = locked_folder(directory)
        self.notices = []
        try:
            with explained(self.path):
                if not self.path.exists():
                    _make_file(self.path)
                    self.notices += [_LOST.format(path=self.path)] if was_used else []
                self._database = open_file(self.path)
                self.saved = load(self._database)
                check_owner(self.path, self.saved, name, group)
                mark = _secret_mark(group, secret)
                self.notices += [_OTHER_SECRET] if self.saved.facts.get(_SECRET, mark) != mark else []
                # Written at each start: a disk that takes nothing is found out now.
                self.write([Changes(facts={_NAME: name, _GROUP: group, _SECRET: mark})])
        except BaseException:
            self.close()
            raise

    def write(self, batch: Sequence[Changes]) -> None:
        """`batch` is on disk when this returns; after a `StoreError` nothing of it is."""
        with explained(self.path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                for changes in batch:
                    self._apply(changes)
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    def snapshot(self) -> bytes:
        """The whole file, as it stands between two commits."""
        with explained(self.path), contextlib.closing(sqlite3.connect(":memory:")) as copy:
            self._database.backup(copy)
            return copy.serialize()

    def close(self) -> None:
        """Let another process have it."""
        if hasattr(self, "_database"):
            self._database.close()
        self._folder.close()

    def _apply(self, changes: Changes) -> None:
        database = self._database
        for piece in changes.pages:
            _write_page(database, piece, former=False)
        for owner in changes.dropped:
            _drop_page(database, _encode(owner), former=False)
        for owner, former in changes.former.items():
            if former is None:
                _drop_page(database, _encode(owner), former=True)
            else:
                _write_page(database, former, former=True)
        database.executemany("INSERT OR REPLACE INTO fact VALUES (?, ?)", changes.facts.items())
        packed = [(at, _pack_rows(reported)) for at, reported in changes.steps.items()]
        database.executemany("INSERT OR REPLACE INTO step VALUES (?, ?)", packed)
        if changes.steps_from:
            database.execute("DELETE FROM step WHERE at < ?", (changes.steps_from,))
        database.executemany(
            "INSERT OR REPLACE INTO traffic VALUES (?, ?, ?)",
            [(at, by, _pack_rows(rows)) for (at, by), rows in changes.traffic.items()],
        )
        for by, oldest in changes.traffic_from.items():
            database.execute("DELETE FROM traffic WHERE kind = ? AND at < ?", (by, oldest))
        for hash_, content in changes.contents.items():
            if content is None:
                database.execute("DELETE FROM content WHERE sha256 = ?", (hash_,))
            else:
                database.execute("INSERT OR REPLACE INTO content VALUES (?, ?)", (hash_, content))


def locked_folder(directory: Path) -> LockedFolder:
    """`directory` for this process alone. Raises `StoreError`."""
    try:
        return LockedFolder(directory)
    except InUse as holder:
        raise StoreError(
            f"{directory} is in use by another manager, pid {holder}: stop it, or give this one another "
            "name (--name) or place (--state-dir)"
        ) from None
    except OSError as error:
        raise _explain_system(directory, error) from None


# The file


def _make_file(path: Path) -> None:
    """An empty state at `path`, whole from the first moment on: one that is cut short has no such name."""
    log, former = path.with_name(f"{path.name}-wal"), path.with_name(BEFORE_RESTORE)
    if log.exists():
        raise StoreError(
            f"{path} is not there, and its log {log.name} is: put it back beside that (a restore that was "
            f"cut short left it as {former.name}), or move the log away as well: then this "
            "manager starts without it and learns from the others what they know"
        )
    if former.exists():
        raise StoreError(
            f"{path} is not there, and {former.name} is: a restore was cut short, and you can do that again "
            f"(`kcm snapshot restore FILE`), or put {former.name}-wal back as {log.name} if it is there, and "
            f"then {former.name} as {path.name}; or move both away: then this manager starts without what it "
            "knew and learns from the others what they know"
        )
    aside = path.with_name(f"{path.name}.new")
    remove_left(aside)
    # Made here, not by SQLite: nobody else may read it.
    os.close(os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    with contextlib.closing(sqlite3.connect(aside, isolation_level=None)) as database:
        database.execute("PRAGMA synchronous=FULL")
        _migrate(database)
    os.replace(aside, path)
    sync_folder(path.parent)


def remove_left(aside: Path) -> None:
    """What an attempt to make or restore a state left, and that attempt's log."""
    for left in aside.parent.glob(f"{aside.name}*"):
        left.unlink()


def sync_folder(directory: Path) -> None:
    """What was renamed in it is on disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_file(path: Path, called: Path | None = None) -> sqlite3.Connection:
    """The state at `path`, brought to the newest schema. Use it within `explained`.

    `called`: what the operator knows it by.
    """
    called = called or path
    os.chmod(path, 0o600)
    if (size := path.stat().st_size) < _HEADER_BYTES:
        # SQLite would take it for a new one, and throw away the log beside it.
        raise Damaged(called, f"it is cut off after {size} bytes" if size else "it is empty")
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        # Exclusive: the log needs no memory mapped beside it, which a full disk would break by SIGBUS.
        database.execute("PRAGMA locking_mode=EXCLUSIVE")
        _examine(database, called)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        _migrate(database)
    except BaseException:
        database.close()
        raise
    return database


def _examine(database: sqlite3.Connection, called: Path) -> None:
    """Raise `StoreError` where it is none of ours, or not whole."""
    [[application]] = database.execute("PRAGMA application_id").fetchall()
    [[version]] = database.execute("PRAGMA user_version").fetchall()
    [[verdict]] = database.execute("PRAGMA quick_check(1)").fetchall()
    if verdict != "ok":
        raise Damaged(called, verdict.splitlines()[-1])
    if application != APPLICATION_ID:
        raise StoreError(f"{called} is no manager's state, but another program's: name another --state-dir")
    if version > len(_SCHEMAS):
        raise StoreError(
            f"{called} was written by a newer version (schema {version}, this one knows {len(_SCHEMAS)}): "
            "upgrade this manager, or restore a snapshot from before"
        )


def _migrate(database: sqlite3.Connection) -> None:
    [[version]] = database.execute("PRAGMA user_version").fetchall()
    for number, script in enumerate(_SCHEMAS[version:], start=version + 1):
        database.executescript(
            f"BEGIN IMMEDIATE; {script} PRAGMA user_version={number};"
            f" PRAGMA application_id={APPLICATION_ID}; COMMIT;"
        )


def load(database: sqlite3.Connection) -> Saved:
    steps: _Rows[float, Reported] = _Rows(Reported._make)
    traffic: _Rows[tuple[float, By], tuple[str, bytes]] = _Rows(tuple)
    saved = Saved(facts=dict(database.execute("SELECT name, value FROM fact")), steps=steps, traffic=traffic)
    for owner, former, generation, version, floor in database.execute("SELECT * FROM page"):
        page = _load_page(database, owner, former, generation, version, floor)
        (saved.former if former else saved.pages)[page.owner] = page
    for at, reported in database.execute("SELECT at, reported FROM step"):
        steps.load(at, reported)
    for at, by, answered in database.execute("SELECT at, kind, answered FROM traffic"):
        traffic.load((at, by), answered)
    saved.contents = dict(database.execute("SELECT sha256, content FROM content"))
    return saved


def _load_page(
    database: sqlite3.Connection, owner: bytes, former: int, generation: int, version: int, floor: int
) -> Page:
    rows = database.execute(
        "SELECT key, version, value FROM entry WHERE owner = ? AND former = ? ORDER BY version",
        (owner, former),
    )
    entries = tuple(Entry(_decode(key), at, value) for key, at, value in rows)
    return page_of(Piece(_decode(owner), generation, 0, version, floor, entries, True))


def _write_page(database: sqlite3.Connection, piece: Piece, *, former: bool) -> None:
    owner = _encode(piece.owner)
    if piece.reset:
        _drop_page(database, owner, former=former)
    before = database.execute(
        "SELECT floor FROM page WHERE owner = ? AND former = ?", (owner, former)
    ).fetchall()
    database.execute(
        "INSERT OR REPLACE INTO page VALUES (?, ?, ?, ?, ?)",
        (owner, former, piece.generation, piece.upto, piece.floor),
    )
    database.executemany(
        "INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?, ?)",
        [(owner, former, _encode(entry.key), entry.version, entry.value) for entry in piece.entries],
    )
    [[floor]] = before or [[piece.floor]]
    if not piece.reset and floor < piece.floor:
        database.execute(
            "DELETE FROM entry WHERE owner = ? AND former = ? AND version <= ? AND value IS NULL",
            (owner, former, piece.floor),
        )


def _drop_page(database: sqlite3.Connection, owner: bytes, *, former: bool) -> None:
    database.execute("DELETE FROM entry WHERE owner = ? AND former = ?", (owner, former))
    database.execute("DELETE FROM page WHERE owner = ? AND former = ?", (owner, former))


def check_owner(path: Path, saved: Saved, name: str, group: str) -> None:
    """Raise `StoreError` where the file is another manager's."""
    for what, ours, key in (("manager", name, _NAME), ("group", group, _GROUP)):
        theirs = saved.facts.get(key, ours)
        if theirs != ours:
            raise StoreError(
                f"{path} is the state of {what} {theirs}, this is {ours}: name another --state-dir"
            )


def _secret_mark(group: str, secret: str) -> str:
    """Tells two secrets apart, and not what they are."""
    return blake2b(secret.encode(), key=group.encode(), digest_size=16, person=b"kcm secret mark").hexdigest()


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system say of `path` into a `StoreError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise _explain(path, error) from None
    except OSError as error:
        raise _explain_system(path, error) from None
    except (ValueError, zlib.error) as error:
        raise Damaged(path, str(error)) from None


def _explain_system(path: Path, error: OSError) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _full(path)
    why = (error.strerror or str(error)).lower()
    return StoreError(
        f"{path} cannot hold this manager's state ({why}): make it writable, or name another place "
        "(--state-dir)"
    )


def _full(path: Path) -> StoreError:
    return StoreError(f"{path} cannot be written, the disk is full: free some space", 1, full=True)


def _explain(path: Path, error: sqlite3.Error) -> StoreError:
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            return _full(path)
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return Damaged(path, str(error))
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return StoreError(
                f"{path} cannot be written ({error}): make it writable, or name another --state-dir"
            )
        case _:
            return StoreError(f"{path} cannot be read or written ({error}): look at the disk", 1)


# Values


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _pack_rows(rows: Sequence[tuple[Any, ...]]) -> bytes:
    return zlib.compress(pack(rows), 1)


class _Rows(MutableMapping[K, list[Row]]):
    """Lists of rows as they are on disk, each unpacked when it is asked for: there may be millions in all."""

    def __init__(self, make: Callable[[Any], Row]) -> None:
        self._packed: dict[K, bytes] = {}
        self._make = make

    def load(self, key: K, packed: bytes) -> None:
        """Take what is on disk. Raises `zlib.error` where that is damaged, and never later."""
        zlib.decompress(packed)
        self._packed[key] = packed

    def __getitem__(self, key: K) -> list[Row]:
        return [self._make(row) for row in unpack(zlib.decompress(self._packed[key]))]

    def __setitem__(self, key: K, rows: list[Row]) -> None:
        self._packed[key] = _pack_rows(rows)

    def __delitem__(self, key: K) -> None:
        del self._packed[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)
