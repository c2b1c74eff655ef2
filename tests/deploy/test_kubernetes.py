"""`deploy/kubernetes`: valid for the API server, and what it names is there."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from manager.disk.store import SYSTEM_DIRECTORY
from tests.deploy.files import DEPLOY, MANAGER_PORTS, USER, documents, manager_file, node_settings, paths

FOLDER = DEPLOY / "kubernetes"
DEFINITIONS = json.loads((Path(__file__).parent / "kubernetes-1.34.json").read_text())["$defs"]
GROUPS = {"v1": "core.v1", "apps/v1": "apps.v1", "policy/v1": "policy.v1"}
GROUPS["networking.k8s.io/v1"] = "networking.v1"
KEYS = {"KCM_GOSSIP_KEY": "MDEyMzQ1Njc4OTo7PD0+P0BBQkNERUZHSElKS0xNTk8=", "KCM_GROUP_SECRET": "a secret"}

[KUSTOMIZATION] = documents(FOLDER / "kustomization.yaml")
RESOURCES = [one for name in KUSTOMIZATION["resources"] for one in documents(FOLDER / name)]


def of_kind(kind: str, name: str = "") -> dict[str, Any]:
    found = [one for one in RESOURCES if one["kind"] == kind and name in ("", one["metadata"]["name"])]
    assert len(found) == 1, (kind, name)
    return found[0]


MANAGERS, GATEWAY = of_kind("StatefulSet"), of_kind("Deployment")
PODS = [MANAGERS["spec"]["template"], GATEWAY["spec"]["template"]]


def containers() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each with its pod's spec."""
    for pod in PODS:
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
            yield pod["spec"], container


def container(name: str) -> dict[str, Any]:
    [found] = [one for _, one in containers() if one["name"] == name]
    return found


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_the_api_server_takes_each_resource(resource: dict[str, Any]) -> None:
    definition = f"io.k8s.api.{GROUPS[resource['apiVersion']]}.{resource['kind']}"
    schema = {"$ref": f"#/$defs/{definition}", "$defs": DEFINITIONS}
    problems = [
        f"{error.instance_path}: {error.message}"
        for error in jsonschema_rs.validator_for(schema).iter_errors(resource)
    ]
    assert problems == []


def test_what_has_a_typing_error_is_not_taken() -> None:
    schema = {"$ref": "#/$defs/io.k8s.api.apps.v1.StatefulSet", "$defs": DEFINITIONS}
    wrong = json.loads(json.dumps(MANAGERS))
    wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    assert not jsonschema_rs.validator_for(schema).is_valid(wrong)


def test_every_file_is_used_and_every_name_stands_for_something() -> None:
    used = {"kustomization.yaml", *KUSTOMIZATION["resources"]}
    made: dict[str, set[str]] = {"ConfigMap": set(), "Secret": set()}
    for generator in KUSTOMIZATION["configMapGenerator"]:
        made["ConfigMap"].add(generator["name"])
        used |= set(generator["files"])
    for generator in KUSTOMIZATION["secretGenerator"]:
        made["Secret"].add(generator["name"])
        # The operator makes it, and it is nowhere in this repository.
        assert generator["envs"] == ["keys.env"]
    assert {path.name for path in FOLDER.iterdir()} - {"keys.env"} == used
    ours = {name for name in ("krakend-cluster-manager", "krakend-cluster-node")}
    assert {image["name"] for image in KUSTOMIZATION["images"]} == ours
    for spec, one in containers():
        assert one["image"] in ours or ":" in one["image"]
        volumes = {volume["name"] for volume in spec["volumes"]} | {
            claim["metadata"]["name"] for claim in MANAGERS["spec"]["volumeClaimTemplates"]
        }
        assert {mount["name"] for mount in one["volumeMounts"]} <= volumes
        assert {source["secretRef"]["name"] for source in one.get("envFrom", [])} <= made["Secret"]
        for volume in spec["volumes"]:
            if "configMap" in volume:
                assert volume["configMap"]["name"] in made["ConfigMap"]


def test_selectors_choose_the_pods_that_are_meant() -> None:
    managers, gateways = (pod["metadata"]["labels"] for pod in PODS)
    for workload in (MANAGERS, GATEWAY):
        wanted = workload["spec"]["selector"]["matchLabels"]
        assert wanted.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
    for name in ("krakend-cluster-managers", "krakend-cluster"):
        assert of_kind("Service", name)["spec"]["selector"].items() <= managers.items()
    assert of_kind("Service", "gateway")["spec"]["selector"].items() <= gateways.items()
    assert of_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items() <= managers.items()
    policy = of_kind("NetworkPolicy")["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= managers.items()
    gossip, node, http = policy["ingress"]
    assert gossip["from"][0]["podSelector"]["matchLabels"].items() <= managers.items()
    assert node["from"][0]["podSelector"]["matchLabels"].items() <= gateways.items()
    opened = {(port["port"], port["protocol"]) for rule in (gossip, node, http) for port in rule["ports"]}
    assert opened == {(name, kind) for name, _, kind in MANAGER_PORTS}


def test_managers_have_their_ports_and_find_each_other_before_they_are_ready() -> None:
    ports = {
        (port["name"], port["containerPort"], port.get("protocol", "TCP"))
        for port in container("manager")["ports"]
    }
    assert ports == MANAGER_PORTS
    headless = of_kind("Service", MANAGERS["spec"]["serviceName"])["spec"]
    assert (headless["clusterIP"], headless["publishNotReadyAddresses"]) == ("None", True)
    assert {(p["name"], p["port"], p.get("protocol", "TCP")) for p in headless["ports"]} == MANAGER_PORTS
    file = manager_file(KEYS | {"KCM_ADVERTISE": "10.1.2.3"}, FOLDER / "cluster-manager.yml")
    service = MANAGERS["spec"]["serviceName"]
    assert [str(peer) for peer in file.peers] == [f"dns://{service}:{file.gossip_port}"]
    assert {"krakend-cluster", service} <= set(file.http.hosts)
    [advertise] = container("manager")["env"]
    assert advertise["name"] == "KCM_ADVERTISE"
    mounts = {mount["name"]: mount["mountPath"] for mount in container("manager")["volumeMounts"]}
    assert mounts["state"] == str(SYSTEM_DIRECTORY)
    assert MANAGERS["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > 10


@pytest.mark.parametrize("name", ["manager", "node"])
def test_probes_ask_what_is_answered(name: str) -> None:
    found = container(name)
    assert found["livenessProbe"]["httpGet"]["path"] == "/health"
    assert found["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert {"/health", "/ready"} <= paths(name)
    ports = {port["name"]: port["containerPort"] for port in found["ports"]}
    for probe in ("livenessProbe", "readinessProbe"):
        assert found[probe]["httpGet"]["port"] in ports
    if name == "node":
        api = node_settings({}, FOLDER / "service.yml").api
        # Not at 127.0.0.1, where the kubelet does not reach it.
        assert api == f"0.0.0.0:{ports['agent']}"


def test_the_agent_and_its_gateway_share_socket_map_and_configuration() -> None:
    settings = node_settings({}, FOLDER / "service.yml")
    assert [str(seed) for seed in settings.seed] == [f"dns://{MANAGERS['spec']['serviceName']}:7000"]
    config = (FOLDER / "haproxy.cfg").read_text()
    gateway = settings.gateway
    assert f"stats socket {gateway.socket} " in config
    assert f"map_str_int({gateway.limits},0)" in config
    agent, proxy = container("node"), container("gateway")
    shared = {mount["mountPath"] for mount in agent["volumeMounts"]} & {
        mount["mountPath"] for mount in proxy["volumeMounts"]
    }
    for file in (gateway.socket, gateway.limits, gateway.config):
        assert str(Path(file).parent) in shared
    assert gateway.limits in container("empty-map")["command"]
    assert gateway.config in proxy["command"]
    limits = manager_file(KEYS, FOLDER / "cluster-manager.yml").limits
    assert all(f"str({name})" in config for name in limits)


def test_nobody_in_a_container_may_more_than_it_must() -> None:
    for spec, one in containers():
        closed = one["securityContext"]
        assert (closed["allowPrivilegeEscalation"], closed["readOnlyRootFilesystem"]) == (False, True)
        assert closed["capabilities"] == {"drop": ["ALL"]}
        assert (spec["securityContext"]["runAsUser"], spec["securityContext"]["fsGroup"]) == (USER, USER)
        assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False)
    # A disruption takes one manager at a time: two of three still see each other.
    assert of_kind("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    assert MANAGERS["spec"]["replicas"] == 3


@pytest.mark.needs("haproxy")
def test_haproxy_takes_its_configuration(tmp_path: Path) -> None:
    program = shutil.which("haproxy")
    assert program
    config = (FOLDER / "haproxy.cfg").read_text().replace("/run/gateway", str(tmp_path))
    (tmp_path / "cluster-limits.map").touch()
    (tmp_path / "haproxy.cfg").write_text(config)
    done = subprocess.run(
        [program, "-c", "-f", str(tmp_path / "haproxy.cfg")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
