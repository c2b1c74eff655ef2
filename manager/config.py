"""`cluster-manager.yml`: the schema of a manager's configuration, and what its core needs of it."""

import re
import socket
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, field_serializer, model_validator

from manager.core import ManagerConfig
from manager.doors import is_near
from node.logs import LogSettings
from node.protocol import Limit, Limits
from node.settings import COMMAS, Duration, HostPort, Port, Settings, default_port, parse_duration

GOSSIP_PORT = 7946
CONFIG_FILE = Path("/etc/krakend/cluster-manager.yml")
_HEARTBEATS = re.compile(r"([1-9][0-9]{0,2}) heartbeats?")


def _as_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", text):
        raise ValueError(f"must be 1 to 128 letters, digits, `.`, `_` or `-`, not `{text}`")
    return text


def _as_ip(text: str) -> str:
    try:
        return str(ip_address(text)) if text else text
    except ValueError:
        raise ValueError(f"must be an IP address of this host, not `{text}`") from None


def _as_heartbeats(text: str) -> str:
    if not _HEARTBEATS.fullmatch(text):
        try:
            parse_duration(text)
        except ValueError:
            raise ValueError(f"must be `3 heartbeats` or a duration such as 15s, not `{text}`") from None
    return text


class LimitSettings(Settings):
    """One cluster-wide limit."""

    max_rate: Annotated[float, Field(gt=0, lt=1e12, description="requests that pass in each `every`")]
    every: Annotated[Duration, Field(gt=0, description="the window")] = 1.0


class GroupSettings(Settings):
    """The group's identity, which stands in every ticket."""

    name: Annotated[
        str,
        AfterValidator(_as_name),
        Field(max_length=64, description="managers of other groups are strangers"),
    ] = "krakend"
    secret: Annotated[
        SecretStr,
        Field(description="ids and tickets are made under it; without one they follow from the name"),
    ] = SecretStr("")

    @field_serializer("secret")
    def _hidden(self, _: SecretStr) -> None:
        # --print-config is pasted into tickets and chats.
        return None


class SubscriptionSettings(Settings):
    """How many nodes may run."""

    max_nodes: Annotated[int | None, Field(ge=0, le=1_000_000, description="unset: no cap")] = None
    free_limits: dict[str, LimitSettings] = Field(default_factory=dict)


class NodesSettings(Settings):
    """When a node counts as what."""

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

    @property
    def unreachable_seconds(self) -> float:
        """`unreachable_after` in seconds."""
        match = _HEARTBEATS.fullmatch(self.unreachable_after)
        return int(match[1]) * self.heartbeat if match else parse_duration(self.unreachable_after)


class StatsSettings(Settings):
    """How much of what nodes report is kept."""

    window: Annotated[Duration, Field(ge=1, le=7 * 86400)] = 3600.0
    step: Annotated[Duration, Field(ge=1, le=86400)] = 10.0

    @model_validator(mode="after")
    def _is_whole(self) -> "StatsSettings":
        if self.window < self.step or self.window / self.step > 10_000:
            raise ValueError("needs a `window` of 1 to 10000 steps")
        return self


class ManagerFile(Settings):
    """The whole file."""

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
        AfterValidator(_as_ip),
        Field(
            description="the IP that others reach this manager by; default: bind, or the first private IPv4"
        ),
    ] = ""
    node_port: Annotated[Port, Field(description="where nodes connect: what they put into `seed`")] = 7000
    gossip_port: Annotated[Port, Field(description="UDP and TCP, among managers")] = GOSSIP_PORT
    http_port: Annotated[Port, Field(description="page, API and metrics")] = 9897
    peers: Annotated[
        tuple[Annotated[HostPort, default_port(GOSSIP_PORT)], ...],
        COMMAS,
        Field(description="gossip addresses HOST:PORT of other managers; this one among them is ignored"),
    ] = ()
    group: GroupSettings = GroupSettings()
    subscription: SubscriptionSettings = SubscriptionSettings()
    limits: dict[str, LimitSettings] = Field(default_factory=dict)
    nodes: NodesSettings = NodesSettings()
    stats: StatsSettings = StatsSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _ports_differ(self) -> "ManagerFile":
        if len({self.node_port, self.gossip_port, self.http_port}) < 3:
            raise ValueError("needs three different ports: `node_port`, `gossip_port` and `http_port`")
        return self


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
        max_nodes=file.subscription.max_nodes,
        free_limits=_limits(file.subscription.free_limits),
        limits=_limits(file.limits),
        stats_window=file.stats.window,
        stats_step=file.stats.step,
    )


def _limits(settings: dict[str, LimitSettings]) -> Limits:
    return {name: Limit(limit.max_rate, limit.every) for name, limit in settings.items()}


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
