"""A simulated node's gateway: a file, and a restart during which it serves nothing."""

from collections.abc import Callable
from hashlib import sha256
from random import Random

from node.latency import bucket_of
from node.protocol import Served

CHECK_SECONDS = 0.2
DRAIN_SECONDS = 2.0
INVALID, SICK, ERRING, LAGGING = b"invalid", b"sick", b"erring", b"lagging"
"""A configuration that begins so is refused when checked, becomes not healthy, answers errors, or late."""
ERRING_PART = 0.3
ANSWERS_IN, LAGS = 0.1, 0.4
"""Seconds that an answer takes."""


class SimGateway:
    """What is on its disk outlives its process and the agent's."""

    def __init__(self) -> None:
        self.kind = ""
        self.on_disk = ""
        """SHA-256 in hex of its configuration, empty where it has none that an agent could replace."""
        self.out = False
        """Whether it is out of service for a change or a restart."""
        self.went: Callable[[], None] = lambda: None
        """Called when it goes out of service."""
        self.traffic = 0.0
        """Requests that it is sent in a second."""
        self._staged: dict[str, bytes] = {}
        self.erring = self._lagging = False
        self._requests = self._errors = 0.0
        self._timed: dict[int, float] = {}
        self._served_at = 0.0

    def counters(self, now: float) -> dict[str, float]:
        """What it has answered by `now`, since its process began; nothing where it is sent nothing."""
        grown = 0.0 if self.out else self.traffic * (now - self._served_at)
        self._served_at = now
        self._requests += grown
        self._errors += grown * ERRING_PART * self.erring
        bucket = bucket_of(LAGS if self._lagging else ANSWERS_IN)
        self._timed[bucket] = self._timed.get(bucket, 0.0) + grown
        counters = {"gateway_requests": self._requests, "gateway_errors": self._errors}
        return counters if self.traffic else {}

    @property
    def served(self) -> tuple[Served, ...]:
        """The same by endpoint, of which there is one, with how long answers took."""
        buckets = tuple(part for at, count in sorted(self._timed.items()) for part in (at, int(count)))
        row = Served("endpoint", "/", int(self._requests), int(self._errors), 0.0, buckets)
        return (row,) if self.traffic else ()

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
        self._requests = self._errors = 0.0
        self._timed.clear()

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
        self.went()
        return random.uniform(1.0, 20.0)

    def end(self, hash_: str) -> str:
        """Back in service; gives what was wrong, then with the configuration from before."""
        self.out = False
        content = self._staged.get(hash_, b"")
        if content.startswith(SICK):
            return "it is not healthy"
        self.erring, self._lagging = content.startswith(ERRING), content.startswith(LAGGING)
        self.on_disk = hash_
        return ""
