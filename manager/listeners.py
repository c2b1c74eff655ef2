"""Listening sockets, and what is wrong where there can be none."""

import contextlib
import errno
import socket

from manager.ports import holder

BACKLOG = 1024


class ListenError(Exception):
    """A port cannot be listened on; the text names key, address and remedy."""


def listen(bind: str, port: int, key: str, *, both_families: bool) -> list[socket.socket]:
    """TCP sockets that listen on `bind`; with `both_families` and 0.0.0.0 also on [::], where there is IPv6.

    `key` is the configuration key that named the port. Raises `ListenError`.
    """
    sockets = [_listen(bind, port, key)]
    if both_families and bind == "0.0.0.0" and socket.has_ipv6:
        # A host without IPv6, or with it switched off: nobody can come that way.
        with contextlib.suppress(ListenError):
            sockets.append(_listen("::", port, key))
    return sockets


def explain(error: OSError, bind: str, port: int, key: str) -> str:
    """What `error` means for who configured `key`."""
    option = "--" + key.replace("_", "-")
    where = f"[{bind}]:{port}" if ":" in bind else f"{bind}:{port}"
    match error.errno:
        case errno.EADDRINUSE:
            found = holder("tcp", port, bind) or holder("udp", port, bind)
            by = "" if found is None else f" by {found}"
            return f"{key}: {where} is in use{by}: stop what listens there, or give another port by {option}"
        case errno.EADDRNOTAVAIL:
            return f"bind: this host has no address {bind}: give one that it has by --bind"
        case errno.EACCES:
            return f"{key}: no permission to listen on {where}: give a port above 1023 by {option}"
        case _:
            return f"{key}: cannot listen on {where}: {error.strerror or error}"


def _listen(bind: str, port: int, key: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ListenError(explain(error, bind, port, key)) from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((bind, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ListenError(explain(error, bind, port, key)) from error
    return sock
