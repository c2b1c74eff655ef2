"""`cluster-manager.yml`: the schema of a manager's configuration, and what its core needs of it."""

import os
import re
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from gossip.wire import LABEL_BYTES_MAX, PLAIN, Keyring, Layers, read_key
from manager.documents import MAX_NODES_MAX, read_public_key
from manager.doors import is_near
from manager.keys import A_NEW_KEY, read_keyring
from manager.licence import LICENCE_FILE
from manager.limits import Algorithm, Sharing, check_limits
from manager.terms import ManagerConfig, Policy
from manager.tokens import ApiToken, JoinToken, Scope, digest, peers_token
from node.logs import LogSettings
from node.protocol import Limit, Limits
from node.settings import (
    COMMAS,
    Duration,
    Locator,
    Port,
    Settings,
    format_duration,
    located,
    parse_duration,
)

GOSSIP_PORT = 7946
FOUNDERS_MAX = 16
CONFIG_FILE = Path("/etc/krakend/cluster-manager.yml")
RATE_MIN = 1e-9
_HEARTBEATS = re.compile(r"([1-9][0-9]{0,2}) heartbeats?")


def _as_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", text):
        raise ValueError(f"must be 1 to 128 letters, digits, `.`, `_` or `-`, not `{text}`")
    return text


def _as_group(text: str) -> str:
    if len(_as_name(text)) > 64:
        raise ValueError(f"must be at most 64 characters, not {len(text)}")
    return text


def _as_ip(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError(f"must be an IP address of this host, not `{text}`") from None


def _as_reachable_ip(text: str) -> str:
    if not text:
        return text
    ip = ip_address(_as_ip(text))
    if ip.is_unspecified or ip.is_multicast:
        raise ValueError(f"must be an address that other hosts can reach, not `{text}`")
    return str(ip)


def _as_heartbeats(text: str) -> str:
    if not _HEARTBEATS.fullmatch(text):
        try:
            parse_duration(text)
        except ValueError:
            raise ValueError(f"must be `3 heartbeats` or a duration such as 15s, not `{text}`") from None
    return text


def _as_founders(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("names a founder twice")
    if len(names) > FOUNDERS_MAX:
        raise ValueError(f"must be at most {FOUNDERS_MAX} managers, not {len(names)}")
    return names


def _silence(text: str, heartbeat: float) -> float:
    match = _HEARTBEATS.fullmatch(text)
    return int(match[1]) * heartbeat if match else parse_duration(text)


class RateSettings(Settings):
    """So many requests in so long a time."""

    max_rate: Annotated[float, Field(ge=RATE_MIN, lt=1e12, description="requests that pass in each `every`")]
    every: Annotated[Duration, Field(ge=0.001, lt=1e9, description="the window")] = 1.0
    per_client: Annotated[bool, Field(description="of each client's own")] = False


class LimitSettings(RateSettings):
    """One cluster-wide limit."""

    algorithm: Annotated[Algorithm, Field(description="how it is divided over the nodes")] = "equal"
    lease: Annotated[Duration, Field(ge=0.5, lt=1e9, description="a share is renewed before it ends")] = (
        Sharing().lease
    )
    reuse_last: Annotated[
        Duration, Field(ge=0, lt=1e9, description="… and may be used for so long when nobody renews it")
    ] = Sharing().reuse_last
    safe: Annotated[
        float | None,
        Field(ge=RATE_MIN, lt=1e12, description="then this is a node's max_rate; unset: a seat's part"),
    ] = None


def _fitting(limits: dict[str, LimitSettings]) -> dict[str, LimitSettings]:
    check_limits(_limits(limits), _sharing(limits))
    return limits


def _free_fitting(limits: dict[str, RateSettings]) -> dict[str, RateSettings]:
    check_limits(_limits(limits), {})
    return limits


class GroupSettings(Settings):
    """The group's identity, which stands in every ticket."""

    name: Annotated[
        str,
        AfterValidator(_as_group),
        Field(description="managers of other groups are strangers"),
    ] = "krakend"
    secret: Annotated[
        SecretStr,
        Field(description="ids and tickets are made under it; without one they follow from the name"),
    ] = SecretStr("")
    founders: Annotated[
        tuple[Annotated[str, AfterValidator(_as_name)], ...],
        COMMAS,
        AfterValidator(_as_founders),
        Field(description="names of the managers that the seats are divided over, for policy strict"),
    ] = ()

    @field_serializer("secret")
    def _hidden(self, _: SecretStr) -> None:
        # --print-config is pasted into tickets and chats.
        return None


def _as_key(secret: SecretStr) -> SecretStr:
    if text := secret.get_secret_value():
        try:
            read_key(text)
        except ValueError as error:
            raise ValueError(
                f"{error}: it must be random bytes in base64, `{A_NEW_KEY}` makes some"
            ) from None
    return secret


def _as_label(text: str) -> str:
    if not text.isprintable() or len(text.encode()) > LABEL_BYTES_MAX:
        raise ValueError(f"must be at most {LABEL_BYTES_MAX} bytes of printable text")
    return text


def _as_gossip(value: object) -> object:
    # What stands here instead of a map is likely the key, and not to be shown.
    if isinstance(value, str):
        raise ValueError("must be a map: write `gossip: {key: KEY}`")
    return value


class GossipSettings(Settings):
    """What keeps strangers out of the gossip."""

    key: Annotated[
        SecretStr,
        AfterValidator(_as_key),
        Field(description="16, 24 or 32 bytes in base64, the same for all; better set by KCM_GOSSIP_KEY"),
    ] = SecretStr("")
    keyring_file: Annotated[
        str,
        Field(description="in place of the key: a file with a JSON list of keys, of which the first seals"),
    ] = ""
    label: Annotated[
        str, AfterValidator(_as_label), Field(description="of the group's packets; serf 0.9 knows none")
    ] = ""

    @field_serializer("key")
    def _hidden(self, _: SecretStr) -> None:
        return None

    @field_validator("keyring_file")
    @classmethod
    def _is_a_keyring(cls, name: str, info: ValidationInfo) -> str:
        if not name:
            return name
        if _is_key(name):
            raise ValueError("is a key, not the name of a file: it belongs into `gossip.key`")
        if info.data.get("key", SecretStr("")).get_secret_value():
            raise ValueError("is set, and so is `gossip.key`: leave one of them out")
        read_keyring(name)
        return name


def _is_key(text: str) -> bool:
    try:
        return bool(read_key(text))
    except ValueError:
        return False


def _as_issuer(text: str) -> str:
    read_public_key(text)
    return text


def _as_url(url: str) -> str:
    if url and not re.fullmatch(r"https?://[^\s@]+", url):
        raise ValueError(f"must be a URL such as https://licences.example.com/ours, not `{url}`")
    return url


class SurgeSettings(Settings):
    """Seats beyond the cap, for a rolling restart."""

    seats: Annotated[
        int, Field(ge=0, le=1000, description="available: beyond the cap, in the place of nodes just lost")
    ] = 0
    for_: Annotated[
        Duration, Field(alias="for", ge=1, description="for so long after such a node was lost")
    ] = 600.0


class SubscriptionSettings(Settings):
    """How many nodes may run."""

    max_nodes: Annotated[int | None, Field(ge=0, le=MAX_NODES_MAX, description="unset: no cap")] = None
    surge: SurgeSettings = SurgeSettings()
    policy: Annotated[
        Policy, Field(description="available: a split may exceed the cap; strict: nothing does")
    ] = "available"
    ticket_life: Annotated[
        Duration, Field(ge=1, description="strict: a node runs for so long without its home")
    ] = 7 * 86400.0
    ephemeral_life: Annotated[Duration, Field(ge=1, description="strict: the same of ephemeral nodes")] = (
        900.0
    )
    free_limits: Annotated[dict[str, RateSettings], AfterValidator(_free_fitting)] = Field(
        default_factory=dict
    )
    issuers: Annotated[
        tuple[Annotated[str, AfterValidator(_as_issuer)], ...],
        COMMAS,
        Field(description="public keys, in base64, whose signed subscriptions hold in place of max_nodes"),
    ] = ()
    file: Annotated[str, Field(description="the signed subscription, read with issuers only")] = str(
        LICENCE_FILE
    )
    url: Annotated[
        str, AfterValidator(_as_url), Field(description="where the issuer is asked for it once a day")
    ] = ""
    tolerance: Annotated[Duration, Field(ge=0, description="the url may be silent for so long")] = 7 * 86400.0
    margin: Annotated[
        Duration, Field(ge=0, description="expired, or over the limit, for so long: the free limits hold")
    ] = 7 * 86400.0

    @field_validator("url")
    @classmethod
    def _is_trusted(cls, url: str, info: ValidationInfo) -> str:
        if url and not info.data.get("issuers"):
            raise ValueError("needs `subscription.issuers`: the public key of who signs what it answers")
        return url


def _as_digest(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError("must be the SHA-256 of a token, 64 hex digits: `kcm token` makes both")
    return text


def _as_time(text: str) -> str:
    try:
        utc_seconds(text)
    except ValueError:
        raise ValueError(f"must be a day such as 2027-11-24, also with a time of day, not `{text}`") from None
    return text


def utc_seconds(text: str) -> float:
    """Seconds since 1970 of an ISO 8601 time, in UTC where it names no zone. Raises `ValueError`."""
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _as_label_pair(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}=[^=,]{0,64}", text) or not text.isprintable():
        raise ValueError(f"must be labels such as `zone=a`, not `{text}`")
    return text


class JoinTokenSettings(Settings):
    """One token for nodes, which is known by its hash alone."""

    sha256: Annotated[str, AfterValidator(_as_digest), Field(description="hash of the token, by `kcm token`")]
    expires: Annotated[str, AfterValidator(lambda text: text and _as_time(text))] = ""
    uses: Annotated[int | None, Field(ge=1, description="so many nodes may be known that came in by it")] = (
        None
    )
    labels: Annotated[
        tuple[Annotated[str, AfterValidator(_as_label_pair)], ...],
        COMMAS,
        Field(description="of the nodes that come in by it: `zone=a, rack=2`"),
    ] = ()


class NodesSettings(Settings):
    """When a node counts as what."""

    model_config = ConfigDict(validate_default=True)

    heartbeat: Annotated[Duration, Field(ge=0.1, le=3600, description="each node reports this often")] = 5.0
    unreachable_after: Annotated[
        str, AfterValidator(_as_heartbeats), Field(description="silence; `N heartbeats` or a duration")
    ] = "3 heartbeats"
    grace: Annotated[Duration, Field(description="unreachable for so long, a node is down")] = 60.0
    rejoin_window: Annotated[Duration, Field(description="a removed node's seat is held for so long")] = 60.0
    retry_after: Annotated[Duration, Field(ge=0.1, description="a refused node comes again after it")] = 15.0
    forget_after: Annotated[Duration, Field(description="a node that is gone is listed for so long")] = (
        30 * 86400.0
    )
    forget_ephemeral_after: Annotated[
        Duration, Field(description="… and one of class ephemeral, but for the rejoin window")
    ] = 3600.0

    tokens: dict[str, JoinTokenSettings] = Field(default_factory=dict)

    @field_validator("unreachable_after")
    @classmethod
    def _outlasts_a_heartbeat(cls, text: str, info: ValidationInfo) -> str:
        heartbeat = info.data.get("heartbeat", 0.0)
        if _silence(text, heartbeat) <= heartbeat:
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
        return _silence(self.unreachable_after, self.heartbeat)


class StatsSettings(Settings):
    """How much of what nodes report is kept."""

    model_config = ConfigDict(validate_default=True)

    window: Annotated[Duration, Field(ge=1, le=7 * 86400)] = 3600.0
    step: Annotated[Duration, Field(ge=1, le=86400)] = 10.0

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
    sha256: Annotated[str, AfterValidator(_as_digest), Field(description="hash of the token, by `kcm token`")]


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
        AfterValidator(_as_name),
        Field(description="of this manager, unique in the group; default: host name"),
    ] = Field(default_factory=lambda: re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()) or "manager")
    bind: Annotated[str, AfterValidator(_as_ip), Field(description="the IP where all three ports listen")] = (
        "0.0.0.0"
    )
    advertise: Annotated[
        str,
        AfterValidator(_as_reachable_ip),
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
    gossip: Annotated[GossipSettings, BeforeValidator(_as_gossip)] = GossipSettings()
    subscription: SubscriptionSettings = SubscriptionSettings()
    limits: Annotated[dict[str, LimitSettings], AfterValidator(_fitting)] = Field(default_factory=dict)
    degrade_after: Annotated[
        Duration,
        Field(description="without any manager a node keeps its place for so long; 0: for ever"),
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


def core_config(file: ManagerFile) -> ManagerConfig:
    """What the core needs of the file."""
    return ManagerConfig(
        secret=file.group.secret.get_secret_value(),
        node_port=file.node_port,
        http_port=file.http_port,
        heartbeat=file.nodes.heartbeat,
        unreachable_after=file.nodes.unreachable_seconds,
        grace=file.nodes.grace,
        rejoin_window=file.nodes.rejoin_window,
        retry_after=file.nodes.retry_after,
        forget_after=file.nodes.forget_after,
        forget_ephemeral_after=file.nodes.forget_ephemeral_after,
        join_tokens=tuple(
            JoinToken(
                name,
                one.sha256,
                utc_seconds(one.expires) if one.expires else None,
                one.uses,
                {key: value for key, _, value in (label.partition("=") for label in one.labels)},
            )
            for name, one in file.nodes.tokens.items()
        ),
        max_nodes=file.subscription.max_nodes,
        degrade_after=file.degrade_after,
        surge_seats=file.subscription.surge.seats,
        surge_seconds=file.subscription.surge.for_,
        policy=file.subscription.policy,
        founders=file.group.founders,
        ticket_life=file.subscription.ticket_life,
        ephemeral_life=file.subscription.ephemeral_life,
        issuers=tuple(read_public_key(key) for key in file.subscription.issuers),
        issuer_url=file.subscription.url,
        tolerance=file.subscription.tolerance,
        margin=file.subscription.margin,
        free_limits=_limits(file.subscription.free_limits),
        limits=_limits(file.limits),
        sharing=_sharing(file.limits),
        limits_mode=file.limits_mode,
        stats_window=file.stats.window,
        stats_step=file.stats.step,
    )


def http_tokens(file: ManagerFile) -> tuple[ApiToken, ...]:
    """Those of the file, and where there are any, that of the other managers."""
    tokens = [ApiToken(name, token.scope, token.sha256) for name, token in file.http.tokens.items()]
    if tokens:
        tokens.append(ApiToken("another manager", Scope.OPERATOR, digest(peers_token_of(file))))
    return tuple(tokens)


def own_names(file: ManagerFile) -> set[str]:
    """By which this manager is asked, in lower case, beside addresses."""
    host = socket.gethostname()
    names = {file.name, host, host.partition(".")[0], socket.getfqdn(), *file.http.hosts}
    return {name.lower() for name in names}


def peers_token_of(file: ManagerFile) -> str:
    """What managers show each other; empty where no tokens are wanted."""
    return peers_token(file.group.secret.get_secret_value()) if file.http.tokens else ""


def read_limit(values: Mapping[str, object]) -> tuple[Limit, Sharing]:
    """What the keys of one limit say. Raises `ValueError`, which names the key."""
    try:
        settings = LimitSettings.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        what = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{key}: {what[:1].lower()}{what[1:]}") from None
    return _limits({"": settings})[""], _sharing({"": settings})[""]


def gossip_layers(file: ManagerFile) -> Layers:
    """Key and label of the gossip; `PLAIN` where there is neither. Raises `ValueError` as `read_keyring`."""
    settings = file.gossip
    keyring = None
    if settings.keyring_file:
        keyring = read_keyring(settings.keyring_file)
    elif key := settings.key.get_secret_value():
        keyring = Keyring([read_key(key)])
    if keyring is None and not settings.label:
        return PLAIN
    return Layers(keyring, settings.label.encode(), os.urandom)


def _limits(settings: Mapping[str, RateSettings]) -> Limits:
    return {name: Limit(limit.max_rate, limit.every, limit.per_client) for name, limit in settings.items()}


def _sharing(settings: Mapping[str, LimitSettings]) -> dict[str, Sharing]:
    return {
        name: Sharing(limit.algorithm, limit.lease, limit.reuse_last, limit.safe)
        for name, limit in settings.items()
    }


def address_to_advertise(file: ManagerFile, own: list[str]) -> str:
    """The IP that others shall reach us by: as configured, else `bind`, else the first private one of `own`.

    `own` are this host's IPv4 addresses; loopback, with a warning from the caller, where none is private.
    """
    if file.advertise:
        return file.advertise
    if not ip_address(file.bind).is_unspecified:
        return file.bind
    private = [ip for ip in own if is_near(ip) and not ip_address(ip).is_loopback]
    return private[0] if private else "127.0.0.1"
