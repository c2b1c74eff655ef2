"""README is true: its files load, its commands run as they stand, its tables are the programs' own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web

from manager.config import ManagerFile
from manager.web.app import routes
from node.config import NodeSettings
from node.settings import Settings, dump, format_duration, load
from node.settings.sources import keys, named_model

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAMS = Path(sys.executable).parent

# A manager with no argument and no file, on the default ports of a network of its own; then the commands.
IN_A_NETWORK_OF_ITS_OWN = """
set -eu
ip link set lo up
krakend-cluster-manager > "$LOG" 2>&1 &
trap 'kill %1; wait' EXIT
for _ in $(seq 100); do kcm info > /dev/null 2>&1 && break; sleep 0.1; done
set -x
"""


def blocks(language: str) -> list[str]:
    """The fenced blocks of `language`."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def table(heading: str) -> dict[str, str]:
    """The first table below `heading`: each key in its first column, with its second column."""
    section = TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows: dict[str, str] = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        names = re.findall(r"`([^`]+)`", cells[0])
        if line.startswith("| `") and len(cells) >= 3:
            for name in names:
                rows[
                    name if "." in name or "." not in names[0] else f"{names[0].rpartition('.')[0]}.{name}"
                ] = cells[1]
    return rows


def all_keys(model: type[Settings], path: tuple[str, ...] = ()) -> set[str]:
    """Every key that can be typed; of named things by NAME."""
    found = {".".join(key) for key, _ in keys(model)}
    for name, field in model.model_fields.items():
        nested = named_model(field)
        if nested is not None:
            found |= {".".join((*path, name, "NAME", *key)) for key, _ in keys(nested)}
        elif isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            inner = {key for key in all_keys(field.annotation) if ".NAME." in key}
            found |= {f"{name}.{key}" for key in inner}
    return found


@pytest.mark.parametrize(
    ("language", "model"),
    [("yaml manager", ManagerFile), ("yaml node", NodeSettings)],
    ids=["manager", "node"],
)
def test_the_files_of_the_quick_start_load(language: str, model: type[Settings], tmp_path: Path) -> None:
    [block] = blocks(language)
    file = tmp_path / "file.yml"
    file.write_text(block)
    assert load(model, prefix="X_", file=file, environ={}).warnings == ()


@pytest.mark.parametrize(
    ("heading", "model"),
    [("Configuration of a manager", ManagerFile), ("Configuration of a node", NodeSettings)],
    ids=["manager", "node"],
)
def test_the_tables_of_keys_are_those_of_the_programs(heading: str, model: type[Settings]) -> None:
    assert set(table(heading)) == all_keys(model)


def test_the_defaults_in_the_tables_are_those_in_force() -> None:
    for heading, model in (
        ("Configuration of a manager", ManagerFile),
        ("Configuration of a node", NodeSettings),
    ):
        rows = table(heading)
        for path, field in keys(model):
            shown = re.fullmatch(r"`([^`]+)`", rows[".".join(path)])
            if shown is None:
                continue
            default = field.get_default(call_default_factory=True)
            written = {str(default), format_duration(default) if isinstance(default, float) else str(default)}
            assert shown[1] in written, f"{'.'.join(path)}: README says {shown[1]}, in force is {default}"
    assert "heartbeat: 5s" in dump(ManagerFile())


def test_the_table_of_the_api_is_that_of_the_routes() -> None:
    documented = set(re.findall(r"^\| `(GET|PATCH|POST) (/[^`]*)`", TEXT, re.MULTILINE))
    served = {
        (route.method, route.path)
        for route in routes
        if isinstance(route, web.RouteDef) and route.path != "/" and not route.path.startswith("/static")
    }
    assert documented == served


def test_the_make_targets_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`make ([a-z]+)", TEXT)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_links_lead_somewhere() -> None:
    for path in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert (ROOT / path).exists(), path


@pytest.mark.needs("root", "ip")
def test_every_command_runs_as_it_stands(tmp_path: Path) -> None:
    commands = "".join(blocks("sh"))
    assert commands.count("kcm ") >= 5
    log = tmp_path / "manager.log"
    done = subprocess.run(
        ["unshare", "--net", "bash", "-c", IN_A_NETWORK_OF_ITS_OWN + commands],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}", "LOG": str(log)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr + log.read_text()
    assert '"yaml"' not in done.stdout
    assert "every checker held" in done.stdout
    assert "max_nodes is 12" in log.read_text()
