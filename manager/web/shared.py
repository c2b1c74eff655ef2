"""What handlers find in the application."""

import asyncio
from collections import deque
from typing import Any

from aiohttp import web

from manager.doors import Caller
from manager.web.operations import Operations

AUDIT_MAX = 1_000
"""Changes that are remembered; the oldest goes first."""
OPERATIONS = web.AppKey("operations", Operations)
STARTED = web.AppKey("started", float)
AUDIT = web.AppKey[deque[dict[str, Any]]]("audit")
STREAMS = web.AppKey[set[asyncio.Task[Any]]]("streams")
"""Live event streams that are open."""
CALLER = web.RequestKey("caller", Caller)
"""Who asks."""
CHANGE = web.RequestKey("change", str)
"""A handler's words, on its request, for what it changed: what the audit log says."""
