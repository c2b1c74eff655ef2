"""Asking a manager over HTTP, for `kcm`: the standard library alone, since a command should start at once."""

import json
import urllib.error
import urllib.request
from typing import Any

SECONDS_MAX = 5.0


class ClientError(Exception):
    """The request did not succeed; the text says why and what to do next."""


class NoManager(ClientError):
    """Nobody answered at the address."""


class NotFound(ClientError):
    """The manager knows no such thing."""


def request(manager: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """The JSON that `manager` (a base URL) answers; raises `ClientError`."""
    url = f"{manager.rstrip('/')}{path}"
    data = None if body is None else json.dumps(body).encode()
    try:
        asked = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
        # A proxy from the environment would be asked for addresses that only we can reach.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(asked, timeout=SECONDS_MAX) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            detail = _detail(error)
        raise (NotFound if error.code == 404 else ClientError)(detail) from None
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise NoManager(
            f"no manager answers at {manager} ({reason}): start one with `kcm run`, or name another by"
            " --manager URL or KCM_MANAGER"
        ) from None


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read())["detail"])
    except (ValueError, KeyError, TypeError):
        return f"the manager answered {error.code} {error.reason}"
