"""What one turn of the core asks of its shell, collected in order."""

from manager.effects import CloseNode, Count, Level, Log, ManagerEffect, ToNode
from node.protocol import ManagerMessage


class Outbox:
    """Every part of the core adds to it; whoever ends the turn takes all."""

    def __init__(self) -> None:
        self._effects: list[ManagerEffect] = []

    def take(self) -> list[ManagerEffect]:
        """Everything since the last time."""
        taken, self._effects = self._effects, []
        return taken

    def add(self, effect: ManagerEffect) -> None:
        self._effects.append(effect)

    def say(self, conn: int, message: ManagerMessage) -> None:
        """Send `message` to the node on `conn`."""
        self.add(ToNode(conn, message))

    def close(self, conn: int, code: int, reason: str) -> None:
        """End the connection `conn`."""
        self.add(CloseNode(conn, code, reason))

    def log(self, level: Level, text: str) -> None:
        """Tell the operator."""
        self.add(Log(level, text))

    def count(self, where: str, reason: str) -> None:
        """Count one thing more that was dropped or refused."""
        self.add(Count(where, reason))
