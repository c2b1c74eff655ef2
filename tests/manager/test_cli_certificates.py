"""`kcm certificates`: what it makes is believed by managers, nodes and `kcm`, and renewed in place."""

from pathlib import Path

import pytest

from manager.cli.certificates import make
from manager.cli.client import ClientError
from manager.tls import Certificate
from node.tls import to_managers
from tests.manager.test_tls import served


async def test_each_host_is_believed_under_all_its_names_and_from_itself(tmp_path: Path) -> None:
    answer = make(tmp_path / "tls", ["192.168.1.100,cm1.example.com", "cm2"], "managers")
    first, second = (Certificate(made["cert"], made["key"]) for made in answer["certificates"])
    assert all(first.is_for(name) for name in ("192.168.1.100", "cm1.example.com", "managers", "127.0.0.1"))
    assert second.is_for("cm2")
    assert not second.is_for("192.168.1.100")
    client = to_managers(
        answer["ca"], "", answer["certificates"][1]["cert"], answer["certificates"][1]["key"]
    )
    assert await served(first, client)
    wants_one = Certificate(answer["certificates"][1]["cert"], answer["certificates"][1]["key"], answer["ca"])
    assert await served(wants_one, client)


def test_made_again_they_are_of_the_same_authority(tmp_path: Path) -> None:
    before = make(tmp_path, ["cm1"], days=10)
    authority = Path(before["ca"]).read_bytes()
    certificate = Certificate(before["certificates"][0]["cert"], before["certificates"][0]["key"])
    make(tmp_path, ["cm1"], days=20)
    assert Path(before["ca"]).read_bytes() == authority
    assert certificate.refresh()
    assert 19 < certificate.days_left <= 20


def test_nobody_else_may_read_a_key(tmp_path: Path) -> None:
    make(tmp_path / "tls", ["cm1"])
    assert (tmp_path / "tls").stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "tls").glob("*.key")} == {0o600}


@pytest.mark.parametrize("host", ["", ",", "a/b", "ca", "bücher"])
def test_what_is_no_host_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(ClientError, match=r"is no host|neither a host"):
        make(tmp_path, [host])


def test_an_authority_that_is_not_whole_is_left_alone(tmp_path: Path) -> None:
    make(tmp_path, ["cm1"])
    (tmp_path / "ca.key").write_bytes((tmp_path / "cm1.key").read_bytes())
    with pytest.raises(ClientError, match="is not the key of"):
        make(tmp_path, ["cm2"])
