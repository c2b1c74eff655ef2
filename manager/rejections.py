"""What a manager drops or turns away: counted, and said where the operator can do something about it."""

import logging
from collections import Counter
from collections.abc import Callable

from manager.config.schema import ManagerFile
from manager.tls import HUNG_UP, why_failed

log = logging.getLogger("manager")

_SAID_EVERY = 60.0
_KEYS_SAID_EVERY = 3600.0
_SAID_MAX = 1024
_WRONG_DOOR = {
    "memberlist_on_node_port": "a gossip packet from {peer} came to the node port {node}: "
    "peers are gossip addresses, the gossip port is {gossip}",
    "http": "an HTTP request from {peer} came to the gossip port {gossip}: "
    "the page and the API are on port {http}",
    "not_near": "turned away {peer}: without a key only loopback and private addresses are served",
    "tls_handshake": "a TLS handshake with {peer} failed: {why}",
    "too_many_without_hello": "turned away {peer}: too many connections that have not said hello",
}
_WRONG_KEY = {
    "undecryptable": "no installed key opens what {peer} sends: compare gossip.key there and here",
    "plaintext": "{peer} sends gossip without a key: give it the gossip.key of this manager",
    "encrypted": "{peer} sends gossip under a key, and this manager has none: give it the same gossip.key",
    "error_answered": "{peer} cannot read what this manager sends: compare gossip.key there and here",
    "label": "what {peer} sends is not labelled as gossip of this group: compare gossip.label there and here",
}


class Rejections:
    """`counts` are those of `rejected{where, reason}` since the start; `now` is the clock's."""

    def __init__(self, file: ManagerFile, now: Callable[[], float]) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._counted_at: dict[tuple[str, str], float] = {}
        self._said: dict[tuple[str, str], float] = {}
        self._file = file
        self._now = now

    def count(self, where: str, reason: str) -> None:
        """One more."""
        self.counts[where, reason] += 1
        self._counted_at[where, reason] = self._now()

    def since(self, seconds: float) -> dict[tuple[str, str], int]:
        """How often since the start, for what was counted within the last `seconds`."""
        recently = self._now() - seconds
        return {key: self.counts[key] for key, at in self._counted_at.items() if at > recently}

    def of_gossip(self, reason: str, peer: str) -> None:
        self._rejected("gossip", reason, peer)

    def of_nodes(self, reason: str, peer: str) -> None:
        self._rejected("node", reason, peer)

    def of_handshakes(self, where: str, peer: str, error: OSError) -> None:
        self._rejected(where, "tls_handshake", peer, why_failed(error))

    def _rejected(self, where: str, reason: str, peer: str, why: str = "") -> None:
        """Count it; where it has a remedy that the operator should hear, say so, not too often to a peer."""
        self.count(where, reason)
        text = _WRONG_DOOR.get(reason) or _WRONG_KEY.get(reason)
        now = self._now()
        if text is None or self._said.get((reason, peer), 0.0) > now:
            return
        if len(self._said) >= _SAID_MAX:
            # Who forges addresses fills no log.
            self._said = {key: until for key, until in self._said.items() if until > now}
            if len(self._said) >= _SAID_MAX:
                return
        seldom = reason in _WRONG_KEY or why == HUNG_UP
        self._said[reason, peer] = now + (_KEYS_SAID_EVERY if seldom else _SAID_EVERY)
        file = self._file
        log.warning(
            text.format(peer=peer, why=why, node=file.node_port, gossip=file.gossip_port, http=file.http_port)
        )
