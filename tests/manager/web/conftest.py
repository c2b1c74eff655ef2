"""The API of a manager that `running`, a fixture of each file, has."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from manager.web.app import create_app
from tests.manager.running import Running


@pytest.fixture
async def client(running: Running) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    async with TestClient(TestServer(create_app(running))) as client:
        yield client
