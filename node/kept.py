"""What a restart may not lose, as it is now: shared by the parts of a session."""

from node.effects import NodeState


class Kept:
    """Whoever changes `state` returns a `Save` of it, before anybody is told."""

    def __init__(self, state: NodeState) -> None:
        self.state = state
