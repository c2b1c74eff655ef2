"""Locators: what an operator may write, and which addresses it stands for, by a name server on loopback."""

from collections import Counter
from pathlib import Path
from socket import AF_INET, AF_INET6

import dns.asyncresolver
import pytest
from dns.rdtypes.IN.SRV import SRV

from node.lookup import in_turn, look_up
from node.settings import HostPort, parse_locator
from node.settings.locators import DnsName, SrvName
from tests.nameserver import serving


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("m1", HostPort("m1", 7946)),
        ("10.0.0.1:1", HostPort("10.0.0.1", 1)),
        ("[fd00::1]", HostPort("fd00::1", 7946)),
        ("dns://managers.default.svc", DnsName("managers.default.svc", 7946)),
        ("dns://managers:1", DnsName("managers", 1)),
        ("dns+srv://_gossip._tcp.managers", SrvName("_gossip._tcp.managers")),
    ],
)
def test_what_is_typed_is_read_and_printed_so_that_it_reads_the_same(text: str, meant: object) -> None:
    assert parse_locator(text, 7946) == meant
    assert parse_locator(str(meant)) == meant


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dns://10.0.0.1", "must have a name after `dns://`: write `10.0.0.1:7946`"),
        ("dns://", "must be `host:7946`"),
        ("dns://m1:0", "must have a port from 1 to 65535"),
        ("dns+srv://managers", "must be `dns\\+srv://_service._tcp.name`"),
        ("dns+srv://_gossip._tcp.managers:7946", "without a port, which the records give"),
        ("srv://managers", "without `srv://`"),
    ],
)
def test_what_is_none_is_refused_with_what_to_write(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_locator(text, 7946)


async def test_an_address_stands_for_itself_in_its_own_family() -> None:
    assert await look_up("127.0.0.1:7946") == [HostPort("127.0.0.1", 7946)]
    assert await look_up("127.0.0.1:7946", AF_INET6) == []


@pytest.mark.parametrize("name", ["no-such-host.invalid:1", "dns://no-such-host.invalid:1", f"{'x' * 64}:1"])
async def test_a_name_that_nobody_knows_stands_for_nothing(name: str) -> None:
    assert await look_up(name) == []


async def test_srv_records_give_hosts_and_ports_by_priority(tmp_path: Path) -> None:
    zone = tmp_path / "zone"
    zone.write_text(
        "_gossip._tcp.managers.test. SRV 20 0 7003 127.0.0.3.\n"
        "_gossip._tcp.managers.test. SRV 10 0 7002 127.0.0.2.\n"
        "managers.test. A 127.0.0.9\n"
    )
    resolver = dns.asyncresolver.Resolver(configure=False)
    async with serving(zone, "127.0.0.1", 0) as resolver.port:
        resolver.nameservers = ["127.0.0.1"]
        for name, found in {
            "dns+srv://_gossip._tcp.managers.test": [("127.0.0.2", 7002), ("127.0.0.3", 7003)],
            "dns+srv://_other._tcp.managers.test": [],
        }.items():
            assert [(at.host, at.port) for at in await look_up(name, AF_INET, resolver)] == found


async def test_a_name_server_that_is_not_there_gives_nothing() -> None:
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.port, resolver.timeout = ["127.0.0.1"], 1, 0.1
    resolver.lifetime = 0.2
    assert await look_up("dns+srv://_gossip._tcp.managers.test", AF_INET, resolver) == []


def test_within_a_priority_the_heavier_comes_first_more_often() -> None:
    light, heavy, last = (
        SRV(1, 33, priority, weight, 1, name)  # type: ignore[no-untyped-call]
        for priority, weight, name in ((1, 1, "light."), (1, 9, "heavy."), (2, 99, "last."))
    )
    turns = [in_turn([light, heavy, last]) for _ in range(1000)]
    assert all(turn[2] is last for turn in turns)
    first = Counter(turn[0] is heavy for turn in turns)
    assert first[True] > 3 * first[False] > 0
