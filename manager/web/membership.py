"""Who belongs to the group, by an operator's word."""

from aiohttp import web

from gossip.errors import ForceLeaveRefused
from manager import views
from manager.web.problems import problem
from manager.web.query import json_object
from manager.web.shared import CALLER, CHANGE, OPERATIONS

routes = web.RouteTableDef()


@routes.post("/api/v1/force-leave")
async def force_leave(request: web.Request) -> web.Response:
    """`{"name": MEMBER, "prune": BOOL}`: it is dead and not expected back; pruned, not listed either."""
    operations = request.app[OPERATIONS]
    body = await json_object(request, {"name", "prune"})
    name, prune = body.get("name"), body.get("prune", False)
    if not isinstance(name, str):
        return problem(400, "name must be that of a member")
    if not isinstance(prune, bool):
        return problem(400, "prune must be true or false")
    try:
        await operations.force_leave(name, request[CALLER].who, prune=prune)
    except KeyError:
        return problem(404, f"no member is called {name[:100]!r}; GET /api/v1/members lists them")
    except ForceLeaveRefused as error:
        return problem(409, str(error))
    request[CHANGE] = f"member {name} is declared gone" + (", and no longer listed" if prune else "")
    return web.json_response(views.members_view(operations.core))
