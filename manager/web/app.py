"""Page, JSON API and metrics as one aiohttp application. Handlers only translate."""

import logging
from hashlib import blake2b
from pathlib import Path

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from manager.disk.store import StoreError
from manager.doors import Refusal, is_at, may_change
from manager.web import (
    bundles,
    cluster,
    configs,
    discovery,
    keys,
    live,
    login,
    membership,
    reads,
    trials,
    writes,
)
from manager.web.login import COOKIE
from manager.web.metrics import exposition
from manager.web.operations import Operations
from manager.web.peers import HEADER, is_proof
from manager.web.problems import SERVER, Handler, of_http_error, problem
from manager.web.scopes import SAFE, is_among_managers, wanted_scope
from manager.web.shared import CALLER, CHANGE, OPERATIONS, STARTED, STREAMS
from manager.web.uploads import content_of

log = logging.getLogger(__name__)

BODY_BYTES_MAX = 64 * 1024
_STATIC = Path(__file__).parent / "static"
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_FILES = frozenset(
    path.relative_to(_STATIC).as_posix() for path in _STATIC.rglob("*") if path.suffix in _TYPES
)
_ASK_FOR_TOKEN = {"WWW-Authenticate": "Bearer"}
_NO_TOKEN = (
    "this needs a token of scope {}, also on the manager's own host: put it into KCM_TOKEN, "
    "send it as Authorization: Bearer TOKEN, or log in on the page"
)
_COUNTED = {400: "bad_request", 413: "too_large", 415: "not_json"}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": SERVER,
    "X-Content-Type-Options": "nosniff",
}

routes = web.RouteTableDef()


def create_app(operations: Operations) -> web.Application:
    """The application for one manager; everything that it needs of the process comes by `operations`."""
    app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[_explain, _guard, _tag, _write_down])
    app[OPERATIONS] = operations
    app[STARTED] = operations.now()
    app[STREAMS] = set()
    app.add_routes(all_routes())
    app.on_shutdown.append(live.end_streams)
    app.on_response_prepare.append(_add_headers)
    logging.getLogger("aiohttp.server").addFilter(_is_ours)
    return app


def all_routes() -> list[web.AbstractRouteDef]:
    """Everything that is answered."""
    return [
        *bundles.routes,
        *cluster.routes,
        *configs.routes,
        *live.routes,
        *discovery.routes,
        *keys.routes,
        *membership.routes,
        *reads.routes,
        *login.routes,
        *trials.routes,
        *writes.routes,
        *routes,
    ]


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
    except StoreError as error:
        answer = problem(503, str(error))
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        answer = problem(500, "this manager failed to answer; its log says why")
    if answer.status in _COUNTED:
        request.app[OPERATIONS].count("http", _COUNTED[answer.status])
    return answer


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let in who may come, to what they may do."""
    operations = request.app[OPERATIONS]
    remote, cookie = request.remote or "", request.cookies.get(COOKIE, "")
    caller, wanted = operations.door.who(remote, request.headers, cookie), wanted_scope(request)
    if isinstance(caller, Refusal):
        if wanted is None and caller.status == 401 and operations.door.tokens:
            return await handler(request)
        operations.count("http", caller.reason)
        return problem(caller.status, caller.text, _ASK_FOR_TOKEN if caller.status == 401 else None)
    if wanted is not None and not caller.scope.covers(wanted) and not await _asks_as_manager(request):
        operations.count("http", "change_refused")
        if operations.door.tokens and not caller.by_token:
            return problem(401, _NO_TOKEN.format(wanted), _ASK_FOR_TOKEN)
        by_address = None if operations.door.tokens else may_change(remote, request.headers)
        return problem(
            403, by_address or f"this needs a token of scope {wanted}, this one is a {caller.scope}'s"
        )
    if operations.not_kept and wanted is not None and request.method not in SAFE:
        return problem(503, f"{operations.not_kept}; nothing was changed")
    request[CALLER] = caller
    return await handler(request)


async def _asks_as_manager(request: web.Request) -> bool:
    """Without tokens managers know each other by the group's secret, or by their addresses: whoever is there
    may do all this anyway."""
    operations = request.app[OPERATIONS]
    if operations.door.tokens or not is_among_managers(request):
        return False
    if shown := request.headers.get(HEADER):
        body = await content_of(request) if request.method == "POST" else b""
        secret, wall = operations.core.config.secret, operations.core.group.wall(operations.now())
        if is_proof(shown, secret, request.method, request.path, body, wall):
            return True
    addresses = {member.address.host for member in operations.core.group.kin()}
    return is_at(request.remote or "", request.headers, addresses)


@web.middleware
async def _tag(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Mark what the API answers, and say 304 to whoever has it."""
    answer = await handler(request)
    if not (isinstance(answer, web.Response) and answer.status == 200 and request.method in ("GET", "HEAD")):
        return answer
    if request.path.startswith("/api/") and isinstance(answer.body, bytes):
        mark = answer.etag.value if answer.etag else blake2b(answer.body, digest_size=12).hexdigest()
        answer.etag = mark
        given = request.if_none_match or ()
        if any(tag.value in ("*", mark) for tag in given):
            return web.Response(status=304, headers={"ETag": f'"{mark}"'})
    return answer


@web.middleware
async def _write_down(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Remember every change that was carried out, and say it in the log."""
    answer = await handler(request)
    if CHANGE in request:
        operations = request.app[OPERATIONS]
        who, change = request[CALLER].who, request[CHANGE]
        log.info("audit: %s, by %s", change, who)
        await operations.note_change(who, change, answer.status)
    return answer


# The page


@routes.get("/")
async def page(request: web.Request) -> web.FileResponse:
    return _file("index.html")


@routes.get("/static/{name:.+}")
async def static(request: web.Request) -> web.FileResponse:
    name = request.match_info["name"]
    if name not in _FILES:
        raise web.HTTPNotFound
    return _file(name)


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
    core = request.app[OPERATIONS].core
    if core.going:
        return problem(503, "this manager is leaving the group")
    if core.fresh:
        return problem(503, "this manager has just started and does not know the group yet")
    return web.json_response({"status": "ready"})


@routes.get("/metrics")
async def metrics(request: web.Request) -> web.Response:
    operations = request.app[OPERATIONS]
    body, content_type = exposition(operations.core, operations.counts, operations.certificate_days_left)
    return web.Response(body=body, headers={"Content-Type": content_type})
