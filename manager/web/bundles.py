"""Bundles for new nodes, over HTTP."""

from aiohttp import web

from manager.cli.bundles import VALID_DAYS, VALID_DAYS_MAX, CannotBundle, make_bundle, signing_key
from manager.rollout.plan import KINDS
from manager.views import rfc3339
from manager.web.problems import problem
from manager.web.query import known, one_of, whole
from manager.web.shared import OPERATIONS
from node.jws import public_text

routes = web.RouteTableDef()


@routes.get("/api/v1/bundle")
async def bundle(request: web.Request) -> web.Response:
    """Signed; with the configuration of `?kind=`, valid for `?days=`."""
    known(request, "kind", "days")
    operations = request.app[OPERATIONS]
    kind, days = one_of(request, "kind", KINDS) or "", whole(request, "days", VALID_DAYS, 1, VALID_DAYS_MAX)
    try:
        key = signing_key(operations.core.config.secret)
        made = make_bundle(operations.core, kind, days * 86400.0, operations.now())
    except CannotBundle as error:
        return problem(409, str(error))
    answer = {"bundle": made.signed(key), "key": public_text(key), "expires": rfc3339(made.expires)}
    return web.json_response(answer)
