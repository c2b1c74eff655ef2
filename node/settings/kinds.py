"""What a value can be, beyond pydantic's own kinds: durations, addresses, lists typed with commas.

Values reach a model as the text that was typed (or lists and maps of it); code may pass the real
thing. A validator's `ValueError` is shown to the operator after the key's name: "must be ...".
"""

import ipaddress
import re
import shlex
from dataclasses import dataclass
from typing import Annotated, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from node.durations import format_duration, parse_duration


class Settings(BaseModel):
    """Base of every schema: frozen, and no key but those declared."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _read_duration(value: object) -> float:
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12:
        return float(value)
    raise ValueError("must be a duration such as 500ms, 5s, 10m, 24h or 7d")


Duration: TypeAlias = Annotated[
    float, BeforeValidator(_read_duration), PlainSerializer(format_duration, return_type=str)
]
"""Seconds; typed and dumped with its unit."""

Port: TypeAlias = Annotated[int, Field(ge=1, le=65535)]

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?")


@dataclass(frozen=True, slots=True, order=True)
class HostPort:
    """An address to connect to or listen on; `str()` is what an operator would type."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str, default_port: int | None = None) -> Self:
        """`host`, `host:port` or `[IPv6]:port`; raises ValueError, also for want of any port."""
        text = text.strip()
        scheme, slashes, rest = text.partition("://")
        if slashes:
            raise ValueError(f"must be an address without `{scheme}://`: write `{rest.partition('/')[0]}`")
        if text.count(":") > 1 and not text.startswith("["):
            bare = text.removesuffix(f":{default_port}") or text
            example = f"[{bare}]:{default_port or 'PORT'}"
            raise ValueError(f'must have its IPv6 address in brackets: write `"{example}"`, not `{text}`')
        match = re.fullmatch(r"(?:\[([^][]*)\]|([^:]*))(?::([0-9]+))?", text)
        example = f"host:{default_port or 'port'}"
        if match is None or not (match[1] or match[2]):
            raise ValueError(f"must be `{example}`, not `{text}`")
        if match[1]:
            try:
                ipaddress.IPv6Address(match[1])
            except ValueError:
                raise ValueError(f"must be `[IPv6 address]:port`, and `{match[1]}` is none") from None
        elif not _HOST.fullmatch(match[2]):
            raise ValueError(f"must be `{example}`, and `{match[2]}` is neither a host name nor an address")
        if match[3] is None and default_port is None:
            raise ValueError(f"must name its port: `{text}:PORT`")
        port = int(match[3]) if match[3] is not None and len(match[3]) < 10 else default_port or 0
        if match[3] is not None and not 1 <= int(match[3][:9]) <= 65535:
            raise ValueError(f"must have a port from 1 to 65535, not {match[3]}")
        return cls(match[1] or match[2], port)


def _split_commas(value: object) -> object:
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    if isinstance(value, dict):
        raise ValueError("must be a list, or text with commas")
    return value


COMMAS = BeforeValidator(_split_commas)
"""`Annotated[tuple[T, ...], COMMAS]`: a YAML list, or one text with commas."""

Texts: TypeAlias = Annotated[tuple[str, ...], COMMAS]


def _split_words(value: object) -> object:
    if isinstance(value, str):
        try:
            return tuple(shlex.split(value))
        except ValueError as error:
            raise ValueError(f"must be a command: {str(error).lower()} in `{value}`") from None
    if isinstance(value, dict):
        raise ValueError("must be a list of words, `[program, argument]`")
    return value


COMMAND = BeforeValidator(_split_words)
"""`Annotated[tuple[str, ...], COMMAND]`: a YAML list, or one text split as a shell would; no shell runs."""

EMPTY_MEANS_OFF = "empty means off"
"""`Annotated[str, EMPTY_MEANS_OFF]`: an empty variable sets this key; elsewhere it counts as not set."""
