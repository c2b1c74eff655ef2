"""What holds for this manager: its configuration, and what the operator set for the whole group."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gossip.ledger import Ledger
from manager.disk.saved import FILE
from manager.limits.sharing import Sharing, check_limits, from_plain, lease_of, to_plain
from manager.records import Setting
from manager.seats.lives import seat_terms
from manager.settings import Settings
from manager.subscription.standing import Subscription
from manager.tokens import JoinToken
from node.protocol import Leases, Limit, Limits

Policy: TypeAlias = Literal["available", "strict"]
SUBSCRIPTION = "subscription"
LIMITS = "limits"
_DOCUMENTS = 2**60
_EQUALLY = Sharing()


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerConfig:
    """What the core needs of the configuration. Durations are seconds."""

    secret: str = field(default="", repr=False)
    node_port: int = 7000
    http_port: int = 9897
    heartbeat: float = 5.0
    unreachable_after: float = 15.0
    grace: float = 60.0
    rejoin_window: float = 60.0
    retry_after: float = 15.0
    forget_after: float = 30 * 86400.0
    forget_ephemeral_after: float = 3600.0
    page_retention: float = 30 * 86400.0
    """How long the page of a manager that is gone is kept (rule L6)."""
    join_tokens: tuple[JoinToken, ...] = ()
    """Newcomers must show one of them, where there are any."""
    max_nodes: int | None = None
    surge_seats: int = 0
    """Seats beyond the cap, for nodes that come in the place of one that was lost …"""
    surge_seconds: float = 600.0
    """… not longer ago."""
    policy: Policy = "available"
    founders: tuple[str, ...] = ()
    degrade_after: float = 7 * 86400.0
    """Policy `available`: how long a node keeps its place without any manager."""
    ticket_life: float = 7 * 86400.0
    ephemeral_life: float = 900.0
    issuers: tuple[Ed25519PublicKey, ...] = ()
    issuer_url: str = ""
    tolerance: float = 7 * 86400.0
    margin: float = 7 * 86400.0
    free_limits: Limits = field(default_factory=dict)
    limits: Limits = field(default_factory=dict)
    sharing: Mapping[str, Sharing] = field(default_factory=dict)
    """Of the limits that are not shared by the defaults."""
    limits_mode: Literal["available", "conserve"] = "available"
    stats_window: float = 3600.0
    stats_step: float = 10.0

    @property
    def seat_terms(self) -> str:
        """What must be alike at all founders: how long their tickets live."""
        return seat_terms(self.ticket_life, self.ephemeral_life)


class Terms:
    """Cap and limits in force, as the settings on the pages say; `settings` also changes them."""

    def __init__(self, ledger: Ledger, group: str, config: ManagerConfig) -> None:
        self.config = config
        self.settings = Settings(ledger)
        self.subscription = Subscription(
            ledger,
            group,
            config.issuers,
            asks=bool(config.issuer_url),
            tolerance=config.tolerance,
            margin=config.margin,
        )
        self._read: tuple[Setting | None, tuple[Limits, dict[str, Sharing]]] = (None, ({}, {}))
        self._leases: tuple[tuple[Setting | None, int | None], Leases] | None = None
        """… and what they were made of."""
        self.free_only = False
        """Whether the subscription's ladder has come to its end: every node has the free limits."""

    def start(self, before: Iterable[tuple[str, bytes]], facts: Mapping[str, str]) -> list[str]:
        """Go on with what an operator had set, then with what our file says (rule L7).

        `before` stood on our page, and `facts` on our disk, when we ended. Gives lines for the operator.
        """
        self.settings.recall(before)
        self.subscription.recall(before)
        lines = []
        for name, value in self._file().items():
            text = facts.get(FILE + name)
            line = self.settings.file_says(name, value, None if text is None else json.loads(text))
            if line:
                lines.append(line)
        return lines

    def facts(self) -> dict[str, str]:
        """What the next start shall know of our file."""
        return {FILE + name: json.dumps(value, sort_keys=True) for name, value in self._file().items()}

    def _file(self) -> dict[str, Any]:
        plain = to_plain(self.config.limits, self.config.sharing)
        return {SUBSCRIPTION: self.config.max_nodes, LIMITS: plain or None}

    @property
    def cap(self) -> int | None:
        """How many nodes may hold a seat, overage included; None for any number."""
        document = self.subscription.document
        return self.max_nodes if document is None else document.seats

    @property
    def serial(self) -> int:
        """The serial of the decision that made `cap` hold; those of documents are above all others."""
        document = self.subscription.document
        if document is not None:
            return _DOCUMENTS + document.serial
        setting = self.settings.get(SUBSCRIPTION)
        return 0 if setting is None else setting.serial

    @property
    def max_nodes(self) -> int | None:
        """The cap as it was granted, or set; None for none."""
        document = self.subscription.document
        if document is not None:
            return document.max_nodes
        setting = self.settings.get(SUBSCRIPTION)
        return None if setting is None else setting.value

    @property
    def limits(self) -> Limits:
        """The cluster-wide limits."""
        return self._limits[0]

    @property
    def limits_setting(self) -> Setting | None:
        """A new object whenever the limits have changed."""
        return self.settings.get(LIMITS)

    def sharing(self, name: str) -> Sharing:
        """How the limit is divided."""
        return self._limits[1].get(name, _EQUALLY)

    def set_limit(self, name: str, limit: Limit | None, sharing: Sharing) -> Setting:
        """An operator's word about one limit; None takes it away. Raises `ValueError` for what cannot be."""
        limits, shared = dict(self.limits), {other: self.sharing(other) for other in self.limits}
        limits.pop(name, None)
        if limit is not None:
            limits[name], shared[name] = limit, sharing
        check_limits(limits, shared)
        return self.settings.set(LIMITS, to_plain(limits, shared))

    @property
    def leases(self) -> Leases:
        """For how long a share may be used, by limit."""
        made_of = self.limits_setting, self.cap
        if self._leases is None or self._leases[0] != made_of:
            cap = made_of[1]
            leases = {name: lease_of(limit, self.sharing(name), cap) for name, limit in self.limits.items()}
            self._leases = made_of, leases
        return self._leases[1]

    @property
    def _limits(self) -> tuple[Limits, dict[str, Sharing]]:
        setting = self.settings.get(LIMITS)
        if setting is not self._read[0]:
            self._read = setting, from_plain({} if setting is None else setting.value)
        return self._read[1]
