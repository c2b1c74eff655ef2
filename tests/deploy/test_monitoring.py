"""`deploy/grafana.json` and `deploy/alerts.yml`: what they ask for is there, and an alert fires."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from aiohttp.test_utils import TestClient, TestServer

from manager.terms import ManagerConfig
from manager.web.app import create_app
from node.api import create_app as create_node_app
from node.protocol import Limit
from tests.manager.running import Running

DEPLOY = Path(__file__).parents[2] / "deploy"
GRAFANA = (DEPLOY / "grafana.json").read_text()
ALERTS = (DEPLOY / "alerts.yml").read_text()


def names(text: str) -> set[str]:
    return set(re.findall(r"\bkcm_[a-z_]+\b", text))


async def live() -> set[str]:
    """The names on the `/metrics` of a manager and of an agent whose gateway tells of its requests."""
    running = Running(ManagerConfig(max_nodes=2))
    running.count("http", "bad_token")
    counters = ("gateway_requests", "gateway_errors", "gateway_rss_bytes")
    status = SimpleNamespace(
        joined=True,
        registered=True,
        degrades_in=3600.0,
        not_ready="",
        counters=dict.fromkeys(counters, 1.0),
        limits=(1, "lease", {"public": Limit(1.0)}),
        applied=SimpleNamespace(version=1, how="live", error=""),
    )
    found = set()
    for app in (create_app(running), create_node_app(status)):
        async with TestClient(TestServer(app)) as client:
            found |= names(await (await client.get("/metrics")).text())
    return found


@pytest.mark.parametrize("text", [GRAFANA, ALERTS], ids=["grafana", "alerts"])
async def test_every_metric_that_is_asked_for_is_on_a_live_page(text: str) -> None:
    assert names(text) - await live() == set()
    assert names(text) & await live()


def panels() -> Iterator[dict[str, object]]:
    yield from json.loads(GRAFANA)["panels"]


def test_no_two_panels_of_the_dashboard_share_a_number_or_a_place() -> None:
    ids = [panel["id"] for panel in panels()]
    places = [json.dumps(panel["gridPos"]) for panel in panels()]
    assert len(set(ids)) == len(set(places)) == len(ids)


@pytest.mark.needs("promtool")
def test_rules_and_questions_are_what_prometheus_takes(tmp_path: Path) -> None:
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]  # type: ignore[attr-defined]
    rules = [{"record": f"panel:{at}", "expr": expr} for at, expr in enumerate(asked)]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    for file in (DEPLOY / "alerts.yml", tmp_path / "panels.yml"):
        done = subprocess.run(
            ["promtool", "check", "rules", file], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.needs("promtool")
def test_an_alert_fires_when_a_node_is_down_and_others_stay_silent(tmp_path: Path) -> None:
    (tmp_path / "alerts.yml").write_text(ALERTS)
    (tmp_path / "test.yml").write_text((Path(__file__).parent / "alerts_test.yml").read_text())
    done = subprocess.run(
        ["promtool", "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
