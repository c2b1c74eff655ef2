"""Accepts connections, and bounds how many of one address are in their TLS handshake.

asyncio's own server shows a connection to its protocol only after the handshake, which takes as long as the
other end likes: until then nobody would count it.
"""

import asyncio
import errno
import logging
import socket
from collections import Counter
from collections.abc import Callable, Coroutine
from ssl import SSLContext

HANDSHAKES_MAX = 256
"""Of one address at once; more are closed."""
ACCEPTED_AT_ONCE = 64
"""… before everything else has its turn."""
FULL_SECONDS = 1.0
"""How long to wait when the process has run out of open files."""
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_LOG = logging.getLogger(__name__)


class Acceptor:
    """Makes a `protocol` for each connection; `rejected(peer)` hears of whom it turned away.

    `failed(peer, error)` hears of handshakes that came to no good end.
    """

    def __init__(
        self,
        protocol: Callable[[], asyncio.Protocol],
        rejected: Callable[[str], None],
        tls: SSLContext | None,
        handshake_seconds: float,
        failed: Callable[[str, OSError], None] = lambda peer, error: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._failed = failed
        self._protocol = protocol
        self._rejected = rejected
        self._tls = tls
        self._handshake_seconds = handshake_seconds
        self._shaking: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sockets: list[socket.socket] = []

    def open(self, sockets: list[socket.socket]) -> None:
        """Accept on these listening sockets until `close`."""
        for sock in sockets:
            sock.setblocking(False)
            self._sockets.append(sock)
            self._listen(sock)

    def close(self) -> None:
        """Stop listening; what is accepted stays, but for handshakes under way."""
        for task in list(self._tasks):
            task.cancel()
        for sock in self._sockets:
            self._loop.remove_reader(sock)
            sock.close()
        self._sockets.clear()

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _listen(self, sock: socket.socket) -> None:
        if sock in self._sockets:
            self._loop.add_reader(sock, self._accept, sock)

    def _accept(self, sock: socket.socket) -> None:
        """Take those that wait: by `sock_accept` each costs a future more, and two calls of epoll."""
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                connection, address = sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in _FULL:
                    continue  # about a connection that is gone already
                _LOG.error("no connection can be taken (%s): raise the limit of open files", error.strerror)
                self._loop.remove_reader(sock)
                self._loop.call_later(FULL_SECONDS, self._listen, sock)
                return
            connection.setblocking(False)
            peer = str(address[0]) if address else ""
            if self._shaking[peer] >= HANDSHAKES_MAX:
                connection.close()
                self._rejected(peer)
            else:
                self._shaking[peer] += 1
                self._begin(self._serve(connection, peer))

    async def _serve(self, connection: socket.socket, peer: str) -> None:
        handshake = None if self._tls is None else self._handshake_seconds
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol, connection, ssl=self._tls, ssl_handshake_timeout=handshake
            )
        except OSError as error:  # also of TLS: whoever does not speak it, or too slowly
            connection.close()
            if self._tls is not None:
                self._failed(peer, error)
        finally:
            self._shaking[peer] -= 1
            if not self._shaking[peer]:
                del self._shaking[peer]
