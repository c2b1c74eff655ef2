"""The keys of the group over HTTP: for this host only, and no answer tells one."""

from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from gossip.wire import Keyring, fingerprint, key_text
from manager.web.app import create_app
from tests.manager.running import Running

KEY, OTHER = bytes(range(32)), bytes(range(32, 64))


async def asks(manager: Running, method: str, **options: Any) -> tuple[int, Any, str]:
    async with TestClient(TestServer(create_app(manager))) as client:
        answer = await client.request(method, "/api/v1/keys", **options)
        return answer.status, await answer.json(content_type=None), await answer.text()


async def test_keys_are_listed_by_fingerprint() -> None:
    status, answer, text = await asks(Running(keyring=Keyring([KEY, OTHER])), "GET")
    assert status == 200
    assert answer == {
        "keys": [
            {"fingerprint": fingerprint(KEY), "in_use": ["m1"], "installed": ["m1"]},
            {"fingerprint": fingerprint(OTHER), "in_use": [], "installed": ["m1"]},
        ],
        "members": 1,
        "missing": [],
    }
    assert key_text(KEY) not in text


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_keys_are_not_shown_or_changed_through_a_proxy(method: str) -> None:
    manager = Running(keyring=Keyring([KEY]))
    status, _, _ = await asks(manager, method, headers={"Via": "a proxy"}, json={"key": key_text(OTHER)})
    assert status == 403
    assert manager.counts["http", "change_refused"] == 1


@pytest.mark.parametrize(
    ("method", "body", "status"),
    [
        ("POST", {}, 400),
        ("POST", {"key": 7}, 400),
        ("POST", {"key": "x" * 101}, 400),
        ("PUT", {"key": "x", "without": "m3"}, 400),
        ("PUT", {"key": "x", "force": True}, 400),
        ("POST", {"key": key_text(OTHER)}, 409),
    ],
)
async def test_what_is_refused_repeats_no_key(method: str, body: dict[str, Any], status: int) -> None:
    found, answer, text = await asks(Running(keyring=Keyring([KEY])), method, json=body)
    assert found == status
    assert answer["detail"]
    assert key_text(OTHER) not in text
