"""Signed subscriptions, as a company that is its own issuer uses them: from a file and by hand."""

from pathlib import Path

from tests.e2e.cluster import Cluster, wait_for


def sign(cluster: Cluster, folder: Path, serial: int, max_nodes: int) -> Path:
    out = folder / f"LICENSE.{serial}"
    done = cluster.kcm(
        *(
            "subscription",
            "sign",
            "--key",
            str(folder / "issuer.pem"),
            "--out",
            str(out),
            "--group",
            "krakend",
        ),
        *("--serial", str(serial), "--max-nodes", str(max_nodes), "--expires", "2090-01-01"),
    )
    assert done.returncode == 0, done.stderr
    return out


def in_force(cluster: Cluster, serial: int, max_nodes: int) -> bool:
    found = [cluster.get(manager, "subscription") for manager in cluster.managers]
    return all(
        (one["source"], one["stage"], one["serial"], one["max_nodes"])
        == ("document", "valid", serial, max_nodes)
        for one in found
    )


def test_a_signed_document_is_in_force_everywhere_without_a_restart_and_after_one(
    cluster: Cluster, tmp_path: Path
) -> None:
    made = cluster.kcm("subscription", "keygen", "--out", str(tmp_path / "issuer.pem"))
    document = tmp_path / "LICENSE"
    config = f"subscription: {{issuers: ['{made.stdout.strip()}'], file: {document}, max_nodes: 1}}\n"
    cluster.start_managers(3, config=config)
    cluster.start_node("n1")
    cluster.start_node("n2")
    wait_for(lambda: sorted(cluster.states("m1").values()) == ["active", "refused"], 15.0, "one is in")

    done = cluster.kcm("subscription", "install", str(sign(cluster, tmp_path, 1, 2)), manager="m2")
    assert done.returncode == 0, done.stderr
    wait_for(lambda: in_force(cluster, 1, 2), 5.0, "the first document is in force")
    cluster.everywhere({"n1": "active", "n2": "active"}, 40.0, "both are in")

    refused = cluster.kcm("subscription", "set", "--max-nodes", "9")
    assert (refused.returncode, "install a newer one" in refused.stderr) == (1, True)

    document.write_bytes(sign(cluster, tmp_path, 2, 7).read_bytes())
    wait_for(lambda: in_force(cluster, 2, 7), 40.0, "the file was read")
    rolled_back = cluster.kcm("subscription", "install", str(tmp_path / "LICENSE.1"))
    assert (rolled_back.returncode, "is not above 2" in rolled_back.stderr) == (1, True)

    document.unlink()
    for manager in cluster.managers.values():
        manager.kill()
    cluster.start_manager("m1", config=config)
    del cluster.managers["m2"], cluster.managers["m3"]
    wait_for(lambda: in_force(cluster, 2, 7), 10.0, "one manager alone still has it")
    assert "2090-01-01" in cluster.kcm("subscription", "history").stdout
