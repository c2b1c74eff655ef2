"""What an installation is known by when it has lost its state."""

from pathlib import Path

import pytest

from node.fingerprint import fingerprint


@pytest.fixture
def host(tmp_path: Path) -> Path:
    (tmp_path / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    return tmp_path / "machine-id"


def test_it_stays_with_host_and_place_and_says_neither(host: Path, tmp_path: Path) -> None:
    one = fingerprint(tmp_path / "a", host)
    assert one == fingerprint(tmp_path / "a", host)
    assert len(one) == 32
    assert "0123456789abcdef" not in one
    assert fingerprint(tmp_path / "b", host) != one
    host.write_text("f" * 32)
    assert fingerprint(tmp_path / "a", host) != one


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe"])
def test_a_host_without_an_id_has_none(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "machine-id"
    if content is not None:
        path.write_bytes(content)
    assert fingerprint(tmp_path, path) == ""
