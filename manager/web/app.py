"""Page, JSON API and metrics as one aiohttp application. Handlers only translate."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from gossip.key_messages import Verb
from manager import views
from manager.documents import MAX_NODES_MAX, DocumentError
from manager.doors import is_near, may_change
from manager.store import StoreError
from manager.version import installed_version
from manager.web import keys
from manager.web.metrics import exposition
from manager.web.operations import Operations
from manager.web.problems import Handler, of_http_error, problem
from manager.web.stats import Series, merged, series_in

log = logging.getLogger(__name__)

BODY_BYTES_MAX = 64 * 1024
STATS_SECONDS_MAX = 2.0
"""Other managers that have not answered by then are counted as not answering."""
_STATIC = Path(__file__).parent / "static"
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_COUNTED = {400: "bad_request", 413: "too_large", 415: "not_json"}
_OPERATIONS = web.AppKey("operations", Operations)
_STARTED = web.AppKey("started", float)
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

routes = web.RouteTableDef()


def create_app(operations: Operations) -> web.Application:
    """The application for one manager; everything that it needs of the process comes by `operations`."""
    app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[_explain, _guard])
    app[_OPERATIONS] = operations
    app[_STARTED] = operations.now()
    app.add_routes(routes)
    app.on_response_prepare.append(_add_headers)
    logging.getLogger("aiohttp.server").addFilter(_is_ours)
    return app


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether a line of aiohttp's is about our failure: anybody may send what is not HTTP, and gets a 400."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


async def _add_headers(_: web.Request, answer: web.StreamResponse) -> None:
    # Not in a middleware: what aiohttp answers before it asks them would go without.
    answer.headers.update(_HEADERS)


@web.middleware
async def _explain(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every error its form."""
    try:
        answer = await handler(request)
    except web.HTTPException as error:
        answer = of_http_error(error)
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        answer = problem(500, "this manager failed to answer; its log says why")
    if answer.status in _COUNTED:
        request.app[_OPERATIONS].count("http", _COUNTED[answer.status])
    return answer


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Near addresses only, and changes from this host only."""
    operations, remote = request.app[_OPERATIONS], request.remote or ""
    if not is_near(remote):
        operations.count("http", "not_near")
        return problem(403, "without a token only loopback and private addresses are served")
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        reason = may_change(remote, request.headers)
        if reason is not None:
            operations.count("http", "change_refused")
            return problem(403, reason)
    return await handler(request)


# The page


@routes.get("/")
async def page(request: web.Request) -> web.FileResponse:
    return _file("index.html")


@routes.get("/static/{name:page\\.js|style\\.css|icon\\.svg}")
async def static(request: web.Request) -> web.FileResponse:
    return _file(request.match_info["name"])


def _file(name: str) -> web.FileResponse:
    path = _STATIC / name
    # Named here and not guessed: what the system's tables say of .js a browser may refuse to run.
    return web.FileResponse(path, headers={"Content-Type": f"{_TYPES[path.suffix]}; charset=utf-8"})


# What monitors ask


@routes.get("/health")
async def health(request: web.Request) -> web.Response:
    """The process lives and its loop turns."""
    return web.json_response({"status": "ok"})


@routes.get("/ready")
async def ready(request: web.Request) -> web.Response:
    """Nodes may be sent here."""
    core = request.app[_OPERATIONS].core
    if core.going:
        return problem(503, "this manager is leaving the group")
    if core.fresh:
        return problem(503, "this manager has just started and does not know the group yet")
    return web.json_response({"status": "ready"})


@routes.get("/metrics")
async def metrics(request: web.Request) -> web.Response:
    operations = request.app[_OPERATIONS]
    body, content_type = exposition(operations.core, operations.counts)
    return web.Response(body=body, headers={"Content-Type": content_type})


# The API


@routes.get("/api/v1/info")
async def info(request: web.Request) -> web.Response:
    operations = request.app[_OPERATIONS]
    up_for = operations.now() - request.app[_STARTED]
    return web.json_response(views.info_view(operations.core, installed_version(), up_for))


@routes.get("/api/v1/members")
async def members(request: web.Request) -> web.Response:
    return web.json_response(views.members_view(request.app[_OPERATIONS].core))


@routes.get("/api/v1/nodes")
async def nodes(request: web.Request) -> web.Response:
    return web.json_response(views.nodes_view(request.app[_OPERATIONS].core))


@routes.get("/api/v1/nodes/{id}")
async def node(request: web.Request) -> web.Response:
    core, id_ = request.app[_OPERATIONS].core, request.match_info["id"]
    view = core.registry.view(id_)
    if view is None or not view.shown:
        return problem(404, f"no node has the id {id_[:100]!r}; GET /api/v1/nodes lists them")
    return web.json_response(views.node_view(core, view))


@routes.get("/api/v1/limits")
async def limits(request: web.Request) -> web.Response:
    return web.json_response(views.cluster_limits_view(request.app[_OPERATIONS].core))


@routes.get("/api/v1/subscription")
async def subscription(request: web.Request) -> web.Response:
    operations = request.app[_OPERATIONS]
    return web.json_response(views.subscription_view(operations.core, operations.now()))


@routes.patch("/api/v1/subscription")
async def set_subscription(request: web.Request) -> web.Response:
    """`{"max_nodes": N}`: in force at once, on every manager."""
    operations = request.app[_OPERATIONS]
    body = await _json(request, {"max_nodes"})
    max_nodes = body.get("max_nodes")
    if not isinstance(max_nodes, int) or isinstance(max_nodes, bool) or not 0 <= max_nodes <= MAX_NODES_MAX:
        return problem(400, f"max_nodes must be a whole number from 0 to {MAX_NODES_MAX}")
    try:
        await operations.set_max_nodes(max_nodes)
    except DocumentError as error:
        return problem(409, str(error))
    return web.json_response(views.subscription_view(operations.core, operations.now()))


@routes.put("/api/v1/subscription/document")
async def install_subscription(request: web.Request) -> web.Response:
    """`{"document": TEXT}`: a signed subscription, in force at once, on every manager."""
    operations = request.app[_OPERATIONS]
    text = (await _json(request, {"document"})).get("document")
    if not isinstance(text, str):
        return problem(400, "document must be the text of a signed subscription")
    try:
        await operations.install(text, f"installed by {request.remote}")
    except DocumentError as error:
        return problem(409, str(error))
    return web.json_response(views.subscription_view(operations.core, operations.now()))


@routes.get("/api/v1/subscription/history")
async def subscription_history(request: web.Request) -> web.Response:
    return web.json_response(views.subscription_history_view(request.app[_OPERATIONS].core))


@routes.post("/api/v1/subscription/check")
async def check_subscription(request: web.Request) -> web.Response:
    """The issuer's URL is asked at once; what it answers is in force when it has come."""
    operations = request.app[_OPERATIONS]
    await _json(request, set())
    try:
        operations.ask_issuer()
    except DocumentError as error:
        return problem(409, str(error))
    return web.json_response({"status": "asked"}, status=202)


@routes.post("/api/v1/leave")
async def leave(request: web.Request) -> web.Response:
    """`{"for_good": true}`: nodes move, the manager leaves the group, and its process ends."""
    operations = request.app[_OPERATIONS]
    body = await _json(request, {"for_good"})
    for_good = body.get("for_good", False)
    if not isinstance(for_good, bool):
        return problem(400, "for_good must be true or false")
    if operations.core.going:
        return problem(409, "this manager is already leaving the group")
    operations.leave(for_good=for_good)
    return web.json_response({"status": "leaving", "for_good": for_good}, status=202)


@routes.get("/api/v1/keys")
async def list_keys(request: web.Request) -> web.Response:
    return await keys.listed(request.app[_OPERATIONS], request)


@routes.post("/api/v1/keys")
async def install_key(request: web.Request) -> web.Response:
    return await keys.changed(request.app[_OPERATIONS], Verb.INSTALL, await _json(request, keys.FIELDS))


@routes.put("/api/v1/keys")
async def use_key(request: web.Request) -> web.Response:
    return await keys.changed(request.app[_OPERATIONS], Verb.USE, await _json(request, keys.FIELDS))


@routes.delete("/api/v1/keys")
async def remove_key(request: web.Request) -> web.Response:
    return await keys.changed(request.app[_OPERATIONS], Verb.REMOVE, await _json(request, keys.FIELDS))


@routes.post("/api/v1/snapshot")
async def snapshot(request: web.Request) -> web.Response:
    """This manager's state as a file, which `kcm snapshot restore` takes."""
    operations = request.app[_OPERATIONS]
    await _json(request, set())
    try:
        content = await operations.snapshot()
    except StoreError as error:
        return problem(503, str(error))
    if content is None:
        return problem(409, "this manager keeps nothing on disk: start it with --state-dir")
    return web.Response(body=content, content_type="application/octet-stream")


@routes.get("/api/v1/stats")
async def stats(request: web.Request) -> web.Response:
    """What nodes reported, at any manager; `?local=1` asks only this one."""
    operations = request.app[_OPERATIONS]
    core = operations.core
    own = core.stats.view(core.group.wall(operations.now()))
    shape = {"window": core.stats.window, "step": core.stats.step}
    if request.query.get("local") == "1":
        return web.json_response({"managers": {"asked": 1, "answered": 1}, **shape, "nodes": own})
    others = views.other_managers(core)
    answers = await asyncio.gather(*(_ask(operations.http, url) for url in others.values()))
    heard = [answer for answer in answers if answer is not None]
    managers = {"asked": 1 + len(others), "answered": 1 + len(heard)}
    return web.json_response({"managers": managers, **shape, "nodes": merged([own, *heard])})


async def _ask(http: aiohttp.ClientSession, url: str) -> Series | None:
    timeout = aiohttp.ClientTimeout(total=STATS_SECONDS_MAX)
    try:
        async with http.get(
            f"{url}/api/v1/stats?local=1", timeout=timeout, raise_for_status=True, allow_redirects=False
        ) as answer:
            return series_in(await answer.json())
    except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError):
        return None


async def _json(request: web.Request, fields: set[str]) -> dict[str, Any]:
    """The object in the body, with no other fields; raises the answer where there is none."""
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="send a JSON object with Content-Type: application/json")
    try:
        body = json.loads(await request.read(), object_pairs_hook=_once_each)
    except (ValueError, RecursionError) as error:
        raise web.HTTPBadRequest(text=f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="the body must be a JSON object")
    unknown = sorted(body.keys() - fields)
    if unknown:
        known = ", ".join(sorted(fields))
        raise web.HTTPBadRequest(text=f"unknown field {unknown[0][:100]!r}; known: {known}")
    return body


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field stands twice")
    return fields
