"""Which connections of nodes there are, which of them speaks for each id, and which wait to be let in."""

from manager.limits.shares import Shares
from manager.page import NodePage
from manager.records import NodeState
from manager.rollout.rollouts import Rollouts
from manager.seats.admission import Admission
from manager.seats.desk import Desk
from manager.sessions.session import Session


class Connections:
    """The sessions; what hangs on one that goes is let go of here, whatever the reason.

    Whoever lets nodes in writes `by_id` and `newcomers`; a connection goes by `detach` alone.
    """

    def __init__(
        self, page: NodePage, rollouts: Rollouts, admission: Admission, shares: Shares, desk: Desk | None
    ) -> None:
        self.by_conn: dict[int, Session] = {}
        self.by_id: dict[str, Session] = {}
        """The one that speaks for each id, let in or not."""
        self.newcomers: dict[int, Session] = {}
        """By connection, those about whom nothing is decided yet, in the order in which they came."""
        self._page = page
        self._rollouts = rollouts
        self._admission = admission
        self._shares = shares
        self._desk = desk

    def detach(self, session: Session) -> None:
        """Forget the connection; whatever its node's record says stays."""
        self.by_conn.pop(session.conn, None)
        self.newcomers.pop(session.conn, None)
        self._rollouts.left(session.id, session.conn)
        if self._desk is not None:
            self._desk.withdraw(session.conn)
        if self.by_id.get(session.id) is session:
            del self.by_id[session.id]
            self._shares.lost(session.id)

    def withdraw(self, session: Session, now: float) -> bool:
        """End the waiting of a newcomer that went away, or was superseded; false where it had no claim.

        A newer session of its node may have written since: that stays.
        """
        self.newcomers.pop(session.conn, None)
        if self._desk is not None:
            self._desk.withdraw(session.conn)
        claim, record = self._admission.withdraw(session.conn), self._page.record(session.id)
        if record is None or record.session != session.key or record.state is not NodeState.CLAIMED:
            return claim is not None
        self._page.erase(session.id, now)
        return True
