"""Two sessions of one id: the earlier is asked whether it lives, and if so the later is a clone (rule I3)."""

from math import inf

from gossip.group import Group
from manager.effects import Level
from manager.outbox import Outbox
from manager.records import CLONE, CloneNote, SessionKey
from manager.sessions.connections import Connections
from manager.sessions.session import Session
from manager.terms import ManagerConfig
from node.protocol import CLOSE_SUPERSEDED, Ask, Behind, Clone

_CLONE_NOTE_SECONDS = 3600.0


class TakeOver:
    """Asks sessions that a newer one stands against, wherever that was let in."""

    def __init__(self, group: Group, config: ManagerConfig, outbox: Outbox, connections: Connections) -> None:
        self._group = group
        self._config = config
        self._outbox = outbox
        self._connections = connections
        self._clone_notes: dict[str, float] = {}
        self._challenged = False
        """Whether a session may be there that is asked whether it lives."""

    def newer_elsewhere(self, id_: str, newer: SessionKey, now: float) -> None:
        """Another page has a newer record: a session that still stands here is asked whether it lives."""
        session = self._connections.by_id.get(id_)
        if session is not None and session.key < newer and session.challenge is None:
            self.challenge(session, newer, now)

    def clone_noted(self, id_: str, note: CloneNote, now: float) -> None:
        """The manager of an earlier session says that it lives: the one of the note's hello is a clone."""
        session = self._connections.by_id.get(id_)
        if session is not None and session.key == (note.incarnation, note.nonce):
            self._cloned(session, now)

    def challenge(self, session: Session, newer: SessionKey, now: float) -> None:
        """Ask `session` whether it lives: `newer` has its id now."""
        self._connections.withdraw(session, now)
        session.admitted = False
        session.challenge, self._challenged = newer, True
        session.challenge_ends = now + self._config.unreachable_after
        self._outbox.say(session.conn, Ask(number=newer[0]))

    def here(self, session: Session, now: float) -> None:
        """It says that it lives."""
        if session.challenge is None:
            return
        newer, session.challenge, session.challenge_ends = session.challenge, None, inf
        text = f"{session.id} runs twice: the newer process must become a node of its own"
        self._outbox.log(Level.WARNING, text)
        other = self._connections.by_id.get(session.id)
        if other is not None and other is not session and other.key == newer:
            self._cloned(other, now)
        else:
            self._group.ledger.put(CLONE + session.id, CloneNote(*newer).pack(), ends_something=True)
            self._clone_notes[session.id] = now + _CLONE_NOTE_SECONDS
        self._connections.by_id[session.id] = session
        self._outbox.say(session.conn, Behind(incarnation=newer[0]))

    def _cloned(self, session: Session, now: float) -> None:
        sentence = f"{session.id} already runs elsewhere: this node draws a new identity"
        self._outbox.say(session.conn, Clone(sentence=sentence))
        self._connections.withdraw(session, now)
        self._connections.detach(session)
        self._connections.by_conn[session.conn] = Session(session.conn, session.peer, cloned=True)

    def sweep(self, now: float) -> None:
        """End the sessions that did not answer, and notes that have served."""
        if self._challenged:
            self._end_silent(now)
        for id_ in [id_ for id_, ends in self._clone_notes.items() if ends <= now]:
            del self._clone_notes[id_]
            self._group.ledger.delete(CLONE + id_)

    def _end_silent(self, now: float) -> None:
        sessions = self._connections.by_conn
        for session in list(sessions.values()):
            if session.challenge_ends <= now:
                self._outbox.count("node", "superseded")
                self._outbox.close(session.conn, CLOSE_SUPERSEDED, "a newer session has taken over")
                self._connections.withdraw(session, now)
                self._connections.detach(session)
        self._challenged = any(session.challenge is not None for session in sessions.values())

    def excuse(self, late: float) -> None:
        """We did not listen for `late` seconds: whoever is asked has so much more time."""
        for session in self._connections.by_conn.values():
            session.challenge_ends += late
