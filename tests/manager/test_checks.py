"""What a manager finds when it looks at itself."""

from dataclasses import replace

import pytest

from manager.checks import Facts, rows

WELL = Facts(
    advertise="10.0.0.1:7946",
    is_own=True,
    itself="",
    peers={"m2:7946": ("10.0.0.2:7946",)},
    unmet=(),
    has_key=True,
    rejected={},
    days_left=90.0,
    unfit="",
)


def verdicts(facts: Facts) -> dict[str, str]:
    return {row["check"]: row["verdict"] for row in rows(facts)}


def test_a_manager_that_is_well_finds_nothing() -> None:
    assert verdicts(WELL) == {"address": "good", "peers": "good", "key": "good", "certificate": "good"}


@pytest.mark.parametrize(
    ("facts", "check", "verdict", "todo"),
    [
        (replace(WELL, itself="connection refused"), "address", "bad", "does not reach itself there"),
        (replace(WELL, is_own=False), "address", "odd", "right behind NAT"),
        (replace(WELL, peers={"m9:7946": ()}), "peers", "bad", "correct it in `peers`"),
        (replace(WELL, unmet=["m2:7946"]), "peers", "bad", "compare gossip.key and gossip.label"),
        (replace(WELL, rejected={("gossip", "other_group"): 3}), "group", "odd", "compare group.name"),
        (replace(WELL, has_key=False), "key", "odd", "`kcm init` makes one"),
        (replace(WELL, rejected={("gossip", "undecryptable"): 3}), "key", "bad", "compare gossip.key"),
        (replace(WELL, rejected={("node", "tls_handshake"): 3}), "TLS", "odd", "The log says with whom"),
        (replace(WELL, days_left=3.0), "certificate", "bad", "replace tls.cert"),
        (replace(WELL, unfit="tls.cert is for m1"), "certificate", "bad", "tls.cert is for m1"),
        (
            replace(WELL, days_left=None, rejected={("tls", "peer_not_believed"): 2}),
            "certificate",
            "bad",
            "compare tls.ca and tls.server_name",
        ),
    ],
)
def test_what_is_amiss_is_told_with_what_to_do(facts: Facts, check: str, verdict: str, todo: str) -> None:
    [found] = [row for row in rows(facts) if row["check"] == check]
    assert (found["verdict"], todo in found["what"]) == (verdict, True)


def test_without_tls_there_is_no_certificate_to_look_at() -> None:
    assert "certificate" not in verdicts(replace(WELL, days_left=None))
