"""The shell of a provisional start: a bundle from a file or from a neighbour, and its configuration."""

import asyncio
import hmac
import logging
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

import aiohttp

from node.bundle import BUNDLE_BYTES_MAX, Bundle, BundleError, open_bundle, read_bundle
from node.config import BundleSettings, GatewaySettings
from node.effects import NodeState
from node.gateways.adapter import Gateway
from node.gateways.errors import GatewayError
from node.gateways.files import Files
from node.jws import read_public_key
from node.settings import HostPort

_LOG = logging.getLogger(__name__)

PATH = "/v1/bundle"
NEIGHBOUR_SECONDS_MAX = 3.0
"""For a whole answer of one of them; all are asked at once."""
NEIGHBOURS_BUNDLE_SECONDS = 3600.0


def from_file(settings: BundleSettings, wall: float) -> Bundle | None:
    """The bundle that the operator put there; None, with a line in the log, where it cannot be used."""
    try:
        text = Path(settings.file).read_bytes()[: BUNDLE_BYTES_MAX + 1].decode("ascii")
        if len(text) > BUNDLE_BYTES_MAX:
            raise BundleError(f"it has more than {BUNDLE_BYTES_MAX} bytes")
        return open_bundle(text, [read_public_key(settings.key)], wall)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
    except UnicodeDecodeError:
        why = "what was given is no bundle: `kcm bundle create` makes one"
    except BundleError as error:
        why = str(error)
    _LOG.error("The bundle %s is not used: %s", settings.file, why)
    return None


async def from_neighbours(
    client: aiohttp.ClientSession, neighbours: Iterable[HostPort], token: str, wall: float
) -> Bundle | None:
    """What the first of `neighbours` that is one of the cluster tells; None where none does."""
    asked = [asyncio.create_task(_ask(client, neighbour, token, wall)) for neighbour in neighbours]
    try:
        for answer in asyncio.as_completed(asked):
            if (bundle := await answer) is not None:
                return bundle
        return None
    finally:
        for task in asked:
            task.cancel()


async def _ask(client: aiohttp.ClientSession, neighbour: HostPort, token: str, wall: float) -> Bundle | None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=NEIGHBOUR_SECONDS_MAX)
    try:
        async with client.get(f"http://{neighbour}{PATH}", headers=headers, timeout=timeout) as answer:
            body = bytearray()
            async for chunk in answer.content.iter_chunked(1 << 16):
                body += chunk
                if len(body) > BUNDLE_BYTES_MAX:
                    raise BundleError(f"it has more than {BUNDLE_BYTES_MAX} bytes")
            if answer.status == 200:
                return read_bundle(bytes(body), wall)
            why = body[:200].decode(errors="replace") or f"it answers {answer.status}"
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        why = str(error) or "no answer in time"
    except BundleError as error:
        why = str(error)
    _LOG.warning("Neighbour %s gives no bundle: %s", neighbour, why)
    return None


def refusal(ours: str, authorization: str, remote: str) -> str:
    """Why who shows `authorization` from IP address `remote` is told nothing; empty where it is."""
    if ours:
        if hmac.compare_digest(authorization.encode(errors="replace"), f"Bearer {ours}".encode()):
            return ""
        return "show this node's own `token`"
    try:
        address = ip_address(remote)
    except ValueError:
        return "who asks has no address"
    return (
        ""
        if address.is_loopback or address.is_private
        else "this node has no `token`: only private addresses are told"
    )


def for_neighbour(state: NodeState, managers: Iterable[str], kind: str, content: bytes, now: float) -> Bundle:
    """What another node may start from: what this one was told, and the `content` that its gateway runs."""
    safe = {name: lease.safe for name, lease in state.leases.items() if lease.safe is not None}
    return Bundle(
        group="",
        issued=now,
        expires=now + NEIGHBOURS_BUNDLE_SECONDS,
        managers=tuple(address for address in managers if "://" not in address),
        kind=kind if content else "",
        config=content,
        # A ticket with an end is one of policy `strict`: whoever has none gets the free limits.
        limits=state.free_limits if state.life is not None else state.free_limits | safe,
        free_limits=state.free_limits,
        degrade_after=state.degrade_after,
    )


async def put_configuration(
    gateway: Gateway, settings: GatewaySettings, bundle: Bundle, folder: Path
) -> None:
    """Let the gateway start with the bundle's configuration, if it would run with that.

    What stood there before is kept in `folder`, as `before-bundle`.
    """
    if not bundle.config or not settings.config:
        return
    if bundle.kind != settings.kind:
        _LOG.warning("The bundle has a configuration for %s, and this is %s", bundle.kind, settings.kind)
        return
    path = Path(settings.config)
    try:
        before = Files.read(path)
        if before == bundle.config:
            return
        await gateway.prepare(bundle.limits)
        await gateway.validate(bundle.config)
        if before is not None:
            _make(folder)
            Files.write(folder / "before-bundle", before, like=path)
        Files.write(path, bundle.config)
    except GatewayError as error:
        _LOG.error("The bundle's configuration is not used: %s", error)
    else:
        _LOG.info("The gateway starts with the bundle's configuration")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise GatewayError(f"{folder} cannot be made: {error.strerror}") from None
