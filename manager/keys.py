"""A keyring as `serf` keeps it: a file with a JSON list of keys in base64, the first of which seals."""

import contextlib
import json
import os
import shlex
import stat
from pathlib import Path

from gossip.wire import Keyring, key_text, read_key

A_NEW_KEY = "openssl rand -base64 32"
"""What an operator types for one."""
_FILE_BYTES_MAX = 64 * 1024


def read_keyring(name: str) -> Keyring:
    """The keys in the file `name`, which nobody but its owner may read.

    Raises `ValueError`, whose text goes on after the name of a setting and tells no key.
    """
    file = Path(name)
    try:
        # A pipe would be waited for.
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"is {file}, which is no regular file")
        if status.st_mode & 0o077:
            raise ValueError(f"is {file}, which others may open: chmod 600 {shlex.quote(name)}")
        with file.open("rb") as stream:
            content = stream.read(_FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise ValueError(
            f'is {file}, which does not exist: write `["KEY"]` into it, with the output of `{A_NEW_KEY}`'
        ) from None
    except OSError as error:
        raise ValueError(
            f"is {file}, which cannot be read: {(error.strerror or str(error)).lower()}"
        ) from None
    if len(content) > _FILE_BYTES_MAX:
        raise ValueError(f"is {file}, which is larger than 64 KiB: is it the right file?")
    return _keyring(content, file)


def write_keyring(name: str, keyring: Keyring) -> None:
    """Put `keyring` in place of the file `name`, whole or not at all, on disk when it returns; mode 0600.

    Raises `OSError`; the file then is as it was.
    """
    # Where the name is a link, what it leads to is replaced.
    file = Path(name).resolve()
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    content = json.dumps([key_text(key) for key in keyring.keys]).encode() + b"\n"
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, 0o600)
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
        draft.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _keyring(content: bytes, file: Path) -> Keyring:
    try:
        texts = json.loads(content)
    except json.JSONDecodeError as error:
        raise ValueError(f'is {file}, whose line {error.lineno} is not JSON: write `["KEY", ...]`') from None
    except (UnicodeDecodeError, RecursionError):
        raise ValueError(f'is {file}, which is not JSON: write `["KEY", ...]`') from None
    if not (isinstance(texts, list) and all(isinstance(text, str) for text in texts)):
        raise ValueError(f'is {file}, which is no list of texts: write `["KEY", ...]`')
    keys = []
    for number, text in enumerate(texts, 1):
        try:
            keys.append(read_key(text))
        except ValueError as error:
            raise ValueError(f"is {file}, whose key {number} {error}: `{A_NEW_KEY}` makes one") from None
    try:
        return Keyring(keys)
    except ValueError as error:
        raise ValueError(f"is {file}, which {error}") from None
