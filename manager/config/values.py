"""Checks of single values of `cluster-manager.yml`. Each raises `ValueError` with the remedy."""

import re
from ipaddress import ip_address

from pydantic import SecretStr

from gossip.wire import LABEL_BYTES_MAX, read_key
from manager.keys import A_NEW_KEY
from manager.subscription.documents import parse_time, read_public_key
from node.settings import parse_duration

FOUNDERS_MAX = 16
_HEARTBEATS = re.compile(r"([1-9][0-9]{0,2}) heartbeats?")


def as_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", text):
        raise ValueError(f"must be 1 to 128 letters, digits, `.`, `_` or `-`, not `{text}`")
    return text


def as_group(text: str) -> str:
    if len(as_name(text)) > 64:
        raise ValueError(f"must be at most 64 characters, not {len(text)}")
    return text


def as_ip(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError(f"must be an IP address of this host, not `{text}`") from None


def as_reachable_ip(text: str) -> str:
    if not text:
        return text
    ip = ip_address(as_ip(text))
    if ip.is_unspecified or ip.is_multicast:
        raise ValueError(f"must be an address that other hosts can reach, not `{text}`")
    return str(ip)


def as_heartbeats(text: str) -> str:
    if not _HEARTBEATS.fullmatch(text):
        try:
            parse_duration(text)
        except ValueError:
            raise ValueError(f"must be `3 heartbeats` or a duration such as 15s, not `{text}`") from None
    return text


def as_founders(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("names a founder twice")
    if len(names) > FOUNDERS_MAX:
        raise ValueError(f"must be at most {FOUNDERS_MAX} managers, not {len(names)}")
    return names


def silence(text: str, heartbeat: float) -> float:
    match = _HEARTBEATS.fullmatch(text)
    return int(match[1]) * heartbeat if match else parse_duration(text)


def as_key(secret: SecretStr) -> SecretStr:
    if text := secret.get_secret_value():
        try:
            read_key(text)
        except ValueError as error:
            raise ValueError(
                f"{error}: it must be random bytes in base64, `{A_NEW_KEY}` makes some"
            ) from None
    return secret


def as_label(text: str) -> str:
    if not text.isprintable() or len(text.encode()) > LABEL_BYTES_MAX:
        raise ValueError(f"must be at most {LABEL_BYTES_MAX} bytes of printable text")
    return text


def as_gossip(value: object) -> object:
    # What stands here instead of a map is likely the key, and not to be shown.
    if isinstance(value, str):
        raise ValueError("must be a map: write `gossip: {key: KEY}`")
    return value


def is_key(text: str) -> bool:
    try:
        return bool(read_key(text))
    except ValueError:
        return False


def as_issuer(text: str) -> str:
    read_public_key(text)
    return text


def as_url(url: str) -> str:
    if url and not re.fullmatch(r"https?://[^\s@]+", url):
        raise ValueError(f"must be a URL such as https://subscriptions.example.com/ours, not `{url}`")
    return url


def as_digest(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError("must be the SHA-256 of a token, 64 hex digits: `kcm token` makes both")
    return text


def as_time(text: str) -> str:
    try:
        parse_time(text)
    except ValueError:
        raise ValueError(f"must be a day such as 2027-11-24, also with a time of day, not `{text}`") from None
    return text


def as_label_pair(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}=[^=,]{0,64}", text) or not text.isprintable():
        raise ValueError(f"must be labels such as `zone=a`, not `{text}`")
    return text
