"""Where others are found, as an operator types it: an address, or a name that stands for many of them."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, InstanceOf, PlainSerializer

from node.settings.kinds import HostPort

_SRV = re.compile(r"_[A-Za-z0-9-]+\._[A-Za-z0-9-]+\.[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True, order=True)
class DnsName:
    """`dns://HOST:PORT`: all addresses of that name."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"dns://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, order=True)
class SrvName:
    """`dns+srv://_SERVICE._PROTO.NAME`: all hosts and ports that the SRV records of that name give."""

    host: str

    def __str__(self) -> str:
        return f"dns+srv://{self.host}"


def parse_locator(text: str, default_port: int | None = None) -> HostPort | DnsName | SrvName:
    """What `str()` of the three gives, the port may be left out; raises `ValueError` saying what to write."""
    scheme, _, rest = text.strip().partition("://")
    if scheme == "dns":
        name = HostPort.parse(rest, default_port)
        if _is_address(name.host):
            raise ValueError(f"must have a name after `dns://`: write `{name}`")
        return DnsName(name.host, name.port)
    if scheme == "dns+srv":
        if not _SRV.fullmatch(rest):
            raise ValueError(
                f"must be `dns+srv://_service._tcp.name`, without a port, which the records give, not `"
                f"{text}`"
            )
        return SrvName(rest)
    return HostPort.parse(text, default_port)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def located(default_port: int) -> BeforeValidator:
    """`Annotated[Locator, located(7000)]`: the port may be left out."""

    def read(value: object) -> object:
        if isinstance(value, HostPort | DnsName | SrvName):
            return value
        if isinstance(value, str):
            return parse_locator(value, default_port)
        raise ValueError(f"must be `host:{default_port}`")

    return BeforeValidator(read)


Locator: TypeAlias = Annotated[
    InstanceOf[HostPort] | InstanceOf[DnsName] | InstanceOf[SrvName], PlainSerializer(str, return_type=str)
]
