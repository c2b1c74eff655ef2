"""Says what a test needs that Python packages do not bring, and lets no run pass over what it skipped.

    @pytest.mark.needs("serf", "root")

A test that needs a program which is missing, or root, is skipped with what to do about it. With `--complete`,
as `make test` runs it, skipped and xfailed tests fail the run. Only PARTIAL=1 permits them, and only where
neither root nor CI could have installed what is missing.
"""

import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says how busy the machine is, and nothing of what is tested.
settings.register_profile("kcm", settings.default, deadline=None)
settings.load_profile("kcm")

PACKAGES = Path(__file__).parents[1] / ".ci" / "packages"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--complete", action="store_true", help="skipped and xfailed tests fail the run")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*programs): programs that .ci/packages lists, or root")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    packages = dict(line.split() for line in PACKAGES.read_text().splitlines() if not line.startswith("#"))
    for item in items:
        for mark in item.iter_markers("needs"):
            for program in mark.args:
                if program == "root":
                    if os.geteuid() != 0:
                        item.add_marker(pytest.mark.skip(reason="needs root"))
                elif shutil.which(program) is None:
                    reason = f"needs {program}: apt-get install -y {packages[program]}"
                    item.add_marker(pytest.mark.skip(reason=reason))


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not session.config.getoption("--complete"):
        return
    passed_over = len(reporter.stats.get("skipped", [])) + len(reporter.stats.get("xfailed", []))
    may_install = os.geteuid() == 0 or os.environ.get("CI") == "true"
    permitted = os.environ.get("PARTIAL") == "1" and not may_install
    if passed_over and not permitted and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line("")
        advice = "" if may_install else "; install what they need (below), or say PARTIAL=1"
        reporter.write_line(f"Failed, since {passed_over} tests were skipped or xfailed{advice}.", red=True)


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with both console scripts, which only look like a manager and a node to the demo."""
    folder = tmp_path_factory.mktemp("programs")
    text = (Path(__file__).parent / "deploy" / "fake_program.py").read_text()
    for name in ("krakend-cluster-manager", "krakend-cluster-node"):
        (folder / name).write_text(f"#!{sys.executable}\n{text}")
        (folder / name).chmod(0o755)
    return str(folder)
