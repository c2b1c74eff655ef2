"""The wheel, installed where nothing of this tree is: programs start from it, and the page is whole."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.cluster import HTTP_PORT, NODE_PORT, PROGRAMS, block, wait_for

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("gossip", "manager", "node", "simulations")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as pip unpacks it; what it needs is there already."""
    place = tmp_path_factory.mktemp("wheel")
    build = [str(PROGRAMS / "hatchling"), "build", "-t", "wheel", "-d", str(place)]
    subprocess.run(build, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    [wheel] = place.glob("*.whl")
    install = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-deps")
    subprocess.run([*install, "--no-index", "--target", place / "site", wheel], check=True)
    return place / "site"


def test_the_wheel_has_every_file_of_the_programs_and_no_other(site: Path) -> None:
    def files(tree: Path) -> set[str]:
        return {
            str(file.relative_to(tree))
            for room in ROOMS
            for file in (tree / room).rglob("*")
            if file.is_file() and "__pycache__" not in file.parts
        }

    assert files(site) == files(ROOT)
    assert {path.name for path in (site / "bin").iterdir()} == {
        *("kcm", "krakend-cluster-manager", "krakend-cluster-node"),
    }


@contextmanager
def running(site: Path, place: Path, program: str, **environ: str) -> Iterator[None]:
    """`program` of the wheel, in a folder that is not this tree."""
    ours = {name: text for name, text in os.environ.items() if not name.startswith(("KCM_", "KRAKEND_"))}
    with (place / f"{program}.log").open("wb") as log:
        process = subprocess.Popen(
            [site / "bin" / program],
            cwd=place,
            env={**ours, "PYTHONPATH": str(site), **environ},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def test_a_manager_and_a_node_start_from_the_wheel_and_the_page_is_whole(site: Path, tmp_path: Path) -> None:
    host = f"{block()}.1"
    base = f"http://{host}:{HTTP_PORT}"

    def get(path: str) -> str:
        with urllib.request.urlopen(base + path, timeout=5) as answer:
            found: str = answer.read().decode()
            return found

    manager = {"KCM_NAME": "m1", "KCM_BIND": host, "KCM_STATE_DIR": str(tmp_path)}
    node = {
        "KRAKEND_SEED": f"{host}:{NODE_PORT}",
        "KRAKEND_NODE_STATE_DIR": str(tmp_path),
        "KRAKEND_NODE_API": "",
    }
    with (
        running(site, tmp_path, "krakend-cluster-manager", **manager),
        running(site, tmp_path, "krakend-cluster-node", **node),
    ):
        wait_for(lambda: get("/health"), 30.0, "the manager answers")
        wait_for(lambda: json.loads(get("/api/v1/nodes"))["nodes"], 30.0, "the node is in")
        loaded, seen = ["/"], set[str]()
        while loaded:
            seen.add(path := loaded.pop())
            text = get(path)
            folder = path.rpartition("/")[0]
            named = re.findall(
                r"""(?:href|src)="(/static/[^"]+)"|from "(\.[^"]+)"|import\("(\.[^"]+)"\)""", text
            )
            for absolute, *relative in named:
                found = absolute or os.path.normpath(f"{folder}/{''.join(relative)}")
                loaded += [found] if found not in seen else []
        static = site / "manager" / "web" / "static"
        shown = {
            f"/static/{file.relative_to(static)}"
            for file in static.rglob("*")
            if file.suffix in (".js", ".css")
        }
        assert shown <= seen
        assert (
            json.loads(get("/api/v1/openapi.json"))["info"]["version"]
            == json.loads(get("/api/v1/info"))["version"]
        )
        asked = subprocess.run(
            [site / "bin" / "kcm", "--manager", base, "nodes"],
            env={**os.environ, "PYTHONPATH": str(site)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "in service" in asked.stdout
