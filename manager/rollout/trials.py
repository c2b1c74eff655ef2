"""Trials: a gateway here checks a configuration, and nothing is changed by it."""

from dataclasses import dataclass
from itertools import count

from manager.effects import TrialDone
from manager.outbox import Outbox
from node.protocol import Try


@dataclass(frozen=True, slots=True)
class _Trial:
    id: str
    sha256: str
    content: bytes


class Trials:
    """Those under way, by number; `TrialDone` follows each."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._trials: dict[int, _Trial] = {}
        self._numbers = count(1)

    def begin(self, id_: str, conn: int, hash_: str, content: bytes) -> int:
        """Let the node on `conn` check `content`; gives the number."""
        number = next(self._numbers)
        self._trials[number] = _Trial(id_, hash_, content)
        self._outbox.say(conn, Try(number=number, sha256=hash_, size=len(content)))
        return number

    def content(self, hash_: str) -> bytes:
        """What is being tried under this hash; empty where nothing is."""
        return next((trial.content for trial in self._trials.values() if trial.sha256 == hash_), b"")

    def tried(self, id_: str, number: int, error: str) -> None:
        """A node's answer."""
        trial = self._trials.get(number)
        if trial is not None and trial.id == id_:
            del self._trials[number]
            self._outbox.add(TrialDone(number, id_, error))

    def left(self, id_: str) -> None:
        """A node's connection is over."""
        for number in [number for number, trial in self._trials.items() if trial.id == id_]:
            self.tried(id_, number, "the node went away")
