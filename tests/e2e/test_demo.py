"""The demo with real managers and nodes; tests/deploy has what it does when they misbehave."""

import os
import signal

from tests.deploy.running import ALL_IN, demo


def test_all_are_in_and_agree_until_time_is_up() -> None:
    with demo("--duration", "3") as running:
        running.read_until(ALL_IN)
        code, rest = running.end()
    assert code == 0, rest
    assert rest.splitlines()[-1] == "All five nodes are active, and the three managers agree."


def test_a_node_killed_meanwhile_fails_it() -> None:
    with demo("--duration", "3") as running:
        running.read_until(ALL_IN)
        os.kill(running.pid_of("n3"), signal.SIGKILL)
        code, rest = running.end()
    assert code == 1, rest
    assert rest.splitlines()[-1].startswith("demo: n3 was killed by SIGKILL; n3 is removed (")


def test_ctrl_c_ends_managers_and_nodes_in_order() -> None:
    with demo() as running:
        running.read_until(ALL_IN)
        running.process.send_signal(signal.SIGINT)
        code, rest = running.end()
    assert code == 0, rest
    for name in ("m1", "m2", "m3", "n1", "n2", "n3", "n4", "n5"):
        assert f"{name} | (ended with exit code 0)" in rest
