"""Whether the gateway may be restarted for other limits: the pure core, a part of the session.

A gateway that can take limits only by a restart is out of service meanwhile, so it waits for a turn, like a
node that is given another configuration (rules T1, T2). Until it has restarted, what it had stays in force.
"""

import logging

from node.effects import Effect, Log, TakeLimits


class Restarts:
    """Say by `need` what the newest limits would take, and by `done` when they are in force, or failed."""

    def __init__(self) -> None:
        self.asked = 0
        """The number of the question that waits for a turn; 0 where none does."""
        self.taken = 0
        """That of the last one whose turn cannot let the gateway out any more."""
        self.going = 0
        """That of the one by whose turn the gateway is out, or about to be."""

    @property
    def may(self) -> bool:
        """Whether the newest limits may be put into force now."""
        return bool(self.going) or not self.asked

    def need(self, needed: bool) -> None:
        """Whether a turn is needed for the newest limits; again whenever that may have changed."""
        if self.going:
            return
        if not needed:
            # A turn that is on its way is not used: `permitted` hands it back.
            self.taken, self.asked = max(self.taken, self.asked), 0
        elif not self.asked:
            self.asked = self.taken + 1

    def permitted(self, number: int) -> list[Effect]:
        """A manager's word on the open session: it is used at once or not at all."""
        if self.going or number != self.asked:
            if not self.going:
                self.taken = max(self.taken, number)
            return []
        self.going, self.asked = number, 0
        return [Log(logging.INFO, "The gateway goes out of service to take its limits"), TakeLimits()]

    def done(self) -> None:
        """The gateway is back, whatever it works under."""
        self.taken, self.going = max(self.taken, self.going), 0
