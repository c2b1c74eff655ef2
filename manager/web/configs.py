"""Gateway configurations and their rollouts over HTTP."""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import Any, cast

import aiohttp
from aiohttp import web

from manager.records import Setting
from manager.rollout.configs import Manner
from manager.rollout.plan import (
    KINDS,
    P95_MARGIN_MAX,
    PAUSE_MAX,
    UNAVAILABLE_MAX,
    Plan,
    PlanError,
    read_waves,
)
from manager.rollout.views import config_view, configs_view
from manager.web.operations import Operations
from manager.web.peers import headers_for
from manager.web.problems import problem
from manager.web.query import flag, json_object, known
from manager.web.shared import CALLER, CHANGE, OPERATIONS
from manager.web.trials import tried
from manager.web.uploads import content_of, read_bounded

FETCH_SECONDS_MAX = 30.0
_ACTIONS = ("pause", "resume", "promote", "abort")
_MANNER = ("waves", "max_unavailable", "pause", "error_margin", "p95_margin", "heal")

routes = web.RouteTableDef()


@routes.get("/api/v1/config")
async def configs(request: web.Request) -> web.Response:
    known(request)
    return web.json_response(configs_view(request.app[OPERATIONS].core))


@routes.get("/api/v1/config/{kind}")
async def config(request: web.Request) -> web.Response:
    known(request)
    setting, plan = _existing(request)
    view = config_view(request.app[OPERATIONS].core, request.match_info["kind"], setting, plan)
    return web.json_response(view, headers={"ETag": _etag(setting)})


@routes.get("/api/v1/config/{kind}/versions/{version}")
async def version(request: web.Request) -> web.Response:
    """The configuration itself."""
    known(request)
    _, plan = _existing(request)
    text = request.match_info["version"]
    found = plan.version(int(text)) if text.isdecimal() and len(text) < 10 else None
    if found is None:
        return problem(404, f"there is no version {text[:20]!r}; GET /api/v1/config/KIND lists them")
    content = request.app[OPERATIONS].core.configs.content(found.sha256)
    if content is None:
        return problem(503, f"this manager has not got version {found.number} yet: ask another, or try again")
    return web.Response(body=content, content_type="application/octet-stream")


@routes.put("/api/v1/config/{kind}")
async def push(request: web.Request) -> web.Response:
    """The body, in waves to all gateways of the kind; with `?dry_run=1` one only checks it."""
    operations, kind, query = request.app[OPERATIONS], request.match_info["kind"], request.query
    content = await content_of(request)
    known(request, *_MANNER, "force", "dry_run")
    force, dry_run = flag(request, "force"), flag(request, "dry_run")
    try:
        manner = _manner(_of_query(query))
    except ValueError as error:
        return problem(400, str(error))
    found = operations.core.configs.get(kind)
    if (wanted := request.headers.get("If-Match")) is not None:
        present = "" if found is None else _etag(found[0])
        if wanted not in ("*", present) or found is None:
            return problem(412, "the configuration has changed meanwhile: look at it again, then push")
    try:
        operations.core.configs.check(kind, content, force=force)
        if dry_run:
            return web.json_response(await tried(operations, kind, content))
        await operations.push_config(kind, content, _by(request), manner, force=force)
    except PlanError as error:
        return problem(409, str(error))
    return _answer(request, "pushed")


@routes.post("/api/v1/config/{kind}/rollback")
async def roll_back(request: web.Request) -> web.Response:
    """`{"version": N}`, without it: the version before the present one."""
    body = await json_object(request, {*_MANNER, "version"})
    try:
        number = _number("version", body["version"], 1, 2**31, whole=True) if "version" in body else None
        manner = _manner(body)
    except ValueError as error:
        return problem(400, str(error))
    try:
        await request.app[OPERATIONS].roll_back_config(
            request.match_info["kind"], None if number is None else int(number), _by(request), manner
        )
    except PlanError as error:
        return problem(409, str(error))
    return _answer(request, "back to it")


@routes.get("/api/v1/rollouts")
async def rollouts(request: web.Request) -> web.Response:
    known(request)
    views = configs_view(request.app[OPERATIONS].core)["configs"]
    return web.json_response({"rollouts": views})


@routes.post("/api/v1/rollouts/{kind}")
async def steer(request: web.Request) -> web.Response:
    """`{"action": "pause" | "resume" | "promote" | "abort"}`."""
    action = (await json_object(request, {"action"})).get("action")
    if action not in _ACTIONS:
        return problem(400, f"action must be one of {', '.join(_ACTIONS)}")
    try:
        await request.app[OPERATIONS].steer_rollout(request.match_info["kind"], action, _by(request))
    except PlanError as error:
        return problem(409, str(error))
    return _answer(request, str(action))


@routes.get("/api/v1/contents/{sha256}")
async def content(request: web.Request) -> web.Response:
    """What has this hash: for the other managers."""
    known(request)
    found = request.app[OPERATIONS].core.configs.content(request.match_info["sha256"])
    if found is None:
        return problem(404, "no configuration that is kept here has this SHA-256")
    return web.Response(body=found, content_type="application/octet-stream")


async def fetch_content(
    operations: Operations, managers: Iterable[str], hash_: str, size: int
) -> bytes | None:
    """What has this hash, from the first of `managers` (base URLs) that gives it; None if none does."""
    path = f"/api/v1/contents/{hash_}"
    timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS_MAX)
    for url in managers:
        try:
            async with operations.http.get(
                url + path,
                headers=headers_for(operations, "GET", path),
                timeout=timeout,
                raise_for_status=True,
                allow_redirects=False,
                ssl=operations.to_peers or True,
            ) as answer:
                found = await read_bounded(answer.content, size)
        except (aiohttp.ClientError, TimeoutError):
            continue
        if found is not None and sha256(found).hexdigest() == hash_:
            return found
    return None


def _existing(request: web.Request) -> tuple[Setting, Plan]:
    kind = request.match_info["kind"]
    found = request.app[OPERATIONS].core.configs.get(kind) if kind in KINDS else None
    if found is None:
        raise web.HTTPNotFound(text=f"no configuration for {kind[:40]!r} was pushed yet")
    return found


def _answer(request: web.Request, change: str) -> web.Response:
    setting, plan = _existing(request)
    kind = request.match_info["kind"]
    request[CHANGE] = f"configuration for {kind}, version {plan.target}: {change}"
    view = config_view(request.app[OPERATIONS].core, kind, setting, plan)
    return web.json_response(view, headers={"ETag": _etag(setting)})


def _etag(setting: Setting) -> str:
    return f'"{setting.serial}-{sha256(setting.pack()).hexdigest()[:12]}"'


def _by(request: web.Request) -> str:
    return request[CALLER].who


def _of_query(query: Mapping[str, str]) -> dict[str, object]:
    """A query's texts as JSON would have them; what is none stays a text, which is refused by its name."""
    given: dict[str, object] = {name: query[name] for name in _MANNER if name in query}
    for name, text in query.items():
        if name == "heal" and text in ("0", "1"):
            given[name] = text == "1"
        elif name in ("max_unavailable", "pause", "error_margin", "p95_margin"):
            with contextlib.suppress(ValueError):
                given[name] = float(text)
    return given


def _manner(given: Mapping[str, object]) -> Manner:
    """What is said about the rollout; raises `ValueError` that names the parameter."""
    readers: dict[str, Callable[[object], Any]] = {
        "waves": read_waves,
        "max_unavailable": lambda value: _number("max_unavailable", value, 1, UNAVAILABLE_MAX, whole=True),
        "pause": lambda value: float(_number("pause", value, 0, PAUSE_MAX)),
        "error_margin": lambda value: float(_number("error_margin", value, 0, 1, of="a number")),
        "p95_margin": lambda value: float(_number("p95_margin", value, 0, P95_MARGIN_MAX, of="a number")),
        "heal": _flag,
    }
    return Manner(**{name: read(given[name]) for name, read in readers.items() if name in given})


def _number(
    name: str,
    value: object,
    low: float,
    high: float,
    *,
    whole: bool = False,
    of: str = "a number of seconds",
) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    if not good or (whole and value != int(cast("float", value))):
        what = "a whole number" if whole else of
        raise ValueError(f"{name} must be {what} from {low:g} to {high:g}")
    return int(cast("float", value)) if whole else cast("float", value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("heal must be 0 or 1 in a query, true or false in a body")
    return value
