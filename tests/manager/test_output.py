"""Text on stdout, whatever stands behind it."""

import os
import subprocess
import sys

import pytest


def written(text: str, stdout: int, *, encoding: str | None = None, locale: str = "C.UTF-8") -> str:
    """What a process that writes `text` to `stdout` complains about; it must end well."""
    code = f"from manager.cli.output import write; write({text!a}, {encoding!r})"
    environ = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environ.pop("PYTHONIOENCODING", None)
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=environ,
        timeout=30,
        check=False,
    )
    return done.stderr.decode()


def test_a_reader_that_has_gone_is_no_failure_and_nothing_is_said() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert written("x" * 100_000, writer) == ""
    finally:
        os.close(writer)


def test_a_full_disk_is_said_once() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        complaint = written("text", full)
    finally:
        os.close(full)
    assert complaint.splitlines()[-1] == "OSError: [Errno 28] No space left on device"
    assert "Exception ignored" not in complaint


@pytest.mark.parametrize(
    ("locale", "encoding", "found"),
    [
        ("C.UTF-8", None, "Köln ▶\n".encode()),
        ("C", None, b"K\\xf6ln \\u25b6\n"),
        ("C", "utf-8", "Köln ▶\n".encode()),
    ],
)
def test_what_the_terminal_has_no_letter_for_is_spelt_out_and_a_file_is_utf_8(
    locale: str, encoding: str | None, found: bytes
) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stream:
        assert written("Köln ▶", writer, encoding=encoding, locale=locale) == ""
        os.close(writer)
        assert stream.read() == found
