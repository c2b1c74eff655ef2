"""Managers under a key: whoever has it is one of them, whoever has not stays out, and both sides say why."""

import json
import urllib.request

import pytest

from tests.e2e.cluster import HTTP_PORT, Cluster, wait_for

KEY = "MDEyMzQ1Njc4OTo7PD0+P0BBQkNERUZHSElKS0xNTk8="
OTHER_KEY = "MDEyMzQ1Njc4OTo7PD0+Pw=="
UNDER_KEY = f"gossip: {{key: {KEY}}}\n"


def rejected(cluster: Cluster, manager: str, reason: str) -> int:
    """How much `manager` says in its metrics that it has dropped of the gossip for this reason."""
    url = f"http://{cluster.address(manager)}:{HTTP_PORT}/metrics"
    with urllib.request.urlopen(url, timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    counts = [
        line for line in lines if line.startswith("kcm_rejected_total{") and f'reason="{reason}"' in line
    ]
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in counts if 'where="gossip"' in line)


def times(cluster: Cluster, manager: str, text: str) -> int:
    return sum(text in line for line in cluster.managers[manager].text.splitlines())


def test_managers_of_one_key_form_a_group_and_no_log_tells_it(cluster: Cluster) -> None:
    cluster.start_managers(3, config=UNDER_KEY)
    cluster.managers["m1"].says("gossip is encrypted, nodes and HTTP have no keys yet")
    assert cluster.managers["m3"].stop() == 0
    wait_for(lambda: cluster.members("m1") == {"m1": "alive", "m2": "alive"}, 3.0, "m3 has left")
    assert rejected(cluster, "m1", "undecryptable") == 0
    assert rejected(cluster, "m1", "replayed") == 0
    assert not any(KEY in manager.text for manager in cluster.managers.values())


@pytest.mark.parametrize(
    ("config", "here", "said_here", "there", "said_there"),
    [
        (
            "",
            "plaintext",
            "sends gossip without a key: give it the gossip.key",
            "encrypted",
            "sends gossip under a key, and this manager has none",
        ),
        (
            f"gossip: {{key: {OTHER_KEY}}}\n",
            "undecryptable",
            "no installed key opens what",
            "undecryptable",
            "no installed key opens what",
        ),
        (
            f"gossip: {{key: {KEY}, label: blue}}\n",
            "label",
            "compare gossip.label",
            "",
            "cannot join",
        ),
    ],
    ids=["no key", "another key", "another label"],
)
def test_who_has_not_the_key_is_not_let_in_and_both_sides_say_why_once(
    cluster: Cluster, config: str, here: str, said_here: str, there: str, said_there: str
) -> None:
    cluster.start_managers(3, config=UNDER_KEY)
    cluster.start_manager("m4", config=config)
    cluster.managers["m4"].says(said_there)
    cluster.managers["m1"].says(said_here)
    tries = rejected(cluster, "m1", here)
    wait_for(lambda: rejected(cluster, "m1", here) > tries, 15.0, "it tries again")
    assert times(cluster, "m1", said_here) == 1
    if there:
        assert rejected(cluster, "m4", there) > 0
        # Once for each of the three that it tries.
        assert times(cluster, "m4", said_there) <= 3
    everybody = {"m1": "alive", "m2": "alive", "m3": "alive"}
    assert all(cluster.members(name) == everybody for name in everybody)
    assert cluster.members("m4") == {"m4": "alive"}
    assert not any(key in m.text for key in (KEY, OTHER_KEY) for m in cluster.managers.values())


def test_amid_a_rotation_managers_of_either_first_key_are_one_group(cluster: Cluster) -> None:
    for name, keys in (("m1", [KEY, OTHER_KEY]), ("m2", [OTHER_KEY, KEY]), ("m3", [OTHER_KEY, KEY])):
        file = cluster.folder / f"{name}.keyring"
        file.write_text(json.dumps(keys))
        file.chmod(0o600)
        cluster.start_manager(name, config=f"gossip: {{keyring_file: {file}}}\n")
    cluster.formed(3)


def test_a_keyring_that_others_can_read_is_refused_with_what_to_type(cluster: Cluster) -> None:
    file = cluster.folder / "keyring"
    file.write_text(json.dumps([KEY]))
    file.chmod(0o644)
    manager = cluster.start_manager("m1", f"--gossip-keyring-file={file}", peers=[])
    assert manager.popen.wait(10) == 2
    [line] = manager.text.splitlines()
    assert f"chmod 600 {file}" in line


def test_managers_of_one_label_form_a_group(cluster: Cluster) -> None:
    cluster.start_managers(2, config="gossip: {label: blue}\n")
    assert rejected(cluster, "m1", "label") == 0
