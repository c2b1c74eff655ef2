"""Who may come in while nothing is locked: near addresses, and for changes this very host."""

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
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
_BY_PROXIES = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via")


@lru_cache(maxsize=4096)
def is_near(ip: str) -> bool:
    """Whether `ip` is loopback, private (RFC 1918, RFC 4193), shared (RFC 6598) or link-local."""
    address = _address(ip)
    return address is not None and any(address in net for net in _NEAR)


def may_change(remote_ip: str, headers: Mapping[str, str]) -> str | None:
    """Why a change over HTTP is not taken, with the remedy; None where it is.

    Taken only from this host itself, by somebody who named it by an address or as localhost, so that neither
    a proxy, nor a page of another site in a browser here, nor a name that was bound anew can bring it.
    `headers` are found whatever the case of their names.
    """
    remedy = "use `kcm` on the manager's own host"
    remote = _address(remote_ip)
    if remote is None or not remote.is_loopback:
        return f"changes are taken from this host only, not from {remote_ip}: {remedy}"
    for header in _BY_PROXIES:
        if header in headers:
            return f"changes are not taken through a proxy (it sent {header}): {remedy}"
    host = headers.get("Host", "")
    if not _is_this_host(host):
        return f"the Host header {host[:100]!r} is no address and not localhost: {remedy}"
    origin = headers.get("Origin")
    if origin is not None and origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
        return f"changes are not taken from pages of another site ({origin[:100]}): {remedy}"
    return None


def _is_this_host(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or _address(name) is not None


def _address(ip: str) -> IPv4Address | IPv6Address | None:
    """`ip` without its zone, and as IPv4 where it is that in the clothes of IPv6."""
    try:
        address = ip_address(ip.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
