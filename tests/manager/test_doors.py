"""Who may come in, and who may change something."""

import pytest
from multidict import CIMultiDict

from manager.doors import Caller, HttpDoor, Refusal, is_near, may_change
from manager.tokens import ApiToken, Scope, digest


@pytest.mark.parametrize(
    "ip",
    [
        "127.0.0.1",
        "127.255.255.254",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.100",
        "100.64.0.1",
        "100.127.255.255",
        "169.254.1.1",
        "::1",
        "fc00::1",
        "fdff::1",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:10.0.0.1",
    ],
)
def test_loopback_private_shared_and_link_local_addresses_are_near(ip: str) -> None:
    assert is_near(ip)


@pytest.mark.parametrize(
    "ip",
    [
        "8.8.8.8",
        "172.15.255.255",
        "172.32.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "192.0.2.1",
        "0.0.0.0",
        "255.255.255.255",
        "::",
        "2001:db8::1",
        "fec0::1",
        "::ffff:8.8.8.8",
        "::8.8.8.8",
        "64:ff9b::a00:1",
        "",
        "localhost",
        "127.1",
        "not an address",
    ],
)
def test_any_other_address_and_anything_that_is_none_is_far(ip: str) -> None:
    assert not is_near(ip)


@pytest.mark.parametrize("remote", ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:9897", "localhost", "localhost:9897", "LOCALHOST", "[::1]:9897", "10.0.0.1", "127.0.0.3"],
)
def test_a_change_is_taken_from_this_host_under_an_address_or_localhost(remote: str, host: str) -> None:
    assert may_change(remote, CIMultiDict(Host=host)) is None


def test_a_change_is_taken_from_the_managers_own_page() -> None:
    for origin in ("http://127.0.0.1:9897", "https://127.0.0.1:9897"):
        assert may_change("127.0.0.1", CIMultiDict(Host="127.0.0.1:9897", Origin=origin)) is None


@pytest.mark.parametrize(
    ("remote", "headers", "reason"),
    [
        ("10.0.0.7", {"Host": "127.0.0.1"}, "from this host only, not from 10.0.0.7"),
        ("8.8.8.8", {"Host": "localhost"}, "from this host only"),
        ("", {"Host": "localhost"}, "from this host only"),
        ("127.0.0.1", {}, "the Host header ''"),
        ("127.0.0.1", {"Host": ""}, "the Host header ''"),
        ("127.0.0.1", {"Host": "evil.example"}, "the Host header 'evil.example'"),
        ("127.0.0.1", {"Host": "127.0.0.1.evil.example"}, "is no address and not localhost"),
        ("127.0.0.1", {"Host": "localhost.evil.example:9897"}, "is no address and not localhost"),
        ("127.0.0.1", {"Host": "[::1"}, "is no address and not localhost"),
        ("127.0.0.1", {"Host": "127.0.0.1", "Forwarded": "for=10.0.0.1"}, "a proxy (it sent Forwarded)"),
        ("127.0.0.1", {"Host": "127.0.0.1", "x-forwarded-for": ""}, "a proxy (it sent X-Forwarded-For)"),
        ("127.0.0.1", {"Host": "127.0.0.1", "Via": "1.1 proxy"}, "a proxy (it sent Via)"),
        ("127.0.0.1", {"Host": "127.0.0.1", "Origin": "http://evil.example"}, "pages of another site"),
        ("127.0.0.1", {"Host": "127.0.0.1", "Origin": "null"}, "pages of another site"),
        ("127.0.0.1", {"Host": "127.0.0.1", "Origin": ""}, "pages of another site"),
        ("127.0.0.1", {"Host": "127.0.0.1", "Origin": "http://["}, "pages of another site"),
        ("127.0.0.1", {"Host": "127.0.0.1:9897", "Origin": "http://127.0.0.1:80"}, "pages of another site"),
    ],
)
def test_any_other_change_is_refused_with_its_reason_and_the_remedy(
    remote: str, headers: dict[str, str], reason: str
) -> None:
    refusal = may_change(remote, CIMultiDict(headers))
    assert refusal is not None
    assert reason in refusal
    assert refusal.endswith(": use `kcm` on the manager's own host")


# Names


@pytest.mark.parametrize(
    "host", ["127.0.0.1:9897", "192.168.1.100:9897", "[fd00::7]:9897", "localhost", "cm1:9897", "CM1"]
)
def test_a_manager_is_asked_by_address_or_by_a_name_of_its_own(host: str) -> None:
    door = HttpDoor(hosts=frozenset({"cm1"}))
    assert door.who("192.168.1.7", CIMultiDict(Host=host)) == Caller(
        "192.168.1.7", Scope.VIEWER, by_token=False
    )


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9897", "cm1.evil.example", "", "[", "cm1@evil"]
)
def test_a_name_that_somebody_bound_to_our_address_opens_nothing(host: str) -> None:
    refusal = HttpDoor(hosts=frozenset({"cm1"})).who("127.0.0.1", CIMultiDict(Host=host))
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.reason) == (403, "foreign_host")


# Tokens


def test_a_header_goes_over_a_cookie() -> None:
    door = HttpDoor((ApiToken("a", Scope.ADMIN, digest("one")), ApiToken("b", Scope.VIEWER, digest("two"))))
    headers = CIMultiDict(Host="10.0.0.1", Authorization="bearer two")
    assert door.who("8.8.8.8", headers, "one") == Caller("b from 8.8.8.8", Scope.VIEWER)


def test_a_token_of_a_megabyte_is_refused_unread() -> None:
    door = HttpDoor((ApiToken("a", Scope.ADMIN, digest("x" * 10**6)),))
    headers = CIMultiDict(Host="10.0.0.1", Authorization="Bearer " + "x" * 10**6)
    assert isinstance(door.who("127.0.0.1", headers), Refusal)
