"""What an operator changes. Each handler says in `request[CHANGE]` what it has done, for the audit log."""

import asyncio
import re

from aiohttp import web

from manager import views
from manager.config.limits import LimitSettings, Unfit, read_limit
from manager.disk.store import StoreError
from manager.limits.sharing import Sharing
from manager.rollout.orders import Action, OrderError
from manager.seats.vouching import RightsError
from manager.subscription.documents import MAX_NODES_MAX, DocumentError
from manager.subscription.settling import behind
from manager.web.named import find_node
from manager.web.operations import Operations
from manager.web.problems import no_limit, problem
from manager.web.query import json_object
from manager.web.shared import CALLER, CHANGE, OPERATIONS

routes = web.RouteTableDef()

_ACTED_ON_WITHIN = 2.0
"""Seconds that the answer to a changed cap waits for the other managers; it says what is missing then."""
_LOOK_EVERY = 0.05


@routes.patch("/api/v1/subscription")
async def set_subscription(request: web.Request) -> web.Response:
    """`{"max_nodes": N}`: in force at once, on every manager."""
    operations = request.app[OPERATIONS]
    max_nodes = (await json_object(request, {"max_nodes"})).get("max_nodes")
    if isinstance(max_nodes, float) and max_nodes.is_integer():
        max_nodes = int(max_nodes)  # JSON has one kind of number
    if not isinstance(max_nodes, int) or isinstance(max_nodes, bool) or not 0 <= max_nodes <= MAX_NODES_MAX:
        return problem(400, f"max_nodes must be a whole number from 0 to {MAX_NODES_MAX}")
    former = operations.core.max_nodes
    try:
        await operations.set_max_nodes(max_nodes)
    except DocumentError as error:
        return problem(409, str(error))
    request[CHANGE] = f"subscription: max_nodes from {'none' if former is None else former} to {max_nodes}"
    await _acted_on(operations)
    return web.json_response(views.subscription_view(operations.core, operations.now()))


@routes.put("/api/v1/subscription/document")
async def install_subscription(request: web.Request) -> web.Response:
    """`{"document": TEXT}`: a signed subscription, in force at once, on every manager."""
    operations = request.app[OPERATIONS]
    text = (await json_object(request, {"document"})).get("document")
    if not isinstance(text, str):
        return problem(400, "document must be the text of a signed subscription")
    before = operations.core.subscription.document
    try:
        await operations.install(text, f"an operator's document, installed by {request.remote}")
    except DocumentError as error:
        return problem(409, str(error))
    document = operations.core.subscription.document
    if document is not before:
        request[CHANGE] = f"subscription: installed serial {document.serial if document else 0}"
        await _acted_on(operations)
    return web.json_response(views.subscription_view(operations.core, operations.now()))


async def _acted_on(operations: Operations) -> None:
    """Return when all managers have done what the present cap asks of them, or have had their time."""
    for _ in range(round(_ACTED_ON_WITHIN / _LOOK_EVERY)):
        if not behind(operations.core, operations.now()):
            return
        await asyncio.sleep(_LOOK_EVERY)


@routes.post("/api/v1/subscription/check")
async def check_subscription(request: web.Request) -> web.Response:
    """The issuer's URL is asked at once; what it answers is in force when it has come."""
    await json_object(request, set())
    try:
        request.app[OPERATIONS].ask_issuer()
    except DocumentError as error:
        return problem(409, str(error))
    request[CHANGE] = "subscription: the issuer is asked"
    return web.json_response({"status": "asked"}, status=202)


@routes.patch("/api/v1/limits/{name}")
async def set_limit(request: web.Request) -> web.Response:
    """Keys of a limit: those that are left out stay, or have their defaults in a new one."""
    operations, name = request.app[OPERATIONS], request.match_info["name"]
    core = operations.core
    given = await json_object(request, set(LimitSettings.model_fields))
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.:-]{0,99}", name):
        return problem(400, "a limit's name must be 1 to 100 letters, digits, `.`, `_`, `:` or `-`")
    if name not in core.limits and "max_rate" not in given:
        return no_limit(name, core.limits, " (a new one needs max_rate)")
    before = views.cluster_limit_view(core, name) if name in core.limits else {}
    for key, value in given.items():
        # What a file has as text, JSON has as what it is.
        wanted = {"per_client": "true or false", "algorithm": "text"}.get(key, "a number")
        if (key, value) != ("safe", None) and _kind(value) != wanted:
            return problem(400, f"{key} must be {wanted}")
    try:
        limit, sharing = read_limit({**before, **given})
    except Unfit as error:
        return problem(409, str(error))
    except ValueError as error:
        return problem(400, str(error))
    try:
        await operations.set_limit(name, limit, sharing)
    except ValueError as error:
        return problem(409, f"all limits together {error}")
    request[CHANGE] = f"limits: {name} is {limit.max_rate:g} per {limit.every:g} s, {sharing.algorithm}"
    return web.json_response(views.cluster_limits_view(core))


def _kind(value: object) -> str:
    match value:
        case bool():
            return "true or false"
        case str():
            return "text"
        case int() | float():
            return "a number"
        case _:
            return "something else"


@routes.delete("/api/v1/limits/{name}")
async def remove_limit(request: web.Request) -> web.Response:
    """Gateways are told that there is no such limit any more."""
    operations, name = request.app[OPERATIONS], request.match_info["name"]
    await json_object(request, set())
    if name not in operations.core.limits:
        return no_limit(name, operations.core.limits)
    await operations.set_limit(name, None, Sharing())
    request[CHANGE] = f"limits: {name} is removed"
    return web.json_response(views.cluster_limits_view(operations.core))


@routes.post("/api/v1/group/founders/expel")
async def expel(request: web.Request) -> web.Response:
    """`{"name": FOUNDER}`: its process runs nowhere, and never will; its rights go to the heir."""
    operations = request.app[OPERATIONS]
    name = (await json_object(request, {"name"})).get("name")
    if not isinstance(name, str):
        return problem(400, "name must be that of a founder")
    try:
        await operations.expel(name)
    except RightsError as error:
        return problem(409, str(error))
    request[CHANGE] = f"founder {name} is expelled"
    return web.json_response(views.founders_view(operations.core))


@routes.delete("/api/v1/nodes/{id}")
async def forget(request: web.Request) -> web.Response:
    """The node runs nowhere, and will not start again from its state: its seat is free at once."""
    operations = request.app[OPERATIONS]
    await json_object(request, set())
    try:
        id_ = await _forget(operations, request.match_info["id"])
    except RightsError as error:
        return problem(409, str(error))
    request[CHANGE] = f"node {id_} is forgotten"
    return web.json_response({"status": "forgotten", "id": id_})


async def _forget(operations: Operations, word: str) -> str:
    """The id of what is forgotten: also one that is no node any more, but has a seat at some founder."""
    try:
        await operations.forget_node(word)
        return word
    except KeyError:
        id_ = find_node(operations.core, word, running=False).id
    await operations.forget_node(id_)
    return id_


@routes.post("/api/v1/nodes/{id}/drain")
async def drain(request: web.Request) -> web.Response:
    """No traffic from now on; it is `drained` when the gateway has had time to be rid of what it had."""
    return await _order(request, Action.DRAIN)


@routes.post("/api/v1/nodes/{id}/cordon")
async def cordon(request: web.Request) -> web.Response:
    """No traffic from now on."""
    return await _order(request, Action.CORDON)


@routes.post("/api/v1/nodes/{id}/uncordon")
async def uncordon(request: web.Request) -> web.Response:
    """Traffic again."""
    return await _order(request, Action.UNCORDON)


@routes.post("/api/v1/nodes/{id}/restart")
async def restart(request: web.Request) -> web.Response:
    """Drain, restart the gateway, and let it have traffic again, when it has got a turn."""
    return await _order(request, Action.RESTART)


async def _order(request: web.Request, action: Action) -> web.Response:
    operations = request.app[OPERATIONS]
    await json_object(request, set())
    id_ = find_node(operations.core, request.match_info["id"]).id
    try:
        order = await operations.order_node(id_, action, request[CALLER].who)
    except OrderError as error:
        return problem(409, f"{id_}: {error}")
    request[CHANGE] = f"node {id_}: {action.value} (order {order.serial})"
    view = operations.core.registry.view(id_)
    node = {} if view is None else views.node_view(operations.core, view)
    answer = {"action": action.value, "serial": order.serial, "writer": operations.core.name, "node": node}
    return web.json_response(answer, status=202)


@routes.post("/api/v1/leave")
async def leave(request: web.Request) -> web.Response:
    """`{"for_good": true}`: nodes move, the manager leaves the group, and its process ends."""
    operations = request.app[OPERATIONS]
    for_good = (await json_object(request, {"for_good"})).get("for_good", False)
    if not isinstance(for_good, bool):
        return problem(400, "for_good must be true or false")
    if operations.core.going:
        return problem(409, "this manager is already leaving the group")
    operations.leave(for_good=for_good)
    request[CHANGE] = "this manager leaves the group" + (" for good" if for_good else "")
    return web.json_response({"status": "leaving", "for_good": for_good}, status=202)


@routes.post("/api/v1/snapshot")
async def snapshot(request: web.Request) -> web.Response:
    """This manager's state as a file, which `kcm snapshot restore` takes."""
    operations = request.app[OPERATIONS]
    await json_object(request, set())
    try:
        content = await operations.snapshot()
    except StoreError as error:
        return problem(503, str(error))
    if content is None:
        return problem(409, "this manager keeps nothing on disk: start it with --state-dir")
    request[CHANGE] = "a snapshot of this manager's state was taken"
    return web.Response(body=content, content_type="application/octet-stream")
