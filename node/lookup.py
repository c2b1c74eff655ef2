"""Names, looked up afresh each time: all the addresses that a locator stands for at this moment."""

import asyncio
import random
import socket
from collections.abc import Iterable

import dns.asyncresolver
import dns.exception
from dns.rdtypes.IN.SRV import SRV

from node.settings import HostPort, parse_locator
from node.settings.locators import DnsName, SrvName

SRV_SECONDS_MAX = 5.0


async def look_up(
    locator: str,
    family: socket.AddressFamily = socket.AF_UNSPEC,
    resolver: dns.asyncresolver.Resolver | None = None,
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
    try:
        infos = await loop.getaddrinfo(place.host, place.port, family=family, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(HostPort(str(info[4][0]), int(info[4][1])) for info in infos))


async def _targets(name: str, resolver: dns.asyncresolver.Resolver | None) -> list[HostPort]:
    try:
        if resolver is None:
            resolver = dns.asyncresolver.Resolver()
        answer = await resolver.resolve(name, "SRV", search=True, lifetime=SRV_SECONDS_MAX)
    except (dns.exception.DNSException, OSError):
        return []
    records = [record for record in answer if isinstance(record, SRV)]
    return [HostPort(record.target.to_text(omit_final_dot=True), record.port) for record in in_turn(records)]


def in_turn(records: Iterable[SRV]) -> list[SRV]:
    """By priority, and within one by chance, the heavier more likely first (RFC 2782)."""
    chance = {record: random.random() ** (1 / max(record.weight, 0.01)) for record in records}
    return sorted(chance, key=lambda record: (record.priority, -chance[record]))
