"""Which limits hold, of what a manager, a refusal, a bundle or nobody says: a core, a part of the session."""

import logging
from math import inf

from node.effects import ApplyLimits, Effect, Log, NodeState, Source
from node.leases import ended_early, in_force, next_change
from node.protocol import Limits

_SAID: dict[Source, str] = {
    "reuse_last": "No manager: the last limits stay in force",
    "safe": "No manager for too long: from now on the safe limits are in force",
}


class InForce:
    """Set what is to be set, then carry out what `look` returns; again when `next_change` says so."""

    def __init__(self) -> None:
        self.source: Source | None = None
        self.limits: Limits | None = None
        """What shall be in force; None before anybody has said anything."""
        self.free: Limits | None = None
        """What a refusal, or a place that is given up, leaves; None where that is not so."""
        self.provisional: Limits | None = None
        """What a bundle allows until a manager has let this node in; None where there is none."""
        self.confirmed = False
        """Whether a manager has let this process in: before that a share is one of an earlier process."""
        self.renewed = -inf
        """When that left which renewed the leases last."""
        self._looked = -inf
        self.early = 0.0
        """Which part of what can be spread its shares end early, from 0 to 1."""

    @property
    def silent(self) -> bool:
        """Whether `look` has never had anything to say."""
        return self.limits is None

    def next_change(self, state: NodeState) -> float:
        """When `look` says something else by itself; infinite for never."""
        return (
            inf
            if self.silent
            else next_change(state.limits, ended_early(state.leases, self.early), self.renewed, self._looked)
        )

    def look(self, state: NodeState, now: float, *, changed: bool = False) -> list[Effect]:
        """What follows from the shares and leases in `state`; `changed`: they are others than before."""
        if not state.limits_version and self.free is None:
            # Nobody has told us any share yet; what a bundle or a refusal left goes on until somebody does.
            if self.source is None and self.provisional is not None:
                self.source, self.limits = "provisional", self.provisional
            elif self.source == "free":
                self.source = "reuse_last"
            else:
                return []
            return [ApplyLimits(0, self.source, self.limits or {})]
        source, limits = in_force(state.limits, ended_early(state.leases, self.early), self.renewed, now)
        if source == "lease" and not self.confirmed:
            source = "reuse_last"
        if self.free is not None:
            source, limits = "free", {**limits, **self.free}
        before, self.source, self._looked = self.source, source, now
        if (source, limits) == (before, self.limits) and not changed:
            return []
        self.limits = limits
        effects: list[Effect] = []
        if before is not None and source != before and source in _SAID:
            effects.append(Log(logging.WARNING, _SAID[source]))
        return [*effects, ApplyLimits(state.limits_version, source, limits)]
