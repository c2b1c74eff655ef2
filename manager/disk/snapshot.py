"""`kcm snapshot restore`: a snapshot in the place of a manager's state, while that manager does not run."""

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from manager.config.schema import CONFIG_FILE, ManagerFile
from manager.disk.saved import RESTORED
from manager.disk.store import (
    BEFORE_RESTORE,
    FILE_NAME,
    Damaged,
    StoreError,
    check_owner,
    explained,
    load,
    locked_folder,
    open_file,
    remove_left,
    state_directory,
    sync_folder,
)
from manager.process import load_file
from node.settings import SettingsError, add_arguments


def run(arguments: Sequence[str], program: str) -> int:
    """Do what the command line says; gives the exit code."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Put a snapshot in the place of the state of a manager that does not run.",
        epilog="Give it the options, variables and file that the manager is started with: they say whose"
        " state it is, and where that is kept.",
        allow_abbrev=False,
    )
    parser.add_argument("snapshot", type=Path, metavar="FILE", help="what `kcm snapshot save` wrote")
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"in place of {CONFIG_FILE}")
    add_arguments(parser, ManagerFile, aliases={"peers": ("--peer",)})
    options = parser.parse_args(arguments)
    try:
        file = load_file(options).settings
        directory = state_directory(file.state_dir, file.name)
        if directory is None:
            raise SettingsError("state_dir: there is no place for the state; name a folder with --state-dir")
        former = restore(options.snapshot, directory, file.name, file.group.name)
    except SettingsError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    except StoreError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return error.exit_code
    kept = "" if former is None else f"; the former one is {former}"
    print(f"{directory / FILE_NAME} is that of the snapshot{kept}. Start manager {file.name} now")
    return 0


def restore(source: Path, directory: Path, name: str, group: str) -> Path | None:
    """Put the snapshot `source` in the place of the state in `directory`, of a manager that does not run.

    Gives where the former state is now, None where there was none. Raises `StoreError`, and then all is as it
    was before. Where it is cut short no manager starts from less than there was, and it can be done again.
    """
    target, aside = directory / FILE_NAME, directory / f"{FILE_NAME}.new"
    try:
        content = source.read_bytes()
    except OSError as error:
        raise StoreError(f"{source} cannot be read: {(error.strerror or str(error)).lower()}", 1) from None
    folder = locked_folder(directory)
    try:
        with explained(target):
            remove_left(aside)
        _write_file(aside, content)
        with explained(source), contextlib.closing(open_file(aside, source)) as database:
            check_owner(source, load(database), name, group)
            database.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (RESTORED, "1"))
        with explained(target):
            return _put_in_place(aside, target)
    except Damaged as error:
        raise StoreError(
            f"{source} is no whole snapshot ({error.why}): name another; all is as it was"
        ) from None
    finally:
        remove_left(aside)
        folder.close()


def _write_file(path: Path, content: bytes) -> None:
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {(error.strerror or str(error)).lower()}", 1) from None


def _put_in_place(aside: Path, target: Path) -> Path | None:
    former = target.with_name(BEFORE_RESTORE)
    log, former_log = (path.with_name(f"{path.name}-wal") for path in (target, former))
    if target.exists():
        former_log.unlink(missing_ok=True)  # else it is that of what a restore put aside that was cut short
    # What is left in its log belongs to it: beside another file it would be taken for that one's. The log
    # goes after it: without its log the file is an older state, and nobody would know.
    done = []
    try:
        sync_folder(target.parent)
        for old, new in ((target, former), (log, former_log), (aside, target)):
            if old.exists():
                os.replace(old, new)
                done.append((old, new))
                sync_folder(target.parent)  # before the next: a power cut may reorder what is not on disk
    except OSError:
        for old, new in reversed(done):
            os.replace(new, old)
        raise
    return former if former.exists() else None
