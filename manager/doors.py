"""Who may come in, and what they may do: by address as long as there are no tokens, else by token."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from manager.tokens import ApiToken, Scope, find_token

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
_HERE = "use `kcm` on the manager's own host"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, in words for the audit log, and what they may do."""

    who: str
    scope: Scope
    by_token: bool = True


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not, with the remedy; `reason` is what it is counted under."""

    status: int
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class HttpDoor:
    """Decides about each request. `hosts` are this manager's names, in lower case."""

    tokens: tuple[ApiToken, ...] = ()
    hosts: frozenset[str] = frozenset()

    def who(self, remote: str, headers: Mapping[str, str], cookie: str = "") -> Caller | Refusal:
        """Who asks from IP address `remote`, by a token in `Authorization`, or in `cookie`, or by none.

        `headers` are found whatever the case of their names.
        """
        host = headers.get("Host", "")
        if not self._is_ours(host):
            # A name that another site binds to our address would make that site's page look like ours.
            return Refusal(
                403,
                "foreign_host",
                f"the Host header {host[:100]!r} is no address and no name of this manager: "
                "use its address, or list the name under http.hosts",
            )
        shown, by_cookie = _bearer(headers), False
        if not shown and cookie:
            shown, by_cookie = cookie, True
        if shown:
            token = find_token(shown, self.tokens)
            if token is None:
                return Refusal(401, "bad_token", "this token is not known here: see http.tokens")
            if by_cookie and _foreign_origin(headers):
                return Refusal(403, "foreign_origin", "a page of another site cannot use this page's token")
            return Caller(f"{token.name} from {remote}", token.scope)
        if not is_near(remote):
            status = 401 if self.tokens else 403
            return Refusal(
                status, "not_near", "without a token only loopback and private addresses are served"
            )
        if may_change(remote, headers) is None:
            # Any user of this host may come so: where people have tokens, that is no leave to change things.
            scope = Scope.VIEWER if self.tokens else Scope.ADMIN
            return Caller(f"somebody on this host ({remote})", scope, by_token=False)
        if self.tokens:
            return Refusal(
                401, "no_token", "a token is needed: Authorization: Bearer TOKEN, or log in on the page"
            )
        return Caller(remote, Scope.VIEWER, by_token=False)

    def _is_ours(self, host: str) -> bool:
        name = _name_in(host)
        return _is_this_host(host) or name in self.hosts


@lru_cache(maxsize=4096)
def is_near(ip: str) -> bool:
    """Whether `ip` is loopback, private (RFC 1918, RFC 4193), shared (RFC 6598) or link-local."""
    address = _address(ip)
    return address is not None and any(address in net for net in _NEAR)


def may_change(remote_ip: str, headers: Mapping[str, str]) -> str | None:
    """Why a change without a token is not taken, with the remedy; None where it is.

    Taken only from this host itself, by somebody who named it by an address or as localhost, so that neither
    a proxy, nor a page of another site in a browser here, nor a name that was bound anew can bring it.
    """
    remote = _address(remote_ip)
    if remote is None or not remote.is_loopback:
        return f"changes are taken from this host only, not from {remote_ip}: {_HERE}"
    return _unsafe(headers)


def is_at(remote_ip: str, headers: Mapping[str, str], addresses: Collection[str]) -> bool:
    """Whether one of `addresses` asks for itself: no proxy there, and no page of another site."""
    remote = _address(remote_ip)
    known = {_address(address) for address in addresses} - {None}
    return remote is not None and remote in known and _unsafe(headers) is None


def _unsafe(headers: Mapping[str, str]) -> str | None:
    """Why whoever sent these may not be who asks, with the remedy."""
    for header in _BY_PROXIES:
        if header in headers:
            return f"changes are not taken through a proxy (it sent {header}): {_HERE}"
    host = headers.get("Host", "")
    if not _is_this_host(host):
        return f"the Host header {host[:100]!r} is no address and not localhost: {_HERE}"
    if _foreign_origin(headers):
        return (
            f"changes are not taken from pages of another site ({headers.get('Origin', '')[:100]}): {_HERE}"
        )
    return None


def _bearer(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _foreign_origin(headers: Mapping[str, str]) -> bool:
    host, origin = headers.get("Host", ""), headers.get("Origin")
    return origin is not None and origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}")


def _is_this_host(host: str) -> bool:
    name = _name_in(host)
    return name == "localhost" or _address(name) is not None


def _name_in(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _address(ip: str) -> IPv4Address | IPv6Address | None:
    """`ip` without its zone, and as IPv4 where it is that in the clothes of IPv6."""
    try:
        address = ip_address(ip.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
