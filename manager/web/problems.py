"""Errors as RFC 9457 says: `application/problem+json`, with what to do next in `detail`."""

import json
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus

from aiohttp import web

from manager.meant import did_you_mean

SERVER = "krakend-cluster-manager"
"""The `Server` header: no versions, which would tell what to try."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    """A whole answer."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    # As bytes: this media type has no charset parameter.
    content = json.dumps(body).encode()
    return web.Response(status=status, body=content, content_type="application/problem+json", headers=headers)


def no_limit(name: str, known: Iterable[str], otherwise: str = "") -> web.Response:
    """There is no limit of that name; `otherwise` follows."""
    near = did_you_mean(name, known) or "; `kcm limits show` lists them (GET /api/v1/limits)"
    return problem(404, f"no limit is called {name[:100]!r}{near}{otherwise}")


def of_http_error(error: web.HTTPException) -> web.Response:
    """What aiohttp itself raises, in our form."""
    match error:
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return problem(405, f"{error.method} is not for this resource: use {allowed}", {"Allow": allowed})
        case web.HTTPNotFound(text="404: Not Found"):
            return problem(404, "there is no such resource; the API is under /api/v1")
        case web.HTTPRequestEntityTooLarge():
            text = error.text or ""
            return problem(413, text if text.startswith("a config") else "the body is larger than 64 KiB")
        case _:
            return problem(error.status, error.text or error.reason)
