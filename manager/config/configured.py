"""What the parts of a manager get from its configuration file."""

import os
import socket
from ipaddress import ip_address

from gossip.wire import PLAIN, Keyring, Layers, read_key
from manager.config.limits import limits_of, sharing_of
from manager.config.schema import ManagerFile
from manager.doors import is_near
from manager.keys import read_keyring
from manager.subscription.documents import parse_time, read_public_key
from manager.terms import ManagerConfig
from manager.tokens import ApiToken, JoinToken, Scope, digest, peers_token


def core_config(file: ManagerFile) -> ManagerConfig:
    """What the core needs of the file."""
    return ManagerConfig(
        secret=file.group.secret.get_secret_value(),
        node_port=file.node_port,
        http_port=file.http_port,
        heartbeat=file.nodes.heartbeat,
        unreachable_after=file.nodes.unreachable_seconds,
        grace=file.nodes.grace,
        rejoin_window=file.nodes.rejoin_window,
        retry_after=file.nodes.retry_after,
        forget_after=file.nodes.forget_after,
        forget_ephemeral_after=file.nodes.forget_ephemeral_after,
        join_tokens=tuple(
            JoinToken(
                name,
                one.sha256,
                parse_time(one.expires) if one.expires else None,
                one.uses,
                {key: value for key, _, value in (label.partition("=") for label in one.labels)},
            )
            for name, one in file.nodes.tokens.items()
        ),
        max_nodes=file.subscription.max_nodes,
        degrade_after=file.degrade_after,
        surge_seats=file.subscription.surge.seats,
        surge_seconds=file.subscription.surge.for_,
        policy=file.subscription.policy,
        founders=file.group.founders,
        ticket_life=file.subscription.ticket_life,
        ephemeral_life=file.subscription.ephemeral_life,
        issuers=tuple(read_public_key(key) for key in file.subscription.issuers),
        issuer_url=file.subscription.url,
        tolerance=file.subscription.tolerance,
        margin=file.subscription.margin,
        free_limits=limits_of(file.subscription.free_limits),
        limits=limits_of(file.limits),
        sharing=sharing_of(file.limits),
        limits_mode=file.limits_mode,
        stats_window=file.stats.window,
        stats_step=file.stats.step,
    )


def http_tokens(file: ManagerFile) -> tuple[ApiToken, ...]:
    """Those of the file, and where there are any, that of the other managers."""
    tokens = [ApiToken(name, token.scope, token.sha256) for name, token in file.http.tokens.items()]
    if tokens:
        tokens.append(ApiToken("another manager", Scope.OPERATOR, digest(peers_token_of(file))))
    return tuple(tokens)


def own_names(file: ManagerFile) -> set[str]:
    """By which this manager is asked, in lower case, beside addresses."""
    host = socket.gethostname()
    names = {file.name, host, host.partition(".")[0], socket.getfqdn(), *file.http.hosts}
    return {name.lower() for name in names}


def peers_token_of(file: ManagerFile) -> str:
    """What managers show each other; empty where no tokens are wanted."""
    return peers_token(file.group.secret.get_secret_value()) if file.http.tokens else ""


def gossip_layers(file: ManagerFile) -> Layers:
    """Key and label of the gossip; `PLAIN` where there is neither. Raises `ValueError` as `read_keyring`."""
    settings = file.gossip
    keyring = None
    if settings.keyring_file:
        keyring = read_keyring(settings.keyring_file)
    elif key := settings.key.get_secret_value():
        keyring = Keyring([read_key(key)])
    if keyring is None and not settings.label:
        return PLAIN
    return Layers(keyring, settings.label.encode(), os.urandom)


def address_to_advertise(file: ManagerFile, own: list[str]) -> str:
    """The IP that others shall reach us by: as configured, else `bind`, else the first private one of `own`.

    `own` are this host's IPv4 addresses; loopback, with a warning from the caller, where none is private.
    """
    if file.advertise:
        return file.advertise
    if not ip_address(file.bind).is_unspecified:
        return file.bind
    private = [ip for ip in own if is_near(ip) and not ip_address(ip).is_loopback]
    return private[0] if private else "127.0.0.1"
