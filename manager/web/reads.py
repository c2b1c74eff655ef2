"""What the API tells of this manager and of the state that all of them share."""

from aiohttp import web

from manager import views
from manager.version import installed_version
from manager.web.metrics import SHOWN
from manager.web.named import find_node
from manager.web.openapi import document
from manager.web.problems import no_limit
from manager.web.query import known, one_of, whole
from manager.web.shared import OPERATIONS, STARTED

routes = web.RouteTableDef()


@routes.get("/api/v1/info")
async def info(request: web.Request) -> web.Response:
    known(request)
    operations = request.app[OPERATIONS]
    up_for = operations.now() - request.app[STARTED]
    return web.json_response(views.info_view(operations.core, installed_version(), up_for))


@routes.get("/api/v1/members")
async def members(request: web.Request) -> web.Response:
    known(request)
    return web.json_response(views.members_view(request.app[OPERATIONS].core))


@routes.get("/api/v1/group/founders")
async def founders(request: web.Request) -> web.Response:
    """Over whom the seats are divided, under policy `strict`."""
    known(request)
    return web.json_response(views.founders_view(request.app[OPERATIONS].core))


@routes.get("/api/v1/nodes")
async def nodes(request: web.Request) -> web.Response:
    """All of them, or `?limit=` of them from `cursor` on."""
    known(request, "state", "limit", "cursor")
    core, count = request.app[OPERATIONS].core, None
    if "limit" in request.query:
        count = whole(request, "limit", 0, 1, 100_000)
    state = one_of(request, "state", tuple(state.value for state in SHOWN))
    after = request.query.get("cursor", "")
    return web.json_response(views.nodes_view(core, after=after, count=count, state=state))


@routes.get("/api/v1/nodes/{id}")
async def node(request: web.Request) -> web.Response:
    known(request)
    core = request.app[OPERATIONS].core
    return web.json_response(views.node_view(core, find_node(core, request.match_info["id"])))


@routes.get("/api/v1/limits")
async def limits(request: web.Request) -> web.Response:
    known(request)
    return web.json_response(views.cluster_limits_view(request.app[OPERATIONS].core))


@routes.get("/api/v1/limits/{name}/shares")
async def shares(request: web.Request) -> web.Response:
    """Who may use how much of one limit, as this manager knows it."""
    known(request)
    operations, name = request.app[OPERATIONS], request.match_info["name"]
    if name not in operations.core.limits:
        return no_limit(name, operations.core.limits)
    return web.json_response(views.shares_view(operations.core, name, operations.now()))


@routes.get("/api/v1/subscription")
async def subscription(request: web.Request) -> web.Response:
    known(request)
    operations = request.app[OPERATIONS]
    return web.json_response(views.subscription_view(operations.core, operations.now()))


@routes.get("/api/v1/subscription/history")
async def subscription_history(request: web.Request) -> web.Response:
    """The signed documents that are still known."""
    known(request)
    return web.json_response(views.subscription_history_view(request.app[OPERATIONS].core))


@routes.get("/api/v1/subscription/usage")
async def subscription_usage(request: web.Request) -> web.Response:
    """Seats and states over the window, as this manager saw them."""
    known(request)
    return web.json_response(views.usage_view(request.app[OPERATIONS].core))


@routes.get("/api/v1/openapi.json")
async def openapi(request: web.Request) -> web.Response:
    """What this API is, for programs."""
    known(request)
    return web.json_response(document())
