"""The stand-in for KrakenD does what KrakenD's documentation and source say: each fact we build on."""

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import unused_port

KRAKEND = str(Path(__file__).with_name("krakend.py"))


def configured(tmp_path: Path, **keys: Any) -> tuple[Path, int]:
    port = unused_port()
    limit = {"qos/ratelimit/router": {"max_rate": 5, "every": "60s", "capacity": 5}}
    endpoints = [
        {"endpoint": "/limited", "extra_config": limit},
        {"endpoint": "/slow", "takes": 1.0, "extra_config": {"nobody/knows": {"this": 1}}},
    ]
    file = tmp_path / "krakend.json"
    file.write_text(json.dumps({"version": 3, "port": port, "endpoints": endpoints, **keys}))
    return file, port


def status(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@contextlib.contextmanager
def running(file: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, KRAKEND, "run", "-c", str(file)], stdout=subprocess.DEVNULL
    ) as popen:
        try:
            ends = time.monotonic() + 10
            while True:
                with contextlib.suppress(urllib.error.URLError):
                    assert status(port, "/__health") == 200
                    break
                assert time.monotonic() < ends
                time.sleep(0.02)
            yield popen
        finally:
            popen.kill()


def check(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, KRAKEND, "check", *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_a_hup_kills_it(tmp_path: Path) -> None:
    with running(*configured(tmp_path)) as krakend:
        krakend.send_signal(signal.SIGHUP)
        assert krakend.wait(10) == -signal.SIGHUP


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_draining_lasts_until_the_last_request(tmp_path: Path, number: signal.Signals) -> None:
    file, port = configured(tmp_path)
    answers: list[int] = []
    with running(file, port) as krakend:
        slow = threading.Thread(target=lambda: answers.append(status(port, "/slow")))
        slow.start()
        time.sleep(0.3)
        krakend.send_signal(number)
        assert krakend.wait(10) == 0
        slow.join(10)
    assert answers == [200]


def test_a_check_with_t_binds_the_configured_port_and_without_does_not(tmp_path: Path) -> None:
    file, port = configured(tmp_path)
    with running(file, port):
        assert check("-n", "-c", str(file)).returncode == 0
        taken = check("-tn", "-c", str(file))
    assert taken.returncode != 0
    assert "ddress already in use" in taken.stderr
    assert check("-tn", "-c", str(file)).returncode == 0


def test_unknown_keys_are_ignored(tmp_path: Path) -> None:
    file, port = configured(tmp_path, nobody_knows="this")
    with running(file, port):
        assert status(port, "/slow") == 200


def test_a_broken_configuration_makes_it_exit_non_zero(tmp_path: Path) -> None:
    file, _ = configured(tmp_path)
    file.write_text(file.read_text()[:-5])
    for what in ("run", "check"):
        done = subprocess.run([sys.executable, KRAKEND, what, "-c", str(file)], check=False, timeout=20)
        assert done.returncode != 0


def test_a_limit_holds_and_a_restart_refills_every_bucket(tmp_path: Path) -> None:
    file, port = configured(tmp_path)
    for _ in range(2):
        with running(file, port):
            assert [status(port, "/limited") for _ in range(7)] == [200] * 5 + [503] * 2


def test_stats_may_be_a_minute_old(tmp_path: Path) -> None:
    file, port = configured(tmp_path)

    def counted() -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/__stats", timeout=5) as answer:
            return json.load(answer)["Counters"]

    with running(file, port):
        status(port, "/limited")
        assert counted() == {}
    file, port = configured(tmp_path, stats_age=0.0)
    with running(file, port):
        status(port, "/limited")
        assert counted() == {"krakend.router.response./limited.status.200.count": 1}
