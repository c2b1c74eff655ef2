"""What each node that is connected here is told that it may pass: its share, or the free limits.

Rules are named as in `STATE.md`: A (admission), Q (limits), S (policy `strict`).
"""

from collections.abc import Mapping

from manager.effects import Level
from manager.identity import Identity
from manager.limits.shares import Shares
from manager.outbox import Outbox
from manager.page import NodePage
from manager.records import NodeRecord
from manager.sessions.session import Session, ticket_of
from manager.terms import Terms
from node.protocol import Limits, LimitsPush


class Telling:
    """Tells a node whatever has changed since it was told last. `by_id`: the session of each node."""

    def __init__(
        self,
        shares: Shares,
        page: NodePage,
        terms: Terms,
        outbox: Outbox,
        by_id: Mapping[str, Session],
        identity: Identity,
        *,
        strict: bool,
    ) -> None:
        """`strict`: the policy under which founders give tickets, and no change of a record does."""
        self._shares = shares
        self._page = page
        self._terms = terms
        self._outbox = outbox
        self._by_id = by_id
        self._identity = identity
        self._strict = strict

    def limits_of(self, record: NodeRecord, id_: str, now: float) -> Limits | None:
        """What a node may pass: its share, or, where its margin or the subscription ended, the free limits.

        None as long as it is to wait for its share.
        """
        free = self._terms.config.free_limits
        lapsed = self._strict and not record.seat
        if free and (lapsed or self._terms.free_only or self._page.margin_over(record, now)):
            return free
        return self._shares.share_of(id_, now)

    def note(self, session: Session, share: Limits, record: NodeRecord) -> None:
        """The node of `session` is about to be told `share`."""
        session.limits_version += 1
        leases = self._shares.leases_of(share)
        session.limits_sent = (share, leases, record.over_limit, record.over_since)
        self._shares.told(session.id, session.limits_version, share, leases)

    def check(self, now: float) -> None:
        """Push the shares that have changed, the more nodes the less often."""
        if self._shares.due(now):
            self._shares.work_out(now)
            for id_ in self._by_id:
                if (record := self._page.record(id_)) is not None:
                    self.push(id_, record, now)

    def surplus(self, now: float) -> None:
        """Nodes whose margin has ended fall to the free limits (rule A3)."""
        for id_ in self._by_id:
            record = self._page.record(id_)
            if record is not None and record.over_limit:
                self.push(id_, record, now)

    def revive(self, session: Session, now: float) -> None:
        """Its leases were over, and it reports again: it is told its share anew before they are renewed."""
        self._shares.revive(session.id, session.limits_version, now)
        self._shares.work_out(now)
        session.limits_sent = None
        if (record := self._page.record(session.id)) is not None:
            self.push(session.id, record, now)

    def push(self, id_: str, record: NodeRecord, now: float) -> None:
        """Tell the node what it may pass by its `record`, unless it has been told."""
        session, over, since = self._by_id.get(id_), record.over_limit, record.over_since
        if session is None or not session.admitted:
            return
        share = self.limits_of(record, id_, now)
        leases = self._shares.leases_of(share or {})
        if share is None or session.limits_sent == (share, leases, over, since):
            return
        told = 0.0 if session.limits_sent is None else session.limits_sent[3]
        self.note(session, share, record)
        push = LimitsPush(
            version=session.limits_version,
            limits=share,
            leases=leases,
            over_limit=over,
            ticket="" if self._strict or since == told else ticket_of(self._identity, id_, record),
        )
        self._outbox.say(session.conn, push)
        self._outbox.log(Level.DEBUG, f"Sending the limits to the krakend: {id_}")
