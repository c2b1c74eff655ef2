"""`service.yml`: the schema of a node's configuration."""

import re
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    field_serializer,
    model_validator,
)

from node.jws import read_public_key
from node.logs import LogSettings
from node.protocol import LABELS_MAX
from node.settings import (
    COMMAND,
    COMMAS,
    EMPTY_MEANS_OFF,
    Duration,
    HostPort,
    Locator,
    Settings,
    located,
)

SEED_PORT = 7000
API_PORT = 9898
NO_SEED = "no `seed`: put `seed: host:7000`, or start the gateway itself"


def _as_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", text):
        raise ValueError(f"must be 1 to 64 letters, digits, `.`, `_` or `-`, not `{text}`")
    return text


def _as_url(text: str) -> str:
    if text and not re.match(r"https?://[^/\s]", text):
        raise ValueError(f"must be `http://host:port/path`, not `{text}`")
    return text


def _as_api(text: str) -> str:
    if text:
        HostPort.parse(text)
    return text


def _read_labels(value: object) -> object:
    if not isinstance(value, str):
        return value
    pairs = [part.strip().partition("=") for part in value.split(",") if part.strip()]
    if not all(sign for _, sign, _ in pairs):
        raise ValueError(f"must be a map, or `zone=a,rack=2`, not `{value}`")
    return {name.strip(): text.strip() for name, _, text in pairs}


def _as_labels(labels: dict[str, str]) -> dict[str, str]:
    if len(labels) > LABELS_MAX:
        raise ValueError(f"must be at most {LABELS_MAX} labels, not {len(labels)}")
    for text in (*labels, *labels.values()):
        if not (text.isprintable() and len(text) <= 64):
            raise ValueError(f"must be of at most 64 printable characters each, not {text[:64]!r}")
    return labels


class GatewaySettings(Settings):
    """The gateway beside which this agent runs."""

    kind: Annotated[
        Literal["none", "command", "krakend", "nginx", "haproxy"],
        Field(description="none, command (any that stays in the foreground), krakend, nginx or haproxy"),
    ] = "none"
    supervise: Annotated[
        Literal["child", "systemd", "none"],
        Field(description="child: started by this agent; systemd: `unit`; none: left alone"),
    ] = "child"
    unit: Annotated[str, Field(description="the gateway's unit, with `supervise: systemd`")] = ""
    run: Annotated[
        tuple[str, ...], COMMAND, Field(description="the program and its arguments; no shell is involved")
    ] = ()
    program: Annotated[str, Field(description="in place of krakend, nginx or haproxy")] = ""
    config: Annotated[str, Field(description="the gateway's own configuration file")] = ""
    limits: Annotated[
        str, Field(description="what the agent writes: nginx's include, HAProxy's map, KrakenD's whole file")
    ] = ""
    socket: Annotated[str, Field(description="HAProxy's runtime socket, level admin")] = ""
    pid_file: Annotated[str, Field(description="nginx's, with `supervise: none`")] = ""
    health: Annotated[
        str, AfterValidator(_as_url), Field(description="URL that answers 2xx while the gateway is healthy")
    ] = ""
    stats: Annotated[
        str,
        AfterValidator(_as_url),
        Field(description="URL of nginx's stub_status, KrakenD's /__stats, or metrics of Prometheus' format"),
    ] = ""
    access_log: Annotated[
        str,
        Field(description="nginx's log file, or the socket for HAProxy's, as docs/GATEWAYS.md formats it"),
    ] = ""
    stop_timeout: Annotated[
        Duration, Field(description="wait after the stop signal for connections to drain, then SIGKILL")
    ] = 30.0
    drain: Annotated[
        Duration,
        Field(description="how long /ready answers 503 before a restart, or before a new configuration"),
    ] = 0.0
    min_interval: Annotated[
        Duration, Field(description="KrakenD is restarted for new limits no more often than this")
    ] = 10.0

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.kind == "command" and not self.run:
            raise ValueError("needs `run: [program, argument]` with `kind: command`")
        if self.kind == "none" and (self.run or self.health):
            raise ValueError("needs `kind: command` with `run` and `health`")
        if self.kind in ("none", "command") and self.supervise != "child":
            raise ValueError(f"needs no `supervise` with `kind: {self.kind}`")
        if self.kind in _NEEDS:
            for key in _NEEDS[self.kind]:
                if not getattr(self, key):
                    raise ValueError(f"needs `{key}` with `kind: {self.kind}`")
            if self.run:
                raise ValueError(f"needs no `run` with `kind: {self.kind}`: name another `program`")
        if (self.supervise == "systemd") != bool(self.unit):
            raise ValueError("needs `supervise: systemd` and `unit: NAME.service` together")
        if self.kind == "krakend" and self.supervise == "none":
            raise ValueError("needs `supervise: child` or `systemd`: KrakenD takes limits only by a restart")
        if self.access_log and self.kind not in _TELL_BY_LOG:
            raise ValueError(f"needs no `access_log` with `kind: {self.kind}`")
        if self.kind == "nginx" and (self.supervise == "none") != bool(self.pid_file):
            raise ValueError("needs `supervise: none` and nginx's `pid_file` together")
        return self


_TELL_BY_LOG = ("nginx", "haproxy")
_NEEDS = {
    "krakend": ("config",),
    "nginx": ("config", "limits"),
    "haproxy": ("config", "limits", "socket"),
}


def _as_public_key(text: str) -> str:
    if text:
        try:
            read_public_key(text)
        except ValueError:
            raise ValueError("must be the key that `kcm bundle create` printed with the bundle") from None
    return text


class BundleSettings(Settings):
    """What a new node starts from while no manager answers."""

    file: Annotated[str, Field(description="what `kcm bundle create` wrote")] = ""
    key: Annotated[
        str, AfterValidator(_as_public_key), Field(description="the key that it printed, which signed it")
    ] = ""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if bool(self.file) != bool(self.key):
            raise ValueError("needs both `file` and `key`: `kcm bundle create` makes them together")
        return self


class TlsSettings(Settings):
    """How this node knows managers that have TLS, and shows itself."""

    ca: Annotated[
        str, Field(description="a file with the authority of the managers' certificates; then TLS is used")
    ] = ""
    cert: Annotated[
        str, Field(description="a file with this node's certificate, where managers want one")
    ] = ""
    key: Annotated[str, Field(description="a file with its private key")] = ""
    server_name: Annotated[
        str,
        Field(description="a name that all managers' certificates have; default: what is connected to"),
    ] = ""


class NodeSettings(Settings):
    """The whole file."""

    seed: Annotated[
        tuple[Annotated[Locator, located(SEED_PORT)], ...],
        COMMAS,
        Field(
            description="managers' node ports: HOST, dns://HOST or dns+srv://_SERVICE._PROTO.NAME; port 7000"
        ),
    ] = ()
    name: Annotated[
        str,
        AfterValidator(_as_name),
        Field(description="of this node among those of one machine; its state is kept under it"),
    ] = "default"
    state_dir: Annotated[
        str,
        Field(description="in place of /var/lib/krakend-cluster, else $XDG_STATE_HOME/krakend-cluster"),
    ] = ""
    weight: Annotated[
        float, Field(gt=0, le=1000, description="its part of limits that are divided by weight")
    ] = 1.0
    labels: Annotated[
        dict[str, str],
        BeforeValidator(_read_labels),
        AfterValidator(_as_labels),
        Field(description="shown to people; a map, or `zone=a,rack=2`"),
    ] = Field(default_factory=dict)
    class_: Annotated[
        Literal["permanent", "ephemeral"],
        Field(alias="class", description="ephemeral: forgotten soon after it is gone"),
    ] = "permanent"
    token: Annotated[
        SecretStr, Field(description="lets this node in where managers want one; better KRAKEND_NODE_TOKEN")
    ] = SecretStr("")
    tls: TlsSettings = TlsSettings()
    bundle: BundleSettings = BundleSettings()
    neighbours: Annotated[
        tuple[Annotated[HostPort, located(API_PORT)], ...],
        COMMAS,
        Field(description="agents' own APIs, which a new node without a bundle asks for one; port 9898"),
    ] = ()
    limits_file: Annotated[str, Field(description="where to write this node's share of the limits")] = ""
    gateway: GatewaySettings = GatewaySettings()
    log: LogSettings = LogSettings()
    api: Annotated[
        str,
        AfterValidator(_as_api),
        EMPTY_MEANS_OFF,
        Field(description="address of the agent's own API; empty: off"),
    ] = "127.0.0.1:9898"

    @field_serializer("token")
    def _hidden(self, _: SecretStr) -> None:
        # --print-config is pasted into tickets and chats.
        return None
