"""What nodes report waits a moment for what others report, in a manager's sockets, as in the real program."""

from collections.abc import Callable

from manager.seed.frames import TOGETHER_SECONDS
from simulations.loop import Loop


class Line:
    """What has come on each connection, until all of it is taken together."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waiting: dict[int, list[Callable[[], None]]] = {}

    def put(self, conn: int, action: Callable[[], None]) -> None:
        """Let `action` wait behind what else came on `conn`."""
        if not self._waiting:
            self._loop.later(TOGETHER_SECONDS, self._take_all)
        self._waiting.setdefault(conn, []).append(action)

    def take(self, conn: int) -> None:
        """What came on `conn` waits no longer."""
        for action in self._waiting.pop(conn, ()):
            action()

    def _take_all(self) -> None:
        for conn in list(self._waiting):
            self.take(conn)
