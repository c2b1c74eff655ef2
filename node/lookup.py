"""Names, looked up afresh each time: all the addresses that a locator stands for at this moment."""

import asyncio
import random
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from node.settings import HostPort, parse_locator
from node.settings.locators import DnsName, SrvName

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver
    from dns.rdtypes.IN.SRV import SRV

SRV_SECONDS_MAX = 5.0
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


async def look_up(
    locator: str,
    family: socket.AddressFamily = socket.AF_UNSPEC,
    resolver: "Resolver | None" = None,
) -> list[HostPort]:
    """The addresses of `family` behind `locator`, in the order to try them in; none where it is not known.

    `resolver` answers for SRV records, by default the one in `/etc/resolv.conf` as that is now.
    """
    match parse_locator(locator):
        case SrvName(name):
            targets = await _targets(name, resolver)
            found = await asyncio.gather(*(_addresses(target, family) for target in targets))
            return list(dict.fromkeys(address for some in found for address in some))
        case DnsName(host, port):
            addresses = await _addresses(HostPort(host, port), family)
            random.shuffle(addresses)
            return addresses
        case HostPort() as address:
            return await _addresses(address, family)


async def _addresses(place: HostPort, family: socket.AddressFamily) -> list[HostPort]:
    loop = asyncio.get_running_loop()
    if (address := _as_ip(place.host)) is not None:
        # Needs no thread, as names do: a manager asks for its peers as long as it lives.
        fits = family in (socket.AF_UNSPEC, _FAMILIES[address.version])
        return [HostPort(str(address), place.port)] if fits else []
    try:
        infos = await loop.getaddrinfo(place.host, place.port, family=family, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(HostPort(str(info[4][0]), int(info[4][1])) for info in infos))


def _as_ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return None if "%" in host else ip_address(host)
    except ValueError:
        return None


async def _targets(name: str, resolver: "Resolver | None") -> list[HostPort]:
    # Here, and not in every process: only these names need it, and it takes 2 MB.
    from dns.asyncresolver import Resolver
    from dns.exception import DNSException
    from dns.rdtypes.IN.SRV import SRV

    try:
        if resolver is None:
            resolver = Resolver()
        answer = await resolver.resolve(name, "SRV", search=True, lifetime=SRV_SECONDS_MAX)
    except (DNSException, OSError):
        return []
    records = [record for record in answer if isinstance(record, SRV)]
    return [HostPort(record.target.to_text(omit_final_dot=True), record.port) for record in in_turn(records)]


def in_turn(records: "Iterable[SRV]") -> "list[SRV]":
    """By priority, and within one by chance, the heavier more likely first (RFC 2782)."""
    chance = {record: random.random() ** (1 / max(record.weight, 0.01)) for record in records}
    return sorted(chance, key=lambda record: (record.priority, -chance[record]))
