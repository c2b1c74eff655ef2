"""The API's answers that are put together from those of all managers."""

from typing import Any

from aiohttp import web

from manager import views
from manager.traffic import BYS, By
from manager.web.ask import ask_others
from manager.web.named import find_node
from manager.web.query import flag, known, number, one_of, whole
from manager.web.shared import OPERATIONS
from manager.web.stats import Series, Totals, added, columns, merged, series_in, totals_in
from manager.web.traffic import added as traffic_added
from manager.web.traffic import shown, traffic_in

STATS_STEPS_MAX = 10_000
"""Steps of all nodes in one answer, some 2 MB: the more steps, the fewer nodes on a page."""

routes = web.RouteTableDef()


@routes.get("/api/v1/stats")
async def stats(request: web.Request) -> web.Response:
    """What nodes reported, at any manager; `?local=1` asks only this one."""
    known(request, "from", "to", "step", "by", "node", "limit", "cursor", "local")
    asked = one_of(request, "by", BYS)
    for by in BYS:
        if by == asked:
            return await _traffic(request, by)
    operations = request.app[OPERATIONS]
    window = operations.core.stats
    now = operations.core.group.wall(operations.now())
    since = number(request, "from", now - window.window, 0, 1e12)
    until = number(request, "to", now, 0, 1e12)
    # No finer than what is kept.
    step = max(window.step, number(request, "step", window.step, 1, 1e6))
    steps = int(min(window.window, max(0.0, until - since)) / step) + 2
    most = max(1, STATS_STEPS_MAX // steps)
    limit = min(most, whole(request, "limit", most, 1, 100_000))
    after, only = request.query.get("cursor", ""), _node(request)
    own = window.view(now, since=since, until=until, step=step, after=after, count=limit + 1, only=only)
    if flag(request, "local"):
        managers, series, more = {"asked": 1, "answered": 1}, own, False
    else:
        # Our clock's times for all: theirs may differ.
        query = {"from": f"{since:.3f}", "to": f"{until:.3f}", "step": f"{step:g}", "limit": f"{limit}"}
        query |= {"cursor": after} if only is None else {"node": only}
        managers, answers = await ask_others(operations, "/api/v1/stats", query, series_in)
        series = merged([own, *(answer for answer, _ in answers.values())])
        more = any(theirs for _, theirs in answers.values())
    page: Series = dict(list(series.items())[:limit])
    return web.json_response(
        {
            "managers": managers,
            "window": window.window,
            "step": step,
            "nodes": page,
            "next": list(page)[-1] if page and (more or len(page) < len(series)) else None,
        }
    )


async def _traffic(request: web.Request, by: By) -> web.Response:
    """What gateways answered, with quantiles of all managers' buckets together."""
    operations = request.app[OPERATIONS]
    window = operations.core.traffic
    now = operations.core.group.wall(operations.now())
    node = _node(request)
    since = number(request, "from", now - window.window, 0, 1e12)
    until = number(request, "to", now, 0, 1e12)
    step = None
    if "step" in request.query:
        step = max(window.step, number(request, "step", window.step, 1, 1e6))
    steps = 1 if step is None else int(min(window.window, max(0.0, until - since)) / step) + 2
    limit = min(max(1, STATS_STEPS_MAX // steps), whole(request, "limit", 1_000, 1, 100_000))
    after = request.query.get("cursor", "")
    found = window.view(by, since=since, until=until, step=step, after=after, count=limit + 1, node=node)
    managers, more = {"asked": 1, "answered": 1}, len(found) > limit
    if not flag(request, "local"):
        query = {"by": by, "from": f"{since:.3f}", "to": f"{until:.3f}", "limit": f"{limit}", "cursor": after}
        query |= {} if step is None else {"step": f"{step:g}"}
        query |= {} if node is None else {"node": node}
        managers, answers = await ask_others(operations, "/api/v1/stats", query, traffic_in)
        found = traffic_added([found, *(answer for answer, _ in answers.values())])
        more = len(found) > limit or any(theirs for _, theirs in answers.values())
    page = dict(list(found.items())[:limit])
    return web.json_response(
        {
            "managers": managers,
            "by": by,
            "window": window.window,
            "step": window.step if step is None else step,
            "from": min(until, now, max(window.began, since - since % window.step)),
            "to": min(until, now),
            "traffic": shown(page),
            "next": list(page)[-1] if page and more else None,
        }
    )


def _node(request: web.Request) -> str | None:
    """Whose figures alone are asked for; those of nodes that nobody lists any more are still there."""
    if (word := request.query.get("node")) is None:
        return None
    try:
        return find_node(request.app[OPERATIONS].core, word).id
    except web.HTTPNotFound:
        return word


@routes.get("/api/v1/stats/totals")
async def totals(request: web.Request) -> web.Response:
    """By how much the counters of all nodes grew in each step of the window."""
    known(request, "local")
    operations = request.app[OPERATIONS]
    window = operations.core.stats
    own = window.totals(operations.core.group.wall(operations.now()))
    managers = {"asked": 1, "answered": 1}
    others: dict[str, Totals] = {}
    if not flag(request, "local"):
        managers, others = await ask_others(operations, "/api/v1/stats/totals", {}, totals_in)
    found = columns(added([own, *others.values()]))
    return web.json_response({"managers": managers, "step": window.step, **found})


@routes.get("/api/v1/group")
async def group(request: web.Request) -> web.Response:
    """How each manager sees the others."""
    known(request, "local")
    operations = request.app[OPERATIONS]
    own = views.group_view(operations.core)
    if flag(request, "local"):
        return web.json_response(
            {"managers": {"asked": 1, "answered": 1}, "views": {operations.core.name: own}}
        )
    managers, answers = await ask_others(operations, "/api/v1/group", {}, _views_in)
    found: dict[str, Any] = {operations.core.name: own}
    for name, answer in answers.items():
        found |= {name: answer[name]} if name in answer else {}
    return web.json_response({"managers": managers, "views": {name: found[name] for name in sorted(found)}})


def _views_in(answer: object) -> dict[str, Any]:
    match answer:
        case {"views": dict(found)} if found and all(_is_view(view) for view in found.values()):
            return found
        case _:
            raise ValueError("not an answer about the group")


def _is_view(view: object) -> bool:
    match view:
        case {"health": int(), "page": int(), "copies": dict(), "sees": dict(sees)}:
            return all(
                isinstance(seen, dict) and isinstance(seen.get("state"), str) for seen in sees.values()
            )
        case _:
            return False


@routes.get("/api/v1/audit")
async def audit(request: web.Request) -> web.Response:
    """Changes that were asked for over HTTP, newest first; with `?local=1` at this manager."""
    known(request, "local", "limit")
    operations, limit = request.app[OPERATIONS], whole(request, "limit", 100, 1, 1_000)
    own = views.audit_view(operations.core, limit)
    managers = {"asked": 1, "answered": 1}
    if not flag(request, "local"):
        managers, answers = await ask_others(operations, "/api/v1/audit", {"limit": str(limit)}, _changes_in)
        own += [change for answer in answers.values() for change in answer]
    own.sort(key=lambda change: change["at"], reverse=True)
    return web.json_response({"managers": managers, "changes": own[:limit]})


def _changes_in(answer: object) -> list[dict[str, Any]]:
    match answer:
        case {"changes": list(changes)} if all(
            isinstance(change, dict) and isinstance(change.get("at"), str) for change in changes
        ):
            return changes
        case _:
            raise ValueError("not an answer about changes")
