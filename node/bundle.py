"""What a new node starts from while no manager answers: signed by the group, or told by a neighbour.

| field | meaning |
| --- | --- |
| `group` | the group that it is of |
| `issued`, `expires` | seconds since 1970 |
| `managers` | their node ports, `host:port` |
| `kind`, `config` | of gateway, and its configuration in base64; both empty where the group has none |
| `limits` | what it may let through until a manager has let it in: `{NAME: [max_rate, every, per_client]}` |
| `free_limits` | … and when it has waited for `degrade_after` seconds |

Unknown fields are ignored, so that a newer group can serve an older node.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from node.bounds import CONFIG_BYTES_MAX
from node.jws import NotSigned, WrongSigner, seal, unseal
from node.protocol import ITEMS_MAX, Limit, Limits

BUNDLE_BYTES_MAX = 8 * 2**20
"""A configuration of the greatest size, in base64 twice, and what stands beside it."""


class BundleError(Exception):
    """The bundle is not to be used; the text says why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """All that a node needs to start provisionally."""

    group: str
    issued: float
    expires: float
    managers: tuple[str, ...] = ()
    kind: str = ""
    config: bytes = b""
    limits: Limits = field(default_factory=dict)
    free_limits: Limits = field(default_factory=dict)
    degrade_after: float = 0.0

    def fields(self) -> dict[str, Any]:
        """As they stand in JSON."""
        return {
            "group": self.group,
            "issued": self.issued,
            "expires": self.expires,
            "managers": list(self.managers),
            "kind": self.kind,
            "config": b64encode(self.config).decode(),
            "limits": _plain(self.limits),
            "free_limits": _plain(self.free_limits),
            "degrade_after": self.degrade_after,
        }

    def signed(self, key: Ed25519PrivateKey) -> str:
        """In the form that a file has."""
        return seal(self.fields(), key)


def open_bundle(text: str, keys: Iterable[Ed25519PublicKey], wall: float) -> Bundle:
    """The bundle in `text`, signed by one of `keys`, at `wall` seconds since 1970; raises `BundleError`."""
    try:
        body = unseal(text.strip(), keys)
    except NotSigned:
        raise BundleError("what was given is no bundle: `kcm bundle create` makes one") from None
    except WrongSigner:
        raise BundleError(
            "`bundle.key` is not the key that signed it: take both from one `kcm bundle create`"
        ) from None
    return read_bundle(body, wall)


def read_bundle(body: bytes, wall: float) -> Bundle:
    """The bundle in `body`, which is JSON; raises `BundleError`, also for one that has expired at `wall`."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise BundleError("the bundle is not a JSON object")
    try:
        bundle = Bundle(
            group=_text(fields, "group"),
            issued=_number(fields, "issued"),
            expires=_number(fields, "expires"),
            managers=_texts(fields, "managers"),
            kind=_text(fields, "kind"),
            config=_content(fields),
            limits=_limits(fields, "limits"),
            free_limits=_limits(fields, "free_limits"),
            degrade_after=_number(fields, "degrade_after"),
        )
    except ValueError as error:
        raise BundleError(f"the bundle's {error}: have a new one made by `kcm bundle create`") from None
    if bundle.expires <= wall:
        hours = (wall - bundle.expires) / 3600
        raise BundleError(f"the bundle expired {hours:.3g} h ago: make a new one by `kcm bundle create`")
    return bundle


def _plain(limits: Limits) -> dict[str, list[Any]]:
    return {name: [limit.max_rate, limit.every, limit.per_client] for name, limit in limits.items()}


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str) or len(value) > 256:
        raise ValueError(f"`{name}` must be a text of at most 256 characters")
    return value


def _texts(fields: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = fields.get(name, [])
    if (
        not isinstance(value, list)
        or len(value) > ITEMS_MAX
        or not all(isinstance(one, str) for one in value)
    ):
        raise ValueError(f"`{name}` must be a list of at most {ITEMS_MAX} texts")
    return tuple(value)


def _number(fields: Mapping[str, Any], name: str) -> float:
    value = fields.get(name, 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise ValueError(f"`{name}` must be a number of seconds")
    return float(value)


def _content(fields: Mapping[str, Any]) -> bytes:
    text = fields.get("config", "")
    try:
        content = b64decode(text, validate=True)
    except (ValueError, TypeError):
        raise ValueError("`config` must be base64") from None
    if len(content) > CONFIG_BYTES_MAX:
        raise ValueError(f"`config` has {len(content)} bytes, more than {CONFIG_BYTES_MAX}")
    return content


def _limits(fields: Mapping[str, Any], name: str) -> Limits:
    value = fields.get(name, {})
    if not isinstance(value, dict) or len(value) > ITEMS_MAX:
        raise ValueError(f"`{name}` must be a map of at most {ITEMS_MAX} limits")
    limits = {}
    for key, parts in value.items():
        match parts:
            case [int() | float() as rate, int() | float() as every, bool(per_client)] if (
                rate >= 0 and every >= 0.001
            ):
                limits[key] = Limit(float(rate), float(every), per_client)
            case _:
                raise ValueError(f"`{name}.{key}` must be [max_rate, every, per_client]")
    return limits
