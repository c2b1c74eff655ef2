"""Managers under a key: whoever has it is one of them, whoever has not stays out, and both sides say why."""

import json

import pytest

from tests.e2e.cluster import Cluster, wait_for

KEY = "MDEyMzQ1Njc4OTo7PD0+P0BBQkNERUZHSElKS0xNTk8="
OTHER_KEY = "MDEyMzQ1Njc4OTo7PD0+Pw=="
UNDER_KEY = f"gossip: {{key: {KEY}}}\n"


def times(cluster: Cluster, manager: str, text: str) -> int:
    return sum(text in line for line in cluster.managers[manager].text.splitlines())


def test_managers_of_one_key_form_a_group_and_no_log_tells_it(cluster: Cluster) -> None:
    cluster.start_managers(3, config=UNDER_KEY)
    cluster.managers["m1"].says("no nodes.tokens: nodes are let in from any loopback or private address")
    assert cluster.managers["m3"].stop() == 0
    wait_for(lambda: cluster.members("m1") == {"m1": "alive", "m2": "alive"}, 3.0, "m3 has left")
    assert cluster.rejected("m1")["undecryptable"] == 0
    assert cluster.rejected("m1")["replayed"] == 0
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
    tries = cluster.rejected("m1")[here]
    wait_for(lambda: cluster.rejected("m1")[here] > tries, 15.0, "it tries again")
    assert times(cluster, "m1", said_here) == 1
    if there:
        assert cluster.rejected("m4")[there] > 0
        # Once for each of the three that it tries.
        assert times(cluster, "m4", said_there) <= 3
    everybody = {"m1": "alive", "m2": "alive", "m3": "alive"}
    assert all(cluster.members(name) == everybody for name in everybody)
    assert cluster.members("m4") == {"m4": "alive"}
    assert not any(key in m.text for key in (KEY, OTHER_KEY) for m in cluster.managers.values())


def with_keyring(cluster: Cluster, name: str, *keys: str) -> str:
    """The configuration of manager `name` with these keys in a file of its own."""
    file = cluster.folder / f"{name}.keyring"
    file.write_text(json.dumps(keys))
    file.chmod(0o600)
    return f"gossip: {{keyring_file: {file}}}\n"


def on_disk(cluster: Cluster) -> set[str]:
    return {(cluster.folder / f"{name}.keyring").read_text().strip() for name in cluster.managers}


def test_amid_a_rotation_managers_of_either_first_key_are_one_group(cluster: Cluster) -> None:
    for name, keys in (("m1", [KEY, OTHER_KEY]), ("m2", [OTHER_KEY, KEY]), ("m3", [OTHER_KEY, KEY])):
        cluster.start_manager(name, config=with_keyring(cluster, name, *keys))
    cluster.formed(3)


def kcm(cluster: Cluster, *arguments: str, manager: str = "m1") -> str:
    done = cluster.kcm("keys", *arguments, manager=manager)
    if done.returncode:
        raise ValueError(done.stderr)
    return done.stdout


def test_keys_are_changed_on_three_running_managers_without_a_lost_member(cluster: Cluster) -> None:
    for name in ("m1", "m2", "m3"):
        cluster.start_manager(name, config=with_keyring(cluster, name, KEY))
    cluster.formed(3)
    new = kcm(cluster, "generate").strip()

    # A key that m3 has missed is not used, and it is named.
    cluster.managers["m3"].kill()
    wait_for(lambda: len(cluster.members("m1")) == 2, 20.0, "m3 is dead")
    with pytest.raises(ValueError, match=r"not on these: .*m3 \(is dead\)"):
        kcm(cluster, "install", new)
    with pytest.raises(ValueError, match=r"m3 \(is dead\).*nothing was changed"):
        kcm(cluster, "use", new)
    cluster.start_manager("m3", config=(cluster.folder / "m3.yml").read_text())
    cluster.formed(3)

    def refused_for_m3() -> bool:
        # Until m1 has tried its peer m3 again it does not know that it answers.
        with pytest.raises(ValueError, match="nothing was changed") as refused:
            kcm(cluster, "use", new)
        return "m3 has not the key" in str(refused.value)

    wait_for(refused_for_m3, 20.0, "m3 is named as the one that has not the key")
    wait_for(lambda: kcm(cluster, "install", new), 30.0, "the key is on all three")
    assert "3/3" in kcm(cluster, "use", new, manager="m2")
    assert on_disk(cluster) == {json.dumps([new, KEY])}
    kcm(cluster, "remove", KEY, manager="m3")
    assert on_disk(cluster) == {json.dumps([new])}
    assert all((cluster.folder / f"{name}.keyring").stat().st_mode & 0o777 == 0o600 for name in ("m1", "m3"))
    # One that restarts comes back by its file.
    assert cluster.managers["m2"].stop() == 0
    cluster.start_manager("m2", config=(cluster.folder / "m2.yml").read_text())
    cluster.formed(3)
    listed = kcm(cluster, "list")
    assert listed.splitlines()[1].split()[1:] == ["3/3", "3/3"]
    for manager in ("m1", "m2"):
        lines = cluster.managers[manager].text.splitlines()
        changed = [at for at, line in enumerate(lines) if "gossip keys: use" in line]
        assert not [line for line in lines[changed[0] :] if "is dead" in line or "no installed key" in line]
    said = listed + "".join(manager.text for manager in cluster.managers.values())
    assert not any(key in said for key in (KEY, new))


def test_keys_are_not_changed_where_a_restart_would_undo_it(cluster: Cluster) -> None:
    cluster.start_manager("m1", peers=[], config=UNDER_KEY)
    cluster.start_manager("m2", peers=[])
    for name in ("m1", "m2"):
        cluster.managers[name].says("is listening")
    assert "1/1" in kcm(cluster, "list")
    with pytest.raises(ValueError, match=r"name that by gossip\.keyring_file"):
        kcm(cluster, "install", OTHER_KEY)
    with pytest.raises(ValueError, match=r"has no key here: write a list .* `kcm keys generate`"):
        kcm(cluster, "list", manager="m2")


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
    assert cluster.rejected("m1")["label"] == 0
