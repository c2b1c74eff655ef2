"""`deploy/Dockerfile` and `deploy/compose.yaml`: what they name is there. No engine here builds them."""

import json
import re
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any

import pytest

from manager.cli.main import _parser
from manager.disk.store import SYSTEM_DIRECTORY
from node.state import state_directory
from tests.deploy.files import (
    DEPLOY,
    MANAGER_PORTS,
    PROGRAMS,
    PROJECT,
    ROOT,
    USER,
    documents,
    manager_file,
    node_settings,
)

INSTRUCTIONS = {
    *("FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT"),
}
KEYS = {"KCM_GOSSIP_KEY": "MDEyMzQ1Njc4OTo7PD0+P0BBQkNERUZHSElKS0xNTk8=", "KCM_GROUP_SECRET": "a secret"}


@dataclass
class Stage:
    """One image of a Dockerfile, with what it has of the images it is from."""

    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        return [text for step, text in self.steps if step == name]

    def last(self, name: str) -> str:
        return self.all(name)[-1]


def stages() -> dict[str, Stage]:
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    found: dict[str, Stage] = {}
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if not line.strip():
            continue
        step, rest = line.split(maxsplit=1)
        assert step in INSTRUCTIONS, line
        if step == "FROM":
            base, as_, name = rest.split()
            assert as_ == "AS"
            found[name] = stage = Stage(base, list(found[base].steps) if base in found else [])
        else:
            stage.steps.append((step, rest))
    return found


def compose() -> dict[str, Any]:
    [document] = documents(DEPLOY / "compose.yaml")
    return document


def is_sent(path: str) -> bool:
    """Whether the builder gets `path`, by the last pattern that says something of it."""
    sent = True
    for pattern in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines():
        if pattern and not pattern.startswith("#"):
            keeps, pattern = pattern.startswith("!"), pattern.removeprefix("!")
            if fnmatch(path, pattern) or path.startswith(f"{pattern}/"):
                sent = keeps
    return sent


def test_the_images_are_built_from_all_that_the_package_is_made_of() -> None:
    copied = {name for text in stages()["build"].all("COPY") for name in text.split()[:-1]}
    assert copied == {"pyproject.toml", PROJECT["project"]["readme"], *packages()}
    for name in copied:
        assert (ROOT / name).exists()
        assert is_sent(name)
    for secret in (".venv", "deploy/kubernetes/keys.env", ".git", ".demo"):
        assert not is_sent(secret)


def packages() -> list[str]:
    found: list[str] = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    return found


def test_nothing_of_the_build_but_the_programs_is_in_the_images() -> None:
    found = stages()
    for name in ("manager", "node"):
        copies = found[name].all("COPY")
        assert copies == ["--from=build /opt/krakend-cluster-manager /opt/krakend-cluster-manager"]
        assert found[found[name].base].base == found["build"].base
    version = re.fullmatch(r"python:(\d+\.\d+)-slim", found["build"].base)
    assert version
    assert PROJECT["project"]["requires-python"] == f">={version[1]}"


@pytest.mark.parametrize("name", ["manager", "node"])
def test_an_image_starts_its_program_as_nobody_of_the_host(name: str) -> None:
    stage = stages()[name]
    [program] = json.loads(stage.last("ENTRYPOINT"))
    assert program == f"krakend-cluster-{name}"
    assert program in PROGRAMS
    assert stage.last("USER") == f"{USER}:{USER}"
    folder = str(SYSTEM_DIRECTORY) if name == "manager" else str(state_directory("", "default", {}).parent)
    assert stage.last("VOLUME") == folder
    [made] = [text for text in stage.all("RUN") if "install -d" in text]
    assert f"-o {USER} -g {USER} -m 0700" in made
    assert folder in made.split()


def test_ports_and_health_checks_are_those_of_the_programs() -> None:
    found = stages()
    exposed = {text if "/" in text else f"{text}/tcp" for text in found["manager"].last("EXPOSE").split()}
    assert exposed == {f"{port}/{kind.lower()}" for _, port, kind in MANAGER_PORTS}
    _, _, asks = found["manager"].last("HEALTHCHECK").partition("CMD ")
    kcm, *arguments = json.loads(asks)
    assert kcm in PROGRAMS
    assert _parser().parse_args(arguments).action is not None
    assert f"127.0.0.1:{found['node'].last('EXPOSE')}/health" in found["node"].last("HEALTHCHECK")
    assert node_settings({}).api == f"127.0.0.1:{found['node'].last('EXPOSE')}"


# Compose


def environment(service: dict[str, Any]) -> dict[str, str]:
    """With what the operator has to give."""
    given = {}
    for key, value in service["environment"].items():
        wanted = re.fullmatch(r"\$\{(\w+):\?[^}]+\}", value)
        given[key] = KEYS[wanted[1]] if wanted else value
    return given


def test_managers_of_the_compose_file_are_peers_and_hold_a_key() -> None:
    services = compose()["services"]
    managers = {name: one for name, one in services.items() if one["image"] == "krakend-cluster-manager"}
    assert len(managers) == 3
    for name, service in managers.items():
        file = manager_file(environment(service))
        assert {peer.host for peer in file.peers if hasattr(peer, "host")} == managers.keys()
        assert file.gossip.key.get_secret_value() == KEYS["KCM_GOSSIP_KEY"]
        assert service["hostname"] == name
        assert service["environment"]["KCM_GOSSIP_KEY"].startswith("${KCM_GOSSIP_KEY:?")
        assert service["volumes"] == [f"{name}:{SYSTEM_DIRECTORY}"]
        assert int(service["stop_grace_period"].removesuffix("s")) > 10


def test_the_node_of_the_compose_file_finds_all_managers() -> None:
    services = compose()["services"]
    settings = node_settings(environment(services["node"]))
    assert {seed.host for seed in settings.seed} == services.keys() - {"node"}


def test_every_container_is_closed_and_what_it_names_is_there() -> None:
    document, targets = compose(), stages()
    services = document["services"].values()
    builds = {service["image"]: service["build"] for service in services if "build" in service}
    for service in services:
        build = builds[service["image"]]
        assert build["target"] in targets
        assert (DEPLOY / build["context"] / build["dockerfile"]).samefile(DEPLOY / "Dockerfile")
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        [volume] = service["volumes"]
        source, folder = volume.split(":")
        assert source in document["volumes"]
        assert folder == targets[build["target"]].last("VOLUME")
        for port in service.get("ports", []):
            # A password of the page would cross the network as it is.
            assert port.startswith("127.0.0.1:")
