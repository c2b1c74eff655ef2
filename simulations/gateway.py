"""A simulated node's gateway: a file, and a restart during which it serves nothing."""

from hashlib import sha256
from random import Random

CHECK_SECONDS = 0.2
DRAIN_SECONDS = 2.0
INVALID, SICK = b"invalid", b"sick"
"""A configuration that begins so is refused when it is checked, or does not become healthy."""


class SimGateway:
    """What is on its disk outlives its process and the agent's."""

    def __init__(self) -> None:
        self.kind = ""
        self.on_disk = ""
        """SHA-256 in hex of its configuration, empty where it has none that an agent could replace."""
        self.out = False
        """Whether it is out of service for a change or a restart."""
        self._staged: dict[str, bytes] = {}

    @property
    def managed(self) -> bool:
        return bool(self.on_disk)

    def manage(self, kind: str, content: bytes) -> None:
        """It is of `kind` and runs with `content`, which its agent can replace."""
        self.kind, self.on_disk = f"{kind}: running", sha256(content).hexdigest()

    def start(self) -> None:
        """Whatever was under way has ended with its process."""
        self.out = False
        self._staged.clear()

    def check(self, hash_: str, content: bytes, *, trial: bool) -> str:
        """What is wrong with `content`; kept for `end` where nothing is."""
        if content.startswith(INVALID):
            return "it is invalid"
        if not trial:
            self._staged[hash_] = content
        return ""

    def go(self, random: Random) -> float:
        """Go out of service, for a change or a restart; gives the seconds until that is over."""
        self.out = True
        return random.uniform(1.0, 20.0)

    def end(self, hash_: str) -> str:
        """Back in service; gives what was wrong, then with the configuration from before."""
        self.out = False
        if self._staged.get(hash_, b"").startswith(SICK):
            return "it is not healthy"
        self.on_disk = hash_
        return ""
