"""A socket to which a gateway on this host sends its log, a line in each datagram, as HAProxy does."""

import asyncio
import contextlib
import logging
import socket
import stat
from collections.abc import Callable
from pathlib import Path

_LOG = logging.getLogger(__name__)
_LINE_BYTES_MAX = 16 * 1024
_LINES_MAX = 200
"""Before the loop does something else; the rest waits in the kernel, which drops what it has no room for."""


class LogSocket:
    """At `path`, open between `open` and `close`; `take` is handed each line."""

    def __init__(self, path: Path, take: Callable[[bytes], object]) -> None:
        self._path, self._take = path, take
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Listen; where that cannot be had, say so in the log and go on without."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            # One that is there is a former agent's: two on one state do not run.
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISSOCK(self._path.lstat().st_mode):
                    self._path.unlink()
            listening.bind(str(self._path))
            self._path.chmod(0o666)  # the gateway is another user; who comes at all is for the folder to say
        except OSError as error:
            listening.close()
            why = error.strerror or error
            _LOG.error("No figures by endpoint and backend: %s cannot be made: %s", self._path, why)
            return
        listening.setblocking(False)
        self._socket = listening
        asyncio.get_running_loop().add_reader(listening, self._read, listening)

    def close(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _read(self, listening: socket.socket) -> None:
        for _ in range(_LINES_MAX):
            try:
                line = listening.recv(_LINE_BYTES_MAX)
            except OSError:  # there is no more
                return
            self._take(line.rstrip(b"\n"))
