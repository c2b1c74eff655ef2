"""`cluster-manager.yml`: the schema of a manager's configuration."""

import re
import socket
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from manager.config.limits import LimitSettings, RateSettings, fitting, free_fitting
from manager.config.values import (
    as_digest,
    as_founders,
    as_gossip,
    as_group,
    as_heartbeats,
    as_ip,
    as_issuer,
    as_key,
    as_label,
    as_label_pair,
    as_name,
    as_reachable_ip,
    as_time,
    as_url,
    is_key,
    silence,
)
from manager.keys import read_keyring
from manager.subscription.documents import MAX_NODES_MAX
from manager.subscription.file import SUBSCRIPTION_FILE
from manager.terms import Policy
from manager.tokens import Scope
from node.logs import LogSettings
from node.settings import (
    COMMAS,
    Duration,
    Locator,
    Port,
    Settings,
    format_duration,
    located,
)

GOSSIP_PORT = 7946
CONFIG_FILE = Path("/etc/krakend/cluster-manager.yml")


class GroupSettings(Settings):
    """The group's identity, which stands in every ticket."""

    name: Annotated[
        str,
        AfterValidator(as_group),
        Field(description="managers of other groups are strangers"),
    ] = "krakend"
    secret: Annotated[
        SecretStr,
        Field(description="ids and tickets are made under it; without one they follow from the name"),
    ] = SecretStr("")
    founders: Annotated[
        tuple[Annotated[str, AfterValidator(as_name)], ...],
        COMMAS,
        AfterValidator(as_founders),
        Field(description="names of the managers that the seats are divided over, for policy strict"),
    ] = ()

    @field_serializer("secret")
    def _hidden(self, _: SecretStr) -> None:
        # --print-config is pasted into tickets and chats.
        return None


class GossipSettings(Settings):
    """What keeps strangers out of the gossip."""

    key: Annotated[
        SecretStr,
        AfterValidator(as_key),
        Field(description="16, 24 or 32 bytes in base64, the same for all; better set by KCM_GOSSIP_KEY"),
    ] = SecretStr("")
    keyring_file: Annotated[
        str,
        Field(description="in place of the key: a file with a JSON list of keys, of which the first seals"),
    ] = ""
    label: Annotated[
        str, AfterValidator(as_label), Field(description="of the group's packets; serf 0.9 knows none")
    ] = ""

    @field_serializer("key")
    def _hidden(self, _: SecretStr) -> None:
        return None

    @field_validator("keyring_file")
    @classmethod
    def _is_a_keyring(cls, name: str, info: ValidationInfo) -> str:
        if not name:
            return name
        if is_key(name):
            raise ValueError("is a key, not the name of a file: it belongs into `gossip.key`")
        if info.data.get("key", SecretStr("")).get_secret_value():
            raise ValueError("is set, and so is `gossip.key`: leave one of them out")
        read_keyring(name)
        return name


class SurgeSettings(Settings):
    """Seats beyond the cap, for a rolling restart."""

    seats: Annotated[
        int, Field(ge=0, le=1000, description="available: beyond the cap, in the place of nodes just lost")
    ] = 0
    for_: Annotated[Duration, Field(alias="for", ge=1, description="how long after such a node was lost")] = (
        600.0
    )


class SubscriptionSettings(Settings):
    """How many nodes may run."""

    max_nodes: Annotated[int | None, Field(ge=0, le=MAX_NODES_MAX, description="unset: no cap")] = None
    surge: SurgeSettings = SurgeSettings()
    policy: Annotated[
        Policy, Field(description="available: a split may exceed the cap; strict: nothing does")
    ] = "available"
    ticket_life: Annotated[
        Duration, Field(ge=1, description="strict: how long a node runs without its home")
    ] = 7 * 86400.0
    ephemeral_life: Annotated[Duration, Field(ge=1, description="strict: the same of ephemeral nodes")] = (
        900.0
    )
    free_limits: Annotated[dict[str, RateSettings], AfterValidator(free_fitting)] = Field(
        default_factory=dict
    )
    issuers: Annotated[
        tuple[Annotated[str, AfterValidator(as_issuer)], ...],
        COMMAS,
        Field(description="public keys, in base64, whose signed subscriptions hold in place of max_nodes"),
    ] = ()
    file: Annotated[str, Field(description="the signed subscription, read with issuers only")] = str(
        SUBSCRIPTION_FILE
    )
    url: Annotated[
        str, AfterValidator(as_url), Field(description="where the issuer is asked for it once a day")
    ] = ""
    tolerance: Annotated[Duration, Field(ge=0, description="how long the url may be silent")] = 7 * 86400.0
    margin: Annotated[
        Duration, Field(ge=0, description="how long expired, or over the limit, until the free limits hold")
    ] = 7 * 86400.0

    @field_validator("url")
    @classmethod
    def _is_trusted(cls, url: str, info: ValidationInfo) -> str:
        if url and not info.data.get("issuers"):
            raise ValueError("needs `subscription.issuers`: the public key of who signs what it answers")
        return url


class JoinTokenSettings(Settings):
    """One token for nodes, which is known by its hash alone."""

    sha256: Annotated[str, AfterValidator(as_digest), Field(description="hash of the token, by `kcm token`")]
    expires: Annotated[str, AfterValidator(lambda text: text and as_time(text))] = ""
    uses: Annotated[int | None, Field(ge=1, description="how many nodes that came in by it may be known")] = (
        None
    )
    labels: Annotated[
        tuple[Annotated[str, AfterValidator(as_label_pair)], ...],
        COMMAS,
        Field(description="of the nodes that come in by it: `zone=a, rack=2`"),
    ] = ()


class NodesSettings(Settings):
    """When a node counts as what."""

    model_config = ConfigDict(validate_default=True)

    heartbeat: Annotated[Duration, Field(ge=0.1, le=3600, description="each node reports this often")] = 5.0
    unreachable_after: Annotated[
        str, AfterValidator(as_heartbeats), Field(description="silence; `N heartbeats` or a duration")
    ] = "3 heartbeats"
    grace: Annotated[Duration, Field(description="how long a node may be unreachable before it is down")] = (
        60.0
    )
    rejoin_window: Annotated[Duration, Field(description="how long a removed node's seat is held")] = 60.0
    retry_after: Annotated[Duration, Field(ge=0.1, description="a refused node tries again after it")] = 15.0
    forget_after: Annotated[Duration, Field(description="how long a node that is gone stays listed")] = (
        30 * 86400.0
    )
    forget_ephemeral_after: Annotated[
        Duration, Field(description="… and one of class ephemeral; at least the rejoin window")
    ] = 3600.0

    tokens: dict[str, JoinTokenSettings] = Field(default_factory=dict)

    @field_validator("unreachable_after")
    @classmethod
    def _outlasts_a_heartbeat(cls, text: str, info: ValidationInfo) -> str:
        heartbeat = info.data.get("heartbeat", 0.0)
        if silence(text, heartbeat) <= heartbeat:
            raise ValueError(
                f"must be longer than one heartbeat ({format_duration(heartbeat)}), not `{text}`"
            )
        return text

    @field_validator("forget_after")
    @classmethod
    def _outlasts_the_window(cls, seconds: float, info: ValidationInfo) -> float:
        # Its entry holds the seat of a node that may rejoin.
        window = info.data.get("rejoin_window", 0.0)
        if seconds < window:
            raise ValueError(f"must be at least the `rejoin_window` ({format_duration(window)})")
        return seconds

    @property
    def unreachable_seconds(self) -> float:
        """`unreachable_after` in seconds."""
        return silence(self.unreachable_after, self.heartbeat)


class StatsSettings(Settings):
    """How much of what nodes report is kept."""

    model_config = ConfigDict(validate_default=True)

    window: Annotated[Duration, Field(ge=1, le=7 * 86400, description="how far back statistics go")] = 3600.0
    step: Annotated[Duration, Field(ge=1, le=86400, description="how fine they are")] = 10.0

    @field_validator("step")
    @classmethod
    def _divides_the_window(cls, step: float, info: ValidationInfo) -> float:
        window = info.data.get("window", step)
        if not step <= window <= 10_000 * step:
            raise ValueError(f"must divide the `window` ({format_duration(window)}) into 1 to 10000 steps")
        return step


class ApiTokenSettings(Settings):
    """One token for the API, which is known by its hash alone."""

    scope: Annotated[Scope, Field(description="viewer, operator or admin")] = Scope.VIEWER
    sha256: Annotated[str, AfterValidator(as_digest), Field(description="hash of the token, by `kcm token`")]


class HttpSettings(Settings):
    """Who may use page, API and metrics."""

    tokens: dict[str, ApiTokenSettings] = Field(default_factory=dict)
    hosts: Annotated[
        tuple[str, ...],
        COMMAS,
        Field(description="names, beside its own, by which people reach this manager, as through a proxy"),
    ] = ()


class TlsSettings(Settings):
    """Certificates of the node and HTTP ports, and which of other managers are believed."""

    cert: Annotated[str, Field(description="a file with this manager's certificate and chain, PEM")] = ""
    key: Annotated[str, Field(description="a file with its private key, PEM")] = ""
    ca: Annotated[str, Field(description="a file with the authority of all managers' certificates")] = ""
    client_ca: Annotated[
        str, Field(description="nodes must show a certificate of the authority in this file")
    ] = ""
    server_name: Annotated[
        str, Field(description="a name that all managers' certificates have; default: each one's address")
    ] = ""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        given = self.cert or self.key or self.ca or self.client_ca or self.server_name
        if given and not (self.cert and self.key and self.ca):
            raise ValueError("needs `cert`, `key` and `ca` together")
        return self


class ManagerFile(Settings):
    """The whole file."""

    model_config = ConfigDict(validate_default=True)

    name: Annotated[
        str,
        AfterValidator(as_name),
        Field(description="of this manager, unique in the group; default: host name"),
    ] = Field(default_factory=lambda: re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()) or "manager")
    bind: Annotated[str, AfterValidator(as_ip), Field(description="the IP where all three ports listen")] = (
        "0.0.0.0"
    )
    advertise: Annotated[
        str,
        AfterValidator(as_reachable_ip),
        Field(
            description="the IP that others reach this manager by; default: bind, or the first private IPv4"
        ),
    ] = ""
    node_port: Annotated[Port, Field(description="where nodes connect: what they put into `seed`")] = 7000
    gossip_port: Annotated[Port, Field(description="UDP and TCP, among managers")] = GOSSIP_PORT
    http_port: Annotated[Port, Field(description="page, API and metrics")] = 9897
    peers: Annotated[
        tuple[Annotated[Locator, located(GOSSIP_PORT)], ...],
        COMMAS,
        Field(
            description="gossip addresses HOST:PORT or names dns://HOST, dns+srv://_SERVICE._PROTO.NAME of"
            " other managers; this one among them is ignored"
        ),
    ] = ()
    state_dir: Annotated[
        str,
        Field(
            description="a folder for what a restart may not lose, under this manager's name; "
            "default: /var/lib/krakend-cluster-manager where that exists, else nothing is kept"
        ),
    ] = ""
    group: GroupSettings = GroupSettings()
    gossip: Annotated[GossipSettings, BeforeValidator(as_gossip)] = GossipSettings()
    subscription: SubscriptionSettings = SubscriptionSettings()
    limits: Annotated[dict[str, LimitSettings], AfterValidator(fitting)] = Field(default_factory=dict)
    degrade_after: Annotated[
        Duration,
        Field(description="how long a node keeps its place without any manager; 0: for ever"),
    ] = 7 * 86400.0
    limits_mode: Annotated[
        Literal["available", "conserve"],
        Field(description="in a split: each side comes to the whole, or all sides together keep to it"),
    ] = "available"
    nodes: NodesSettings = NodesSettings()
    http: HttpSettings = HttpSettings()
    tls: TlsSettings = TlsSettings()
    stats: StatsSettings = StatsSettings()
    log: LogSettings = LogSettings()

    @field_validator("advertise")
    @classmethod
    def _is_of_the_family(cls, ip: str, info: ValidationInfo) -> str:
        # Gossip listens on `bind` alone, so it is reached by that family alone.
        bind = info.data.get("bind", "")
        if bind == "::" and not ip:
            raise ValueError("must be given where `bind` is `::`: an IPv6 address of this host")
        if bind and ip and (":" in bind) != (":" in ip):
            raise ValueError(
                f"must be an {'IPv6' if ':' in bind else 'IPv4'} address, as `bind` is, not `{ip}`"
            )
        return ip

    @field_validator("subscription")
    @classmethod
    def _has_founders(cls, subscription: SubscriptionSettings, info: ValidationInfo) -> SubscriptionSettings:
        group = info.data.get("group")
        if subscription.policy == "strict" and group is not None and not group.founders:
            raise ValueError(
                "has `policy: strict`, which needs `group.founders`: the managers that give seats"
            )
        if subscription.policy == "strict" and subscription.ephemeral_life > subscription.ticket_life:
            # No wait for the end of all tickets is longer than `ticket_life` (rules R3, R5).
            raise ValueError(
                f"has `ephemeral_life: {format_duration(subscription.ephemeral_life)}`: none that is longer "
                f"than `ticket_life`, {format_duration(subscription.ticket_life)}, will do"
            )
        if subscription.policy == "strict" and subscription.surge.seats:
            raise ValueError(
                "has `surge`, and under `policy: strict` there are no seats beyond the cap: take it out, and "
                "leave as many seats free as a rolling restart needs"
            )
        return subscription

    @field_validator("limits")
    @classmethod
    def _has_what_is_free(
        cls, limits: dict[str, LimitSettings], info: ValidationInfo
    ) -> dict[str, LimitSettings]:
        # A file without any limit takes those of the other managers' files.
        subscription = info.data.get("subscription", SubscriptionSettings())
        unknown = [name for name in subscription.free_limits if limits and name not in limits]
        if unknown:
            raise ValueError(
                f"has no `{unknown[0]}`, which `subscription.free_limits` names: correct one of both"
            )
        for name, free in subscription.free_limits.items():
            if name in limits and free.max_rate / free.every > limits[name].max_rate / limits[name].every:
                raise ValueError(
                    f"has less for all nodes together in `{name}` than `subscription.free_limits` has for a "
                    "refused one: raise it here, or lower it there"
                )
        return limits

    @field_validator("http")
    @classmethod
    def _have_a_secret_among_themselves(cls, http: HttpSettings, info: ValidationInfo) -> HttpSettings:
        if http.tokens and not info.data.get("group", GroupSettings()).secret.get_secret_value():
            raise ValueError(
                "has `tokens`, by which managers must know each other too: set `group.secret`, equal on all"
            )
        return http

    @field_validator("gossip_port", "http_port")
    @classmethod
    def _is_no_other_port(cls, port: int, info: ValidationInfo) -> int:
        for other in ("node_port", "gossip_port"):
            if info.data.get(other) == port:
                raise ValueError(f"is {port}, as is `{other}`: give each port a number of its own")
        return port
