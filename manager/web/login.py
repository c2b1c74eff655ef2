"""How a browser shows a token: in a cookie that no script sees and that no other site's page can send."""

from aiohttp import web

from manager.tokens import find_token
from manager.web.problems import problem
from manager.web.query import json_object
from manager.web.shared import OPERATIONS

COOKIE = "kcm_token"

routes = web.RouteTableDef()


@routes.post("/api/v1/session")
async def log_in(request: web.Request) -> web.Response:
    """`{"token": TOKEN}`: this browser shows it from now on."""
    operations = request.app[OPERATIONS]
    token = (await json_object(request, {"token"})).get("token")
    found = find_token(token, operations.door.tokens) if isinstance(token, str) else None
    if found is None or not isinstance(token, str):
        operations.count("http", "bad_token")
        return problem(401, "this token is not known here: see http.tokens", {"WWW-Authenticate": "Bearer"})
    answer = web.json_response({"name": found.name, "scope": found.scope})
    answer.set_cookie(COOKIE, token, httponly=True, samesite="Strict", secure=request.secure, path="/")
    return answer


@routes.delete("/api/v1/session")
async def log_out(request: web.Request) -> web.Response:
    """This browser shows it no longer."""
    await json_object(request, set())
    answer = web.json_response({"status": "logged out"})
    answer.del_cookie(COOKIE, path="/")
    return answer
