"""Would a gateway run with a configuration? Asked of whichever manager a node of its kind is connected to."""

from collections.abc import Iterator

import aiohttp
from aiohttp import web

from manager import views
from manager.rollout.plan import PlanError
from manager.web.operations import Operations
from manager.web.peers import headers_for
from manager.web.problems import problem
from manager.web.query import known
from manager.web.shared import OPERATIONS
from manager.web.uploads import content_of

ASK_SECONDS_MAX = 70.0
"""Another manager waits for up to a minute for its node's answer."""

routes = web.RouteTableDef()


@routes.post("/api/v1/trials/{kind}")
async def trial(request: web.Request) -> web.Response:
    """The body is checked by a gateway that is connected here: for the other managers."""
    content = await content_of(request)
    known(request)
    operations = request.app[OPERATIONS]
    try:
        done = await operations.try_config(request.match_info["kind"], content)
    except PlanError as error:
        return problem(409, str(error))
    answer = {"valid": not done.error, "node": done.node, "error": done.error}
    return web.json_response({**answer, "manager": operations.core.name})


async def tried(operations: Operations, kind: str, content: bytes) -> dict[str, object]:
    """What a gateway of `kind` says, wherever it is: `{"valid", "node", "error", "manager"}`.

    Raises `PlanError` where none can be asked.
    """
    core, whys = operations.core, []
    if core.rollouts.can_try(kind):
        done = await operations.try_config(kind, content)
        return {"valid": not done.error, "node": done.node, "error": done.error, "manager": core.name}
    for name, url in _elsewhere(operations, kind):
        try:
            return await _ask(operations, url, f"/api/v1/trials/{kind}", content)
        except PlanError as error:
            whys.append(f"manager {name}: {error}")
    if whys:
        raise PlanError("; ".join(whys))
    raise PlanError(
        f"not checked: no {kind} is connected whose agent takes configurations, to any manager that is "
        "reached from here: `kcm nodes` shows who is, and an agent takes them where `gateway.config` is set"
    )


def _elsewhere(operations: Operations, kind: str) -> Iterator[tuple[str, str]]:
    """The other managers that a node of the kind is connected to, with their base URLs."""
    others = views.other_managers(operations.core, "http" if operations.to_peers is None else "https")
    for name in operations.core.rollouts.standings.managers_of(kind):
        if name in others:
            yield name, others[name]


async def _ask(operations: Operations, url: str, path: str, content: bytes) -> dict[str, object]:
    proof = headers_for(operations, "POST", path, content)
    try:
        async with operations.http.post(
            url + path,
            data=content,
            headers={"Content-Type": "application/octet-stream", **proof},
            timeout=aiohttp.ClientTimeout(total=ASK_SECONDS_MAX),
            allow_redirects=False,
            ssl=operations.to_peers or True,
        ) as answer:
            # Errors are `application/problem+json`.
            match await answer.json(content_type=None):
                case {"valid": bool(), "node": str(), "error": str(), "manager": str()} as found:
                    return {name: found[name] for name in ("valid", "node", "error", "manager")}
                case {"detail": str(why)}:
                    raise PlanError(why)
                case _:
                    raise PlanError("it does not answer as a manager of this version does")
    except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError) as error:
        raise PlanError(f"it does not answer ({error or 'too late'})") from None
