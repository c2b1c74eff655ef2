"""The demo's own behaviour, with stand-ins for managers and nodes; tests/e2e has the real ones."""

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.deploy.running import ALL_IN, ROOT, demo, eventually


def test_it_ends_by_itself_and_well(stand_ins: str) -> None:
    with demo("--programs", stand_ins, "--duration", "0.5") as running:
        page = running.read_until(ALL_IN)
        code, rest = running.end()
    assert code == 0
    assert f"http://127.0.0.1:{running.first_port + 2} " in page
    assert {f"{name} | ▶ {name} listens" for name in ("m1", "m3", "n1", "n5")} <= set(running.lines)
    assert rest.splitlines()[-1] == "All five nodes are active, and the three managers agree."


def test_it_says_what_it_does_and_nodes_start_when_all_managers_listen(stand_ins: str) -> None:
    with demo("--programs", stand_ins, "--duration", "0") as running:
        running.read_until(ALL_IN)
        assert running.end()[0] == 0
    assert running.lines[0] == "Three managers start, then five nodes."
    assert f"For kcm in another terminal: export KCM_MANAGER=http://127.0.0.1:{running.first_port + 2}" in (
        running.lines
    )
    said = [line.split(" ")[0] for line in running.lines if line.endswith("listens")]
    assert set(said[:3]) == {"m1", "m2", "m3"}


def test_a_node_killed_meanwhile_fails_it(stand_ins: str) -> None:
    with demo("--programs", stand_ins, "--duration", "1") as running:
        running.read_until(ALL_IN)
        os.kill(running.pid_of("n3"), signal.SIGKILL)
        code, rest = running.end()
    assert code == 1
    assert "n3 | (was killed by SIGKILL)" in rest
    assert rest.splitlines()[-1] == "demo: n3 was killed by SIGKILL; n3 is not listed"


def test_a_manager_killed_meanwhile_fails_it(stand_ins: str) -> None:
    with demo("--programs", stand_ins, "--duration", "1") as running:
        running.read_until(ALL_IN)
        os.kill(running.pid_of("m2"), signal.SIGKILL)
        code, rest = running.end()
    assert code == 1
    assert rest.splitlines()[-1] == "demo: m2 was killed by SIGKILL"


def test_managers_that_do_not_agree_fail_it(stand_ins: str) -> None:
    with demo("--programs", stand_ins, "--duration", "1") as running:
        running.read_until(ALL_IN)
        (running.folder("m2") / "lie").touch()
        code, rest = running.end()
    assert code == 1
    difference = "subscription: m1, m3: max_nodes None, used 5, serial 0; m2: max_nodes 3, used 5, serial 0"
    assert rest.splitlines()[-1] == f"demo: {difference}"


def test_a_process_that_does_not_start_ends_it_at_once(stand_ins: str) -> None:
    with demo("--programs", stand_ins, FAKE="n2 fails") as running:
        code, rest = running.end()
    assert code == 1
    assert "n2 | no such thing" in rest
    assert "demo: n2 ended with exit code 1" in rest.splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_all_it_started(stand_ins: str, number: signal.Signals) -> None:
    with demo("--programs", stand_ins, FAKE="n1 lingers") as running:
        running.read_until(ALL_IN)
        running.process.send_signal(number)
        code, _ = running.end()
    assert code == 0


def test_a_signal_while_it_starts_ends_it_as_well(stand_ins: str) -> None:
    with demo("--programs", stand_ins) as running:
        running.read_until("m1 | ")
        running.process.send_signal(signal.SIGTERM)
        code, _ = running.end()
    assert code == 0


def test_a_duration_cut_short_is_no_success(stand_ins: str) -> None:
    with demo("--programs", stand_ins, "--duration", "60") as running:
        running.read_until(ALL_IN)
        running.process.send_signal(signal.SIGTERM)
        code, _ = running.end()
    assert code == 128 + signal.SIGTERM


def test_killed_it_takes_the_others_along(stand_ins: str) -> None:
    with demo("--programs", stand_ins) as running:
        running.read_until(ALL_IN)
        running.process.kill()
        eventually(lambda: not running.processes(), within=5.0)


def test_it_ends_when_nobody_reads_it_any_more(stand_ins: str) -> None:
    with demo("--programs", stand_ins) as running:
        running.read_until(ALL_IN)
        assert running.process.stdout is not None
        running.process.stdout.close()
        os.kill(running.pid_of("n1"), signal.SIGKILL)  # and so there is something to say
        assert running.process.wait(timeout=30) == 0


def test_a_taken_port_is_named_with_its_owner(stand_ins: str) -> None:
    with demo("--programs", stand_ins) as first:
        first.read_until(ALL_IN)
        with demo("--programs", stand_ins, "--ports", str(first.first_port)) as second:
            code, said = second.end()
        owner = f"krakend-cluster-manager (pid {first.pid_of('m1')})"
        first.process.terminate()
        assert first.end()[0] == 0
    assert code == 2
    port, other = first.first_port + 2, first.first_port + 100
    reason = f"port {port}/tcp on 127.0.0.1 is taken by {owner}"
    assert said == f"demo: {reason}; `make demo PORTS={other}` needs other ports, and 127.0.0.1 alone\n"


@pytest.mark.needs("root", "ip")
def test_where_only_one_address_exists_the_way_out_is_named_and_works(stand_ins: str) -> None:
    one_address = "ip addr add 127.0.0.1/32 dev lo && ip link set lo up && ip addr del 127.0.0.1/8 dev lo"
    here = f"{sys.executable} {ROOT}/deploy/demo.py --programs {stand_ins} --duration 0"
    command = ("unshare", "--net", "sh", "-c", f"{one_address} && {here}; exec {here} --ports $PORTS")
    with demo(command=command) as running:
        code, said = running.end()
    reason = "127.0.0.2 is no address of this machine"
    assert said.startswith(
        f"demo: {reason}; `make demo PORTS=17000` needs other ports, and 127.0.0.1 alone\n"
    )
    assert code == 0


def test_missing_programs_are_a_reason_not_to_start(tmp_path: Path) -> None:
    with demo("--programs", str(tmp_path)) as running:
        code, said = running.end()
    assert code == 2
    assert said == f"demo: {tmp_path}/krakend-cluster-manager is missing; `make venv` installs it\n"


@pytest.mark.parametrize(
    "arguments", [("--ports", "80"), ("--ports", "x"), ("--duration", "-1"), ("--duration", "nan")]
)
def test_a_wrong_option_is_refused_by_name(arguments: tuple[str, str]) -> None:
    with demo(*arguments) as running:
        code, said = running.end()
    assert code == 2
    assert f"error: argument {arguments[0]}: '{arguments[1]}' is no " in said
