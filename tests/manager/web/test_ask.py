"""Managers ask each other by TLS: a certificate of another name is no answer, and is counted."""

from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from manager.tls import Certificate
from manager.web.ask import ask_others
from node.tls import to_managers
from tests.authority import Authority
from tests.manager.running import Running


@pytest.mark.parametrize(("name", "answered"), [("127.0.0.1", 2), ("127.0.0.9", 1)])
async def test_a_manager_whose_certificate_is_for_another_name_is_not_believed(
    tmp_path: Path, name: str, answered: int
) -> None:
    async def stats(request: web.Request) -> web.Response:
        return web.json_response({})

    authority, app = Authority(tmp_path), web.Application()
    app.router.add_get("/api/v1/stats", stats)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=Certificate(*map(str, authority.issue("m2", name))).context)
    async with ClientSession() as http:
        running = Running(http=http)
        running.to_peers = to_managers(str(authority.ca))
        tags = {"kcm": "1", "kcm_group": "blue", "kcm_http": str(server.port)}
        running.meets("m2", "127.0.0.1", tags)
        managers, answers = await ask_others(running, "/api/v1/stats", {}, lambda answer: answer)
    await server.close()
    assert (managers, len(answers)) == ({"asked": 2, "answered": answered}, answered - 1)
    assert running.counts["tls", "peer_not_believed"] == 2 - answered
