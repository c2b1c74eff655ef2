"""`supervise: systemd` with the real systemd, as the first process of namespaces of its own."""

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.gateways.systemd import Unit

SYSTEMD = Path("/usr/lib/systemd/systemd")
pytestmark = pytest.mark.needs("root")

OWN_GROUP = """
if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then
  mkdir {group}
  echo $$ > {group}/cgroup.procs
fi
exec unshare --fork --kill-child --pid --mount --uts --ipc --net --cgroup --mount-proc sh {folder}/begin
"""
BEGIN = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
  mount -t tmpfs tmpfs /sys/fs/cgroup
  mkdir /sys/fs/cgroup/systemd
  mount -t cgroup -o none,name=systemd systemd /sys/fs/cgroup/systemd
fi
export container=docker SYSTEMD_UNIT_PATH={folder} SYSTEMD_LOG_TARGET=console
exec {systemd} --system --unit=alone.target
"""
SERVICE = """
[Unit]
DefaultDependencies=no
StartLimitIntervalSec=0
[Service]
ExecStart={command}
Restart=on-failure
RestartSec=100ms
"""


class Systemd:
    """Its `systemctl` is the one on PATH; there is no journal."""

    def __init__(self, folder: Path) -> None:
        (folder / "alone.target").write_text("[Unit]\nDefaultDependencies=no\n")
        (folder / "gw.service").write_text(SERVICE.format(command="/bin/sleep 1000"))
        (folder / "begin").write_text(BEGIN.format(folder=folder, systemd=SYSTEMD))
        self._group = Path(f"/sys/fs/cgroup/kcm-test-{os.getpid()}-{time.monotonic_ns()}")
        begin = OWN_GROUP.format(group=self._group, folder=folder)
        with (folder / "said").open("w") as said:
            self._process = subprocess.Popen(["sh", "-c", begin], stdout=said, stderr=subprocess.STDOUT)
        self._folder = folder

    def enter(self) -> None:
        """Wait until it answers, and put its programs before those of the host."""
        ends = time.monotonic() + 60.0
        while not (first := self._first_process()):
            assert time.monotonic() < ends, (self._folder / "said").read_text()
            time.sleep(0.05)
        for name, line in (
            ("systemctl", f'exec nsenter -t {first} -m -p -n -u -i /usr/bin/systemctl "$@"'),
            ("journalctl", "echo no journal"),
        ):
            program = self._folder / name
            program.write_text(f"#!/bin/sh\n{line}\n")
            program.chmod(0o755)
        while self.ctl("show", "alone.target", "--property=ActiveState") != "ActiveState=active":
            assert time.monotonic() < ends, (self._folder / "said").read_text()
            time.sleep(0.1)

    def _first_process(self) -> str:
        """The shell has other children before."""
        shell = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        for child in shell.read_text().split():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return child
        return ""

    def ctl(self, *words: str) -> str:
        command = [str(self._folder / "systemctl"), *words]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        return done.stdout.strip()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for group, _, _ in os.walk(self._group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(group)


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Systemd]:
    running = Systemd(tmp_path)
    try:
        running.enter()
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        yield running
    finally:
        running.close()


async def eventually(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < ends, "not within a minute"
        await asyncio.sleep(0.05)


async def test_a_unit_of_systemd_is_started_watched_restarted_and_stopped(
    systemd: Systemd, tmp_path: Path
) -> None:
    crashed: list[str] = []

    async def on_loop(lines: str) -> None:
        crashed.append(lines)
        (tmp_path / "gw.service").write_text(SERVICE.format(command="/bin/sleep 1000"))
        systemd.ctl("daemon-reload")

    unit = Unit("gw.service")
    task = asyncio.create_task(unit.run(on_loop))
    await eventually(lambda: unit.state == "running" and unit.pid is not None)

    before = unit.pid
    systemd.ctl("kill", "--signal=KILL", "gw.service")
    await eventually(lambda: unit.restarts == 1 and unit.state == "running")
    assert unit.pid != before
    await unit.restart()
    assert (unit.state, unit.restarts) == ("running", 0)

    # What does not stay up is told to the agent, which puts back what ran well.
    (tmp_path / "gw.service").write_text(SERVICE.format(command="/bin/false"))
    systemd.ctl("daemon-reload")
    systemd.ctl("kill", "--signal=KILL", "gw.service")
    await eventually(lambda: bool(crashed) and unit.state == "running")

    unit.stop()
    await asyncio.wait_for(task, 60.0)
    assert systemd.ctl("show", "gw.service", "--property=ActiveState") == "ActiveState=inactive"


async def test_a_unit_that_its_operator_stops_ends_the_agents_watch(systemd: Systemd) -> None:
    async def on_loop(lines: str) -> None:
        raise AssertionError(lines)

    unit = Unit("gw.service")
    task = asyncio.create_task(unit.run(on_loop))
    await eventually(lambda: unit.state == "running")
    systemd.ctl("stop", "gw.service")
    await asyncio.wait_for(task, 60.0)
    assert unit.state == "stopped"
