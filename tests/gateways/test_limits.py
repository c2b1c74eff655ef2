"""Real gateways under load keep to the cluster's limit together: the short form of `benchmarks/limits.py`."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.needs("haproxy", "ip", "nft", "nginx", "wrk", "root")
ALONE = ("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")


def told(gateway: str, stories: str) -> subprocess.CompletedProcess[str]:
    """The stories in namespaces of their own; exit code 1 where a bound does not hold."""
    options = (f"--gateway={gateway}", f"--stories-of-limits={stories}", "--window=4")
    return subprocess.run(
        [*ALONE, sys.executable, "-m", "benchmarks.limits", *options],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_nginx_nodes_keep_to_the_limit_while_nodes_join_leave_and_die_and_without_us_they_do_not() -> None:
    done = told("nginx", "alone,steady,join,leave,node-killed")
    assert done.returncode == 0, done.stderr


def test_haproxy_nodes_keep_to_the_limit_without_one_reload() -> None:
    done = told("haproxy", "steady,join,leave")
    assert done.returncode == 0, done.stderr


def test_a_node_that_ignores_its_share_is_found_out() -> None:
    done = told("nginx", "ignored")
    assert done.returncode == 1, done.stderr
    assert "broken: three nodes, a node ignores its share" in done.stderr
