"""The keys under which handlers find things in the application and in a request."""

import asyncio
from typing import Any

from aiohttp import web

from manager.doors import Caller
from manager.web.operations import Operations

OPERATIONS = web.AppKey("operations", Operations)
STARTED = web.AppKey("started", float)
STREAMS = web.AppKey[set[asyncio.Task[Any]]]("streams")
"""Live event streams that are open."""
CALLER = web.RequestKey("caller", Caller)
"""Who asks."""
CONTENT = web.RequestKey("content", bytes)
"""A configuration that was its body."""
CHANGE = web.RequestKey("change", str)
"""A handler's words, on its request, for what it changed: what the audit log says."""
