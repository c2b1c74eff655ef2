"""A new Debian 12 with git, make and python3, and nothing else: `make demo` does the rest."""

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.needs("root", "debootstrap", "ip")

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "krakend-cluster-manager"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True, slots=True)
class Machine:
    """A Debian in a folder: changed root, with processes, mounts and, without network, ports of its own."""

    root: Path

    def run(self, command: str, *, user: int = 0, network: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a shell command in the project's folder; none of its processes outlives it."""
        enter = (
            f"mount -t proc proc {self.root}/proc && exec chroot --userspec {user}:{user} {self.root} "
            + shlex.join(
                [
                    "env",
                    "-i",
                    "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                    "HOME=/root",
                    *reach(),
                    "sh",
                    "-c",
                    command,
                ]
            )
        )
        if not network:
            enter = f"ip link set lo up && {enter}"
        namespaces = ["--mount", "--pid", "--fork", "--kill-child", *([] if network else ["--net"])]
        return subprocess.run(
            ["unshare", *namespaces, "sh", "-c", enter],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            timeout=600,
            check=False,
        )


def reach() -> list[str]:
    """Variables by which pip and apt-get reach the outside from here: our own, and pip's settings."""
    ours = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    for line in listed.stdout.splitlines():
        name, _, value = line.partition("=")
        option = name.rpartition(".")[2]
        if option in {"cert", "index-url", "proxy", "trusted-host"}:
            ours[f"PIP_{option.upper().replace('-', '_')}"] = value.strip("'\"")
    return [f"{name}={value}" for name, value in ours.items()]


@pytest.fixture
def machine() -> Iterator[Machine]:
    # Not in pytest's own folder for a test, which keeps the last three: each holds a whole Debian.
    with tempfile.TemporaryDirectory(prefix="fresh-machine-") as folder:
        root = Path(folder)
        subprocess.run(["tar", "-xf", debian(), "-C", root], check=True)
        root.chmod(0o755)
        bring_network(root)
        subprocess.run(["git", "clone", "--quiet", ROOT, root / "srv" / "project"], check=True)
        yield Machine(root)


def debian() -> Path:
    """The packed base system, made on first use: that takes about a minute."""
    CACHE.mkdir(parents=True, exist_ok=True)
    packed = CACHE / "debian-12-git-make-python3.tar"
    with (CACHE / "lock").open("w") as lock, tempfile.TemporaryDirectory(prefix="debootstrap-") as folder:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not packed.exists():
            root = Path(folder)
            run_quietly("debootstrap", "--variant=minbase", "bookworm", str(root), mirror())
            bring_network(root)
            for command in ("apt-get update", "apt-get install -y git make python3", "apt-get clean"):
                run_quietly(
                    "chroot", str(root), "env", *reach(), "DEBIAN_FRONTEND=noninteractive", *command.split()
                )
            run_quietly("tar", "-cf", f"{packed}.new", "-C", str(root), ".")
            Path(f"{packed}.new").rename(packed)
    return packed


def run_quietly(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}:\n{done.stdout[-3000:]}"


def mirror() -> str:
    """Where this machine has Debian from, or where everybody may."""
    targets = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages"]
    for line in subprocess.run(targets, capture_output=True, text=True, check=True).stdout.splitlines():
        uri, _, codename = line.partition(" ")
        if codename == "bookworm":
            return uri
    return "http://deb.debian.org/debian"


def bring_network(root: Path) -> None:
    """How this machine reaches the outside: names, certificates, and what apt-get was told about it."""
    shutil.copy("/etc/resolv.conf", root / "etc")
    if CERTIFICATES.exists():
        (root / CERTIFICATES.parent.relative_to("/")).mkdir(parents=True, exist_ok=True)
        shutil.copy(CERTIFICATES, root / CERTIFICATES.relative_to("/"))
    settings = subprocess.run(
        ["apt-config", "dump", "--no-empty"], capture_output=True, text=True, check=True
    )
    told = [
        line for line in settings.stdout.splitlines() if line.startswith(("Acquire::http", "Acquire::Check-"))
    ]
    (root / "etc" / "apt" / "apt.conf.d" / "99network").write_text("\n".join([*told, ""]))


def test_one_command_starts_the_cluster_however_often_it_was_interrupted(machine: Machine) -> None:
    for seconds in ("0.3", "2", "6"):
        machine.run(f"cd /srv/project && timeout --signal INT {seconds} make venv")
    installed = machine.run("cd /srv/project && make venv")
    assert installed.returncode == 0, installed.stdout
    assert not (machine.root / "usr/sbin/policy-rc.d").exists()
    # Without any network, so nothing can be installed now, and at the usual addresses and ports.
    shown = machine.run(
        "cd /srv/project && make demo DURATION=3; code=$?; echo left: $(ls -d /proc/[0-9]*); exit $code",
        network=False,
    )
    *lines, left = shown.stdout.splitlines()
    assert shown.returncode == 0, shown.stdout
    assert any("The page: http://127.0.0.1:9897 " in line for line in lines)
    assert lines[-1] == "All five nodes are active, and the three managers agree."
    assert len(left.split()) == 3, f"the shell and its ls alone are left: {left}"


def test_who_is_not_root_is_told_at_once_what_to_install(machine: Machine) -> None:
    run_quietly("chown", "-R", "1000:1000", str(machine.root / "srv" / "project"))
    for command in ("make demo", "make test"):
        refused = machine.run(f"cd /srv/project && {command}", user=1000)
        assert refused.returncode == 2
        assert refused.stdout.splitlines()[0] == (
            "Missing: python3-venv. On Debian, as root: apt-get install -y python3-venv"
        )
        assert not (machine.root / "srv" / "project" / ".venv").exists()
