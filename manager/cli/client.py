"""Asks a manager over HTTP, for `kcm`: by the standard library alone, so that a command starts at once."""

import json
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse, RemoteDisconnected
from types import MappingProxyType
from typing import Any

from node.tls import refusal, to_managers

SECONDS_MAX = 5.0
SILENT_SECONDS_MAX = 15.0
"""A stream of events says something every 3 s."""
HTTP_PORT = 9897
_REMEDY = "start one with `kcm run`, or name another by --manager URL or KCM_MANAGER"


class ClientError(Exception):
    """The request did not succeed; the text says why and what to do next."""


class WrongUsage(ClientError):
    """What was given makes no sense, whichever manager is asked."""


class NoManager(ClientError):
    """Nobody answered at the address, or somebody else."""


class NotFound(ClientError):
    """The manager knows no such thing."""


def base_url(text: str) -> str:
    """The base URL that `text` means, also as `host:port`; raises `ValueError` with what to write."""
    in_short = "://" not in text
    try:
        parts = urllib.parse.urlsplit(f"http://{text}" if in_short else text)
        port, host = parts.port, parts.hostname
    except ValueError:
        host = None
    odd = not text.isprintable() or " " in text or "?" in text or "#" in text
    if not host or odd or parts.scheme not in ("http", "https"):
        raise ValueError(f"must be a URL such as http://127.0.0.1:{HTTP_PORT}, not {text!r}")
    netloc = f"{parts.netloc.rstrip(':')}:{HTTP_PORT}" if in_short and port is None else parts.netloc
    return f"{parts.scheme}://{netloc}{parts.path.rstrip('/')}"


def request(
    manager: str, method: str, path: str, body: dict[str, Any] | None = None, seconds: float = SECONDS_MAX
) -> dict[str, Any]:
    """The JSON object that `manager` (a base URL) answers; raises `ClientError`."""
    return _object(fetch(manager, method, path, body, seconds), manager)


def send(
    manager: str, method: str, path: str, content: bytes, seconds: float, if_match: str = ""
) -> dict[str, Any]:
    """As `request`, with `content` as the body; where `if_match` is given, only upon what has that mark."""
    headers = {"Content-Type": "application/octet-stream"}
    if if_match:
        headers["If-Match"] = if_match
    with _opened(manager, method, path, content, seconds, headers) as answer:
        return _object(answer.read(), manager)


def _object(answer: bytes, manager: str) -> dict[str, Any]:
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        found = None
    if not found or not isinstance(found, dict):
        raise NoManager(f"what answers at {manager} is no manager: {_REMEDY}")
    return found


def follow(manager: str) -> Generator[dict[str, Any], None, None]:
    """What happens at `manager`, each event as it comes; raises `ClientError`."""
    stream = {"Accept": "text/event-stream"}
    with _opened(manager, "GET", "/api/v1/events", None, SILENT_SECONDS_MAX, stream) as answer:
        kind, data = "", ""
        for line in answer:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                data = value
            elif not name and kind == "change":
                yield json.loads(data)


def head(manager: str, path: str) -> Mapping[str, str]:
    """The headers of what `manager` answers, by their names in lower case; raises `ClientError`."""
    with _opened(manager, "HEAD", path, None, SECONDS_MAX) as answer:
        return {name.lower(): value for name, value in answer.headers.items()}


def fetch(
    manager: str, method: str, path: str, body: dict[str, Any] | None = None, seconds: float = SECONDS_MAX
) -> bytes:
    """The bytes that `manager` (a base URL) answers; raises `ClientError`."""
    data = None if body is None else json.dumps(body).encode()
    with _opened(manager, method, path, data, seconds) as answer:
        found: bytes = answer.read()
        return found


@contextmanager
def _opened(
    manager: str,
    method: str,
    path: str,
    data: bytes | None,
    seconds: float,
    further: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[HTTPResponse]:
    """The answer, to be read; `seconds` bound each wait for more of it. Raises `ClientError`, also later.

    `further` headers go beside the usual ones, or replace them.
    """
    headers = {"Content-Type": "application/json", "Accept": "*/*", **further}
    if token := os.environ.get("KCM_TOKEN", "").strip():
        if not (token.isascii() and token.isprintable()):
            raise WrongUsage("KCM_TOKEN has characters that no token has: set it to the token alone")
        headers["Authorization"] = f"Bearer {token}"
    asked = urllib.request.Request(manager + path, data, headers, method=method)
    # A proxy from the environment would be asked for addresses that only we can reach.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), *_authority())
    try:
        with opener.open(asked, timeout=seconds) as answer:
            yield answer
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(error, manager) from None
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            why = refusal(reason, "KCM_CA", "KCM_SERVER_NAME")
            raise NoManager(f"what answers at {manager} is not believed: {why}") from None
        if isinstance(reason, RemoteDisconnected) and manager.startswith("http:"):
            raise NoManager(
                f"what is at {manager} hangs up: a manager with TLS is asked at https://, with KCM_CA; "
                f"pages and API are on the HTTP port ({HTTP_PORT}), neither on that of nodes nor of gossip"
            ) from None
        if isinstance(reason, ssl.SSLError) and reason.reason == "WRONG_VERSION_NUMBER":
            raise NoManager(f"what answers at {manager} has no TLS: ask it at http://") from None
        raise NoManager(f"no manager answers at {manager} ({reason}): {_REMEDY}") from None


def _authority() -> list[urllib.request.BaseHandler]:
    """The group's own authority, where KCM_CA names its file."""
    if not (name := os.environ.get("KCM_CA")):
        return []
    try:
        context = to_managers(name, os.environ.get("KCM_SERVER_NAME", ""))
    except (OSError, ValueError) as error:
        raise WrongUsage(f"KCM_CA: {name} cannot be used ({error}): name a file in PEM") from None
    return [urllib.request.HTTPSHandler(context=context)]


def _refusal(error: urllib.error.HTTPError, manager: str) -> ClientError:
    try:
        detail = str(json.loads(error.read())["detail"])
    except (OSError, HTTPException, ValueError, LookupError, TypeError, RecursionError):
        # A manager says what is wrong; whoever does not is something else, or its port for nodes.
        return NoManager(
            f"what answers at {manager} is no manager's HTTP port (usually {HTTP_PORT}), it says "
            f"{error.code}: {_REMEDY}"
        )
    kinds = {400: WrongUsage, 404: NotFound}
    return kinds.get(error.code, ClientError)(detail)
