"""`deploy/systemd`: units that systemd takes, that say how they are told, and that may little."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from manager.disk.store import SYSTEM_DIRECTORY
from manager.host import STOP_SECONDS_MAX
from node.state import state_directory
from tests.deploy.files import DEPLOY, PROGRAMS, node_settings

FOLDER = DEPLOY / "systemd"
INSTALLED = "/opt/krakend-cluster-manager/.venv/bin"
UNITS = ("krakend-cluster-manager", "krakend-cluster-node")
EXPOSURE_MAX = {"krakend-cluster-manager": 1.5, "krakend-cluster-node": 2.5}
"""systemd's own score, from 0 to 10, the less the better; one without any hardening has 9.6."""
ANALYZE = shutil.which("systemd-analyze")


def settings(unit: str) -> dict[str, list[str]]:
    """What stands in [Service], each in the order in which it comes."""
    found: dict[str, list[str]] = {}
    for line in (FOLDER / f"{unit}.service").read_text().splitlines():
        if match := re.fullmatch(r"(\w+)=(.*)", line):
            found.setdefault(match[1], []).append(match[2])
    return found


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_starts_what_is_installed_and_is_told_when_it_has(unit: str) -> None:
    found = settings(unit)
    assert found["ExecStart"] == [f"{INSTALLED}/{unit}"]
    assert unit in PROGRAMS
    assert found["Type"] == ["notify"]
    # A wrong configuration is no better at a second start.
    assert (found["Restart"], found["RestartPreventExitStatus"]) == (["on-failure"], ["2"])


def test_state_is_kept_where_the_programs_look_for_it() -> None:
    assert settings("krakend-cluster-manager")["StateDirectory"] == [SYSTEM_DIRECTORY.name]
    assert SYSTEM_DIRECTORY.parent == Path("/var/lib")
    [folder] = settings("krakend-cluster-node")["StateDirectory"]
    assert state_directory("", "default", {}).parent == Path("/var/lib") / folder


def test_each_has_the_time_that_it_takes_to_end() -> None:
    assert int(settings("krakend-cluster-manager")["TimeoutStopSec"][0]) > STOP_SECONDS_MAX
    assert int(settings("krakend-cluster-node")["TimeoutStopSec"][0]) > node_settings({}).gateway.stop_timeout


def test_the_agent_alone_is_told_to_stop() -> None:
    assert settings("krakend-cluster-node")["KillMode"] == ["mixed"]
    assert "KillMode=mixed\n" in (FOLDER / "krakend.service.d" / "cluster.conf").read_text()


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_takes_the_unit_and_finds_it_closed(unit: str, tmp_path: Path) -> None:
    text = (FOLDER / f"{unit}.service").read_text()
    for closed in ("DynamicUser=yes", "RestrictNamespaces=yes", "SystemCallFilter=@system-service"):
        assert f"{closed}\n" in text
    if ANALYZE is None:
        return
    # What it starts has to exist, and its README is nowhere here.
    here = Path(sys.executable).parent
    text = re.sub(r"^Documentation=.*\n", "", text.replace(INSTALLED, str(here)), flags=re.MULTILINE)
    (tmp_path / f"{unit}.service").write_text(text)
    verified = subprocess.run(
        [ANALYZE, "verify", "--man=no", str(tmp_path / f"{unit}.service")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    told = subprocess.run(
        [ANALYZE, "security", "--offline=true", "--no-pager", str(tmp_path / f"{unit}.service")],
        capture_output=True,
        text=True,
        check=False,
    )
    score = re.search(r"Overall exposure level for \S+: ([\d.]+)", told.stdout)
    assert score, told.stderr
    assert float(score[1]) <= EXPOSURE_MAX[unit]


def test_a_gateways_own_unit_is_bound_to_the_agents_and_systemd_takes_that(tmp_path: Path) -> None:
    drop_in = (FOLDER / "nginx.service.d" / "agent.conf").read_text()
    assert "\nBindsTo=krakend-cluster-node.service\nAfter=krakend-cluster-node.service\n" in drop_in
    if ANALYZE is None:
        return
    (tmp_path / "nginx.service.d").mkdir()
    (tmp_path / "nginx.service.d" / "agent.conf").write_text(drop_in)
    for name in ("nginx", "krakend-cluster-node"):
        (tmp_path / f"{name}.service").write_text("[Service]\nExecStart=/bin/true\n")
    verified = subprocess.run(
        [ANALYZE, "verify", "--man=no", *map(str, sorted(tmp_path.glob("*.service")))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (verified.returncode, verified.stderr) == (0, "")
