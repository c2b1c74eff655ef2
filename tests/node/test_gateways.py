"""The pieces that bind a gateway to its agent, each alone."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import node.gateways
from node.gateways.child import gateway_environment
from node.gateways.processes import Use, end_group, is_alive, process_id, use_of
from node.state import ProcessId

HERE = Path(node.gateways.__file__).parent
ISOLATED = [sys.executable, "-I", "-S"]


@contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A process in a group of its own, none of which outlives the test."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def gone(pid: int, within: float = 3.0) -> bool:
    until = time.monotonic() + within
    while process_id(pid) is not None:
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def test_who_is_launched_keeps_its_pid_and_dies_with_its_parent() -> None:
    parent = (
        "import os, subprocess, sys, time;"
        f"child = subprocess.Popen([*{ISOLATED!r}, {str(HERE / 'launch.py')!r}, str(os.getpid()),"
        " sys.executable, '-c', 'import os, time; print(os.getpid(), flush=True); time.sleep(60)']);"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    with running(sys.executable, "-c", parent) as process:
        assert process.stdout is not None
        first, second = int(process.stdout.readline()), int(process.stdout.readline())
        assert first == second
        process.kill()
        assert gone(first)


def test_who_is_launched_by_a_parent_already_dead_does_not_start() -> None:
    done = subprocess.run([*ISOLATED, str(HERE / "launch.py"), "1", "sleep", "60"], check=False, timeout=10)
    assert done.returncode == 1


def test_a_program_that_cannot_be_started_says_so() -> None:
    done = subprocess.run(
        [*ISOLATED, str(HERE / "launch.py"), str(os.getpid()), "/no/such/program"],
        check=False,
        timeout=10,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == "/no/such/program cannot be started: No such file or directory\n"


@pytest.mark.parametrize(("word", "survives"), [("\n", True), ("", False)])
def test_the_undertaker_ends_the_group_only_if_its_pipe_ends_without_a_word(
    word: str, survives: bool
) -> None:
    stubborn = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    )
    with running(sys.executable, "-c", stubborn) as gateway:
        assert gateway.stdout is not None
        assert gateway.stdout.readline() == "up\n"
        subprocess.run(
            [*ISOLATED, str(HERE / "undertaker.py"), str(gateway.pid), "0.2", "0"],
            input=word,
            text=True,
            timeout=10,
            check=True,
        )
        assert (gateway.poll() is None) is survives


async def test_a_group_is_asked_first_and_killed_when_patience_is_over() -> None:
    with running("sleep", "60") as willing:
        # What waits for our children while their group is watched; elsewhere the event loop does.
        reaper = asyncio.create_task(asyncio.to_thread(willing.wait))
        assert await end_group(willing.pid, 5.0)
        assert await reaper == -signal.SIGTERM
    stubborn = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    )
    with running(sys.executable, "-c", stubborn) as process:
        assert process.stdout is not None
        process.stdout.readline()
        reaper = asyncio.create_task(asyncio.to_thread(process.wait))
        assert await end_group(process.pid, 0.1)
        assert await reaper == -signal.SIGKILL


def test_a_process_is_known_by_its_start_and_not_by_its_number_alone() -> None:
    with running("sleep", "60") as process:
        known = process_id(process.pid)
        assert known is not None
        assert is_alive(known)
        assert not is_alive(ProcessId(pid=known.pid, start_time=known.start_time + 1))
        process.kill()
        assert gone(process.pid)  # a zombie until it is reaped, which counts as gone
        assert not is_alive(known)


def test_what_a_process_uses_includes_its_children() -> None:
    busy = "import time; t = time.process_time()\nwhile time.process_time() - t < 0.2: pass"
    program = (
        f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', {busy!r}]);"
        " print('done', flush=True); time.sleep(60)"
    )
    with running(sys.executable, "-c", program) as process:
        assert process.stdout is not None
        process.stdout.readline()
        use = use_of(process.pid)
        assert use.cpu_seconds >= 0.2
        assert use.rss_bytes > 1_000_000
    assert use_of(process.pid) == Use(0.0, 0)


def test_the_gateways_environment_is_ours_without_our_variables() -> None:
    environ = {
        "PATH": "/bin",
        "KRAKEND_SEED": "a",
        "KRAKEND_NODE_NAME": "b",
        "KCM_X": "c",
        "KRAKEND_PORT": "80",
    }
    assert gateway_environment(environ) == {"PATH": "/bin", "KRAKEND_PORT": "80"}
