"""What a new node starts from: read strictly, signed, and no longer than it holds."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from node.bundle import Bundle, BundleError, open_bundle, read_bundle
from node.config import GatewaySettings
from node.gateways.adapter import Gateway
from node.gateways.errors import GatewayError
from node.protocol import Limit, Limits
from node.provision import put_configuration, refusal

KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([at]) * 32) for at in (1, 2))
BUNDLE = Bundle(
    group="blue",
    issued=1000.0,
    expires=2000.0,
    managers=("10.0.0.1:7000",),
    kind="nginx",
    config=b"events {}\n",
    limits={"public": Limit(10.0, 1.0, per_client=True)},
    free_limits={"public": Limit(1.0, 60.0)},
    degrade_after=3600.0,
)


def test_a_signed_bundle_is_what_was_signed() -> None:
    assert open_bundle(BUNDLE.signed(KEY) + "\n", [KEY.public_key()], 1500.0) == BUNDLE


def test_a_bundle_that_another_key_signed_is_refused_with_what_to_do() -> None:
    with pytest.raises(BundleError, match=r"`bundle.key` is not the key .* `kcm bundle create`"):
        open_bundle(BUNDLE.signed(OTHER), [KEY.public_key()], 1500.0)


def test_a_bundle_of_which_one_byte_changed_is_refused() -> None:
    text = BUNDLE.signed(KEY)
    head, body, signature = text.split(".")
    forged = f"{head}.{body[:-2]}{'A' if body[-2] != 'A' else 'B'}{body[-1]}.{signature}"
    with pytest.raises(BundleError):
        open_bundle(forged, [KEY.public_key()], 1500.0)


def test_an_expired_bundle_is_refused_with_what_to_do() -> None:
    with pytest.raises(BundleError, match=r"expired 1 h ago: make a new one by `kcm bundle create`"):
        open_bundle(BUNDLE.signed(KEY), [KEY.public_key()], 2000.0 + 3600.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("expires", "soon"),
        ("managers", [7]),
        ("managers", ["m"] * 1000),
        ("config", "!"),
        ("config", 7),
        ("limits", []),
        ("limits", {"public": [1.0]}),
        ("limits", {"public": [-1.0, 1.0, False]}),
        ("free_limits", {"public": [1.0, 0.0, False]}),
        ("degrade_after", -1),
        ("kind", "x" * 1000),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_fields_name(field: str, value: object) -> None:
    fields: dict[str, Any] = {**BUNDLE.fields(), field: value}
    with pytest.raises(BundleError, match=field):
        read_bundle(json.dumps(fields).encode(), 1500.0)


def test_a_field_that_is_not_known_is_passed_over() -> None:
    assert read_bundle(json.dumps({**BUNDLE.fields(), "new": 1}).encode(), 1500.0) == BUNDLE


@given(st.binary(max_size=200))
def test_whatever_is_given_is_a_bundle_or_refused(body: bytes) -> None:
    with pytest.raises(BundleError):
        read_bundle(body, 1500.0)
    with pytest.raises(BundleError):
        open_bundle(body.decode("latin-1"), [KEY.public_key()], 1500.0)


def test_a_neighbour_tells_who_has_its_token_or_without_one_whoever_is_near() -> None:
    assert not refusal("secret", "Bearer secret", "192.0.2.1")
    assert refusal("secret", "Bearer other", "127.0.0.1")
    assert refusal("secret", "", "127.0.0.1")
    assert not refusal("", "", "10.0.0.7")
    assert refusal("", "", "8.8.8.8")
    assert refusal("", "", "")


class Checking:
    """A gateway that finds `wrong` with every configuration."""

    def __init__(self, wrong: str = "") -> None:
        self.wrong = wrong

    async def prepare(self, limits: Limits) -> None:
        assert limits == BUNDLE.limits

    async def validate(self, content: bytes) -> None:
        if self.wrong:
            raise GatewayError(self.wrong)


async def put(tmp_path: Path, bundle: Bundle, wrong: str = "") -> None:
    settings = GatewaySettings(
        kind="nginx", config=str(tmp_path / "nginx.conf"), limits=str(tmp_path / "limits.conf")
    )
    gateway = cast(Gateway, Checking(wrong))
    await put_configuration(gateway, settings, bundle, tmp_path / "agent")


async def test_a_bundles_configuration_takes_the_place_of_what_was_there_which_is_kept(
    tmp_path: Path,
) -> None:
    (tmp_path / "nginx.conf").write_bytes(b"old")
    await put(tmp_path, BUNDLE)
    assert (tmp_path / "nginx.conf").read_bytes() == BUNDLE.config
    assert (tmp_path / "agent/before-bundle").read_bytes() == b"old"


async def test_where_there_was_no_configuration_a_bundles_is_the_first(tmp_path: Path) -> None:
    await put(tmp_path, BUNDLE)
    assert (tmp_path / "nginx.conf").read_bytes() == BUNDLE.config


async def test_a_configuration_that_the_gateway_does_not_take_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "nginx.conf").write_bytes(b"old")
    await put(tmp_path, BUNDLE, wrong="unknown directive")
    assert (tmp_path / "nginx.conf").read_bytes() == b"old"


async def test_a_configuration_for_another_gateway_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "nginx.conf").write_bytes(b"old")
    await put(tmp_path, replace(BUNDLE, kind="haproxy"))
    assert (tmp_path / "nginx.conf").read_bytes() == b"old"
