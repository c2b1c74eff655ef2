"""Makes the bundle from which a new node starts while no manager answers; `node/bundle.py` has its form."""

from hashlib import blake2b

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from manager.core import Manager
from manager.rollout.plan import Plan
from node.bundle import Bundle
from node.protocol import Limits

VALID_DAYS, VALID_DAYS_MAX = 30, 3650
"""For which a bundle holds: where nobody says, and at the most."""


class CannotBundle(Exception):
    """There is nothing to make a bundle from; the text says what to do."""


def signing_key(secret: str) -> Ed25519PrivateKey:
    """That of all managers of the group with this `group.secret`. Raises `CannotBundle` where it is empty."""
    if not secret:
        raise CannotBundle("set `group.secret` in every manager's file: what signs a bundle follows from it")
    return Ed25519PrivateKey.from_private_bytes(
        blake2b(secret.encode(), digest_size=32, person=b"kcm bundle").digest()
    )


def make_bundle(core: Manager, kind: str, valid: float, now: float) -> Bundle:
    """Of the configuration of `kind`, none where that is empty. Raises `CannotBundle`."""
    config, content = core.config, b""
    if kind:
        found = core.configs.get(kind)
        if found is None:
            raise CannotBundle(f"the group has no configuration for {kind}: `kcm config push` brings one")
        content = _content(core, found[1])
    strict = config.policy == "strict"
    wall = core.group.wall(now)
    return Bundle(
        group=core.group.group_name,
        issued=wall,
        expires=wall + valid,
        managers=core.seeds(),
        kind=kind,
        config=content,
        # Under `strict` it has no ticket; else it may do what every node may that is cut off for long.
        limits=config.free_limits if strict else _safe(core),
        free_limits=config.free_limits,
        degrade_after=config.degrade_after,
    )


def _content(core: Manager, plan: Plan) -> bytes:
    version = plan.version(plan.target)
    content = None if version is None else core.configs.content(version.sha256)
    if content is None:
        raise CannotBundle("this manager has not got the configuration yet: ask another, or try again")
    return content


def _safe(core: Manager) -> Limits:
    leases = core.shares.leases
    return core.config.free_limits | {
        name: lease.safe for name, lease in leases.items() if lease.safe is not None
    }
