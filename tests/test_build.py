"""The Makefile and its scripts, in a copy of this tree; tests/e2e/test_fresh_machine.py has a new machine."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.running import ALL_IN, demo

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ("apt-install", "run", "test", "venv")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """This tree without what was made in it."""
    made = shutil.ignore_patterns(".git", ".venv", ".demo", ".*_cache", ".hypothesis", "__pycache__", "tests")
    return Path(shutil.copytree(ROOT, tmp_path / "tree", ignore=made))


def make(tree: Path, *arguments: str, **variables: str) -> tuple[int, list[str]]:
    """The exit code, and what was said."""
    # As at a prompt, although these tests may run below a `make test`.
    environment = {
        key: value for key, value in os.environ.items() if key not in {"MAKEFLAGS", "MAKELEVEL", "V"}
    }
    done = subprocess.run(
        ["make", *arguments],
        cwd=tree,
        env={**environment, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()


def stamp(tree: Path) -> Path:
    """The one that `make venv` would write."""
    return tree / make(tree, "--eval", "stamp: ; @echo $(RUN)", "stamp")[1][0]


def test_make_alone_tells_what_there_is_to_make(tree: Path) -> None:
    code, said = make(tree)
    assert code == 0
    assert {"make demo", "make test"} <= {" ".join(line.split()[:2]) for line in said}


def test_a_stamp_says_that_all_is_installed_until_the_dependencies_change(tree: Path) -> None:
    assert make(tree, "--question", "venv")[0] == 1
    stamp(tree).parent.mkdir()
    stamp(tree).touch()
    assert make(tree, "--question", "venv")[0] == 0
    with (tree / "pyproject.toml").open("a") as pyproject:
        pyproject.write("# changed\n")
    assert make(tree, "--question", "venv")[0] == 1


def test_an_old_python_is_refused_in_one_line(tree: Path, tmp_path: Path) -> None:
    old = tmp_path / "bin" / "python3"
    old.parent.mkdir()
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && exec echo Python 3.9.2\nexit 1\n')
    old.chmod(0o755)
    code, said = make(tree, "venv", PATH=f"{old.parent}:{os.environ['PATH']}")
    assert code == 2
    assert said[0] == "Python 3.11 or newer is needed as python3; found: Python 3.9.2."
    assert len(said) == 2  # the other line is make's own
    assert not (tree / ".venv").exists()


def test_without_a_package_index_one_line_says_so_and_the_next_try_starts_anew(tree: Path) -> None:
    half = tree / ".venv" / "half"
    half.parent.mkdir()
    half.touch()
    unreachable = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": ""}
    code, said = make(tree, "venv", PIP_CONFIG_FILE=os.devnull, PIP_RETRIES="0", **unreachable)
    assert code == 2
    assert said[-2].startswith("No package index can be reached: ")
    assert len(said) == 4  # two steps, this, and make's own
    assert not half.exists()
    assert not stamp(tree).exists()


@pytest.fixture
def installed(tree: Path, stand_ins: str) -> Path:
    """This tree, installed but for managers and nodes, which are stand-ins."""
    python = tree / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@" --programs {stand_ins}\n')
    python.chmod(0o755)
    stamp(tree).touch()
    return tree


def test_ctrl_c_in_a_terminal_reaches_make_and_the_demo_and_both_end(installed: Path) -> None:
    # Tests that run in the background of a shell inherit that SIGINT is ignored.
    make = ("env", "--default-signal=INT", "make")
    with demo(command=(*make, "-C", str(installed), "demo")) as running:
        running.read_until(ALL_IN)
        os.killpg(running.process.pid, signal.SIGINT)
        code, rest = running.end()
    assert code == -signal.SIGINT  # make's own way to end after Ctrl-C
    assert "***" not in rest


def test_make_passes_sigterm_on(installed: Path) -> None:
    with demo(command=("make", "-C", str(installed), "demo", "DURATION=60")) as running:
        running.read_until(ALL_IN)
        running.process.terminate()
        code, rest = running.end()
    assert code == -signal.SIGTERM
    assert "(was killed by SIGTERM)" in rest


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_sound(script: str) -> None:
    path = ROOT / ".ci" / script
    assert os.access(path, os.X_OK)
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0


INCOMPLETE = """
import pytest

@pytest.mark.needs("no-such-program")
def test_needing(): ...
def test_passing(): ...
"""

AS_USER = """
import os, sys, pytest
os.geteuid = lambda: int(sys.argv[1])
sys.exit(pytest.main(["-p", "no:cacheprovider", "-rs", *sys.argv[2:]]))
"""


@pytest.mark.parametrize(
    ("user", "arguments", "variables", "code"),
    [
        (0, [], {}, 0),
        (0, ["--complete"], {}, 1),
        (0, ["--complete"], {"PARTIAL": "1"}, 1),
        (1000, ["--complete"], {}, 1),
        (1000, ["--complete"], {"PARTIAL": "1"}, 0),
        (1000, ["--complete"], {"PARTIAL": "1", "CI": "true"}, 1),
    ],
)
def test_skipped_tests_fail_a_complete_run(
    tmp_path: Path, user: int, arguments: list[str], variables: dict[str, str], code: int
) -> None:
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "packages").write_text("# PROGRAM PACKAGE\nno-such-program a-package\n")
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "tests")
    (tmp_path / "tests" / "test_it.py").write_text(INCOMPLETE)
    environment = {key: value for key, value in os.environ.items() if key not in {"CI", "PARTIAL"}}
    done = subprocess.run(
        [sys.executable, "-c", AS_USER, str(user), *arguments, "tests"],
        cwd=tmp_path,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout
    assert "needs no-such-program: apt-get install -y a-package" in done.stdout
    assert "1 passed, 1 skipped" in done.stdout.splitlines()[-1]
