"""One family of errors, so that a caller can tell whose fault it was."""


class GossipError(Exception):
    """Base of everything this room raises on purpose."""


class ForceLeaveRefused(GossipError):
    """The member is not to be declared gone; the text says why, and what to do."""


class WireError(GossipError):
    """A peer's: count it under `reason`, drop the packet or the stream, carry on.

    `reason` is a short constant (`truncated`, `too_big`, `bad_type` …), fit for a metric's label.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
