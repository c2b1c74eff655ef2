"""`service.yml`: the schema of a node's configuration."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from node.logs import LogSettings
from node.settings import (
    COMMAND,
    COMMAS,
    EMPTY_MEANS_OFF,
    Duration,
    HostPort,
    Settings,
    default_port,
)

SEED_PORT = 7000
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


class GatewaySettings(Settings):
    """The gateway beside which this agent runs."""

    kind: Annotated[
        Literal["none", "command"],
        Field(description="command: start a gateway that lives and dies with this agent"),
    ] = "none"
    run: Annotated[
        tuple[str, ...], COMMAND, Field(description="the program and its arguments; no shell is involved")
    ] = ()
    health: Annotated[
        str, AfterValidator(_as_url), Field(description="URL that answers 2xx while the gateway is well")
    ] = ""
    stop_timeout: Annotated[
        Duration, Field(description="wait after SIGTERM for connections to drain, then SIGKILL")
    ] = 30.0

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.kind == "command" and not self.run:
            raise ValueError("needs `run: [program, argument]` with `kind: command`")
        if self.kind == "none" and (self.run or self.health):
            raise ValueError("needs `kind: command` with `run` and `health`")
        return self


class NodeSettings(Settings):
    """The whole file."""

    seed: Annotated[
        tuple[Annotated[HostPort, default_port(SEED_PORT)], ...],
        COMMAS,
        Field(description="managers' node ports, default port 7000"),
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
    limits_file: Annotated[str, Field(description="where to write this node's share of the limits")] = ""
    gateway: GatewaySettings = GatewaySettings()
    log: LogSettings = LogSettings()
    api: Annotated[
        str,
        AfterValidator(_as_api),
        EMPTY_MEANS_OFF,
        Field(description="address of /health, /ready and /metrics; empty: off"),
    ] = "127.0.0.1:9898"
