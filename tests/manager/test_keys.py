"""The keys of the gossip: where they come from, what a mistake looks like, and that nothing tells them."""

import json
import os
from base64 import b64encode
from pathlib import Path

import pytest

from gossip.wire import PLAIN, Keyring, Layers
from manager import process
from manager.config.configured import gossip_layers
from manager.config.schema import ManagerFile
from manager.keys import read_keyring, write_keyring
from node.settings import SettingsError, dump, load

KEY = bytes(range(32, 64))
OTHER = bytes(range(64, 80))
TEXT = b64encode(KEY).decode()
OTHER_TEXT = b64encode(OTHER).decode()


def keyring_file(folder: Path, content: str, mode: int = 0o600) -> Path:
    file = folder / "gossip.keyring"
    file.write_text(content)
    file.chmod(mode)
    return file


def configuration(text: str, folder: Path, environ: dict[str, str] | None = None) -> ManagerFile:
    """What is in force with a file of `text`."""
    file = folder / "cluster-manager.yml"
    file.write_text(text, encoding="utf-8")
    return load(ManagerFile, prefix="KCM_", file=file, environ=environ or {}).settings


def test_without_key_and_label_the_gossip_has_no_layers() -> None:
    assert gossip_layers(ManagerFile()) is PLAIN


def test_one_key_is_a_setting_or_a_variable(tmp_path: Path) -> None:
    ours = Layers(Keyring([KEY]))
    assert gossip_layers(configuration(f"gossip: {{key: {TEXT}}}\n", tmp_path)) == ours
    assert gossip_layers(configuration("", tmp_path, {"KCM_GOSSIP_KEY": TEXT})) == ours
    over = configuration(f"gossip: {{key: {OTHER_TEXT}}}\n", tmp_path, {"KCM_GOSSIP_KEY": TEXT + "\n"})
    assert gossip_layers(over) == ours


def test_a_keyring_is_a_file_as_serf_writes_it(tmp_path: Path) -> None:
    file = keyring_file(tmp_path, json.dumps([TEXT, OTHER_TEXT, TEXT], indent=2))
    layers = gossip_layers(configuration(f"gossip: {{keyring_file: {file}, label: grün}}\n", tmp_path))
    assert layers == Layers(Keyring([KEY, OTHER]), "grün".encode())
    assert len(layers.random_bytes(12)) == 12
    assert layers.random_bytes(12) != layers.random_bytes(12)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_keyring_that_others_may_open_is_refused_with_what_to_type(tmp_path: Path, mode: int) -> None:
    file = keyring_file(tmp_path, json.dumps([TEXT]), mode)
    with pytest.raises(ValueError, match=f"others may open: chmod 600 {file}"):
        read_keyring(str(file))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "line 1 is not JSON"),
        (f'[\n"{TEXT}"\n', "line 3 is not JSON"),
        (TEXT, "is not JSON"),
        ("[" * 50_000, "is not JSON"),
        (f'{{"key": "{TEXT}"}}', "is no list of texts"),
        ("[1]", "is no list of texts"),
        ("[]", "has 0 keys, not 1 to 8"),
        (json.dumps([b64encode(bytes((at,)) * 16).decode() for at in range(9)]), "has 9 keys, not 1 to 8"),
        (f'["{OTHER_TEXT}", "{TEXT[:-4]}"]', "key 2 has 30 bytes, not 16, 24 or 32"),
        (f'["{TEXT[:-1]}*"]', "key 1 is not base64"),
        (" " * 70_000, "is larger than 64 KiB"),
    ],
)
def test_each_mistake_in_a_keyring_is_named_and_no_key_told(
    tmp_path: Path, content: str, problem: str
) -> None:
    file = keyring_file(tmp_path, content)
    with pytest.raises(SettingsError, match=problem) as error:
        configuration(f"name: m1\ngossip:\n  keyring_file: {file}\n", tmp_path)
    said = str(error.value)
    assert f"line 3: `gossip.keyring_file` is {file}, " in said
    assert "\n" not in said
    assert TEXT[:20] not in said


def test_a_keyring_that_is_missing_or_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none, which does not exist: write "):
        read_keyring(str(tmp_path / "none"))
    with pytest.raises(ValueError, match="no regular file"):
        read_keyring(str(tmp_path))
    with pytest.raises(ValueError, match="cannot be read: not a directory"):
        read_keyring(str(keyring_file(tmp_path, "[]") / "none"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"gossip:\n  key: {TEXT[:-4]}\n",
            "`gossip.key` has 30 bytes, not 16, 24 or 32: it must be random bytes in base64, `openssl rand",
        ),
        (f"gossip: {{key: {TEXT}!}}\n", "line 1: `gossip.key` is not base64"),
        (f"gossip: {{key: {KEY.hex()}}}\n", "`gossip.key` has 48 bytes, not 16, 24 or 32"),
        (f"gossip: {TEXT}\n", "line 1: `gossip` must be a map: write `gossip: {key: KEY}`"),
        (f"gossip: {{key: [{TEXT}]}}\n", "`gossip.key` must be text, not a list"),
        (f"gossip: {{keys: {TEXT}}}\n", "`gossip.keys` is not a key: did you mean `key`?"),
        (
            f"gossip: {{keyring_file: {TEXT}}}\n",
            "`gossip.keyring_file` is a key, not the name of a file: it belongs into `gossip.key`",
        ),
        (
            f"gossip:\n  key: {TEXT}\n  keyring_file: /etc/krakend/keyring\n",
            "line 3: `gossip.keyring_file` is set, and so is `gossip.key`: leave one of them out",
        ),
        (
            f"gossip: {{label: {'x' * 256}}}\n",
            "`gossip.label` must be at most 255 bytes of printable text",
        ),
        ('gossip: {label: "\\a"}\n', "`gossip.label` must be at most 255 bytes of printable text"),
    ],
)
def test_each_mistake_is_one_line_that_tells_no_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as error:
        configuration(text, tmp_path)
    said = str(error.value)
    assert message in said
    assert "\n" not in said
    assert not any(secret in said for secret in (TEXT[:20], KEY.hex()[:20]))


def test_the_key_is_in_no_text_made_of_the_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = configuration(f"gossip: {{key: {TEXT}}}\n", tmp_path)
    layers = gossip_layers(file)
    said = f"{file} {file!r} {dump(file)} {file.model_dump_json()} {layers} {layers!r}"
    monkeypatch.setenv("KCM_GOSSIP_KEY", TEXT)
    assert process.run(["--print-config", "--config", str(tmp_path / "cluster-manager.yml")], "kcm run") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("# gossip.key is set and not shown\n")
    assert "gossip:\n  key:\n" in printed
    assert not any(secret in said + printed for secret in (TEXT, repr(KEY)[2:-1], KEY.hex()))
    monkeypatch.delenv("KCM_GOSSIP_KEY")
    assert gossip_layers(configuration(printed, tmp_path)) is PLAIN


def test_the_name_of_a_keyring_file_is_printed_and_its_keys_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = keyring_file(tmp_path, json.dumps([TEXT]))
    config = tmp_path / "cluster-manager.yml"
    config.write_text("")
    assert process.run(["--print-config", f"--config={config}", f"--gossip-keyring-file={file}"], "kcm") == 0
    printed = capsys.readouterr().out
    assert f"keyring_file: {file}\n" in printed
    assert TEXT not in printed


def test_a_written_keyring_reads_as_it_was_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "keyring"
    file.write_text("[]")
    file.chmod(0o644)
    keyring = Keyring([bytes(16), bytes(32)])
    write_keyring(str(file), keyring)
    assert read_keyring(str(file)) == keyring
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_where_a_keyring_cannot_be_written_the_old_one_stays(tmp_path: Path) -> None:
    file = tmp_path / "keyring"
    write_keyring(str(file), Keyring([bytes(16)]))
    (tmp_path / f".keyring.{os.getpid()}").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_keyring(str(file), Keyring([bytes(32)]))
    assert read_keyring(str(file)) == Keyring([bytes(16)])
