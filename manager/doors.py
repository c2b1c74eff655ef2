"""Who may come in while nothing is locked: near addresses, and for changes this very host."""

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

_NEAR = tuple(
    ip_network(net)
    for net in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    )
)


@lru_cache(maxsize=4096)
def is_near(ip: str) -> bool:
    """Whether `ip` is loopback, private (RFC 1918, RFC 4193), shared (RFC 6598) or link-local."""
    try:
        address = ip_address(ip.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in net for net in _NEAR)


def may_change(remote_ip: str, headers: Mapping[str, str]) -> str | None:
    """Why a change over HTTP is not taken, with the remedy; None where it is.

    Taken only from this host itself, by somebody who named it by an address or as localhost, so that neither
    a proxy, nor a page of another site in a browser here, nor a name that was bound anew can bring it.
    """
    remedy = "use `kcm` on the manager's own host"
    if not _is_loopback(remote_ip):
        return f"changes are taken from this host only, not from {remote_ip}: {remedy}"
    for header in ("Forwarded", "X-Forwarded-For"):
        if header in headers:
            return f"changes are not taken through a proxy (it sent {header}): {remedy}"
    host = _host(f"//{headers.get('Host', '')}")
    if not _names_itself(host):
        return f"the Host header {host!r} is no address and not localhost: {remedy}"
    origin = headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != headers.get("Host"):
        return f"changes are not taken from pages of another site ({origin[:100]}): {remedy}"
    return None


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _names_itself(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(ip: str) -> bool:
    try:
        address = ip_address(ip)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback
