"""A folder of state that one process has for itself: made 0700, and locked for as long as it lives."""

import fcntl
import os
from pathlib import Path


class InUse(Exception):
    """Another process has the folder; the text is its pid, or `unknown`."""


class LockedFolder:
    """The lock is the file `lock` in it, which names the pid; it ends with the process, however that ends."""

    def __init__(self, path: Path) -> None:
        """Make and lock `path`. Raises `InUse`, and `OSError` where it cannot hold anything."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = path
        self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._take()
        except BaseException:
            self.close()
            raise

    def _take(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock, 20, 0).decode("ascii", "replace").strip()
            raise InUse(holder or "unknown") from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        """Let another process have it."""
        os.close(self._lock)
