"""Reads what a request asks for; raises the 400 that names what makes no sense."""

import asyncio
import json
from math import isfinite
from typing import Any

from aiohttp import web

BODY_SECONDS_MAX = 10.0
"""A JSON body that is not here by then is not waited for."""


def known(request: web.Request, *names: str) -> None:
    """Refuse a parameter that is none of `names`: a typo would silently be no filter."""
    for name in request.query:
        if name not in names:
            takes = ", ".join(names) or "none"
            raise web.HTTPBadRequest(text=f"there is no parameter {name[:100]!r} here; known: {takes}")
        if len(request.query.getall(name)) > 1:
            raise web.HTTPBadRequest(text=f"{name} is given more than once")


def whole(request: web.Request, name: str, default: int, low: int, high: int) -> int:
    """The whole number `name`."""
    text = request.query.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high:
        return int(text)
    raise web.HTTPBadRequest(text=f"{name} must be a whole number from {low} to {high}")


def number(request: web.Request, name: str, default: float, low: float, high: float) -> float:
    """The number `name`."""
    text = request.query.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if isfinite(value) and low <= value <= high:
        return value
    raise web.HTTPBadRequest(text=f"{name} must be a number from {low:g} to {high:g}")


def one_of(request: web.Request, name: str, choices: tuple[str, ...]) -> str | None:
    """The word `name`; None where it is not given."""
    text = request.query.get(name)
    if text is None or text in choices:
        return text
    raise web.HTTPBadRequest(text=f"{name} must be one of {', '.join(choices)}")


def flag(request: web.Request, name: str) -> bool:
    """Whether `name` is 1."""
    return one_of(request, name, ("0", "1")) == "1"


async def json_object(request: web.Request, fields: set[str]) -> dict[str, Any]:
    """The object in the body, with no other fields; raises the answer where there is none."""
    known(request)
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="send a JSON object with Content-Type: application/json")
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            content = await request.read()
        body = json.loads(content, object_pairs_hook=_once_each)
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"the body was not here within {BODY_SECONDS_MAX:g} s") from None
    except (ValueError, RecursionError) as error:
        raise web.HTTPBadRequest(text=f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="the body must be a JSON object")
    unknown = sorted(body.keys() - fields)
    if unknown:
        takes = ", ".join(sorted(fields)) or "none"
        raise web.HTTPBadRequest(text=f"unknown field {unknown[0][:100]!r}; known: {takes}")
    return body


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field stands twice")
    return fields
