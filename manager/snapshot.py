"""Putting a snapshot of a manager's state in the place of what it has; the manager does not run meanwhile."""

import contextlib
import os
from pathlib import Path

from manager.store import FILE_NAME, StoreError, check_owner, explained, load, locked_folder, open_file


def restore(source: Path, directory: Path, name: str, group: str) -> Path | None:
    """Put the snapshot `source` in the place of the state in `directory`, of a manager that does not run.

    Gives where the former state is now, None where there was none. Raises `StoreError`, and then all is as it
    was before.
    """
    target, aside = directory / FILE_NAME, directory / f"{FILE_NAME}.new"
    try:
        content = source.read_bytes()
    except OSError as error:
        raise StoreError(f"{source} cannot be read: {(error.strerror or str(error)).lower()}", 1) from None
    folder = locked_folder(directory)
    try:
        _write_file(aside, content)
        with explained(source), contextlib.closing(open_file(aside)) as database:
            check_owner(source, load(database), name, group)
        return _put_in_place(aside, target)
    finally:
        for left in directory.glob(f"{aside.name}*"):
            left.unlink()
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
    former = target.with_name(f"{FILE_NAME}.before-restore")
    kept = target.exists()
    if kept:
        # What is left in its log belongs to it: beside another file it would be taken for that one's.
        for suffix in ("-wal", ""):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{target}{suffix}", f"{former}{suffix}")
    os.replace(aside, target)
    descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return former if kept else None
