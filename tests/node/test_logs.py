"""The log line, in its own process and through a real pipe."""

import io
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from node.logs import JsonFormatter, LogSettings, TextFormatter, in_colour
from node.settings import SettingsError, load

ROOT = Path(__file__).parents[2]
LINE = re.compile(
    r"^CM  \d{4}/\d\d/\d\d - \d\d:\d\d:\d\d\.\d{3} ▶ INFO Sending the limits to the krakend:"
    r" krakend_[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
)
SENTENCE = "Sending the limits to the krakend: krakend_3f20a44d-3d93-4bc9-829b-b76b22055142"


def record(message: str, level: int = logging.INFO) -> logging.LogRecord:
    made = logging.LogRecord("name", level, "path", 1, message, None, None)
    made.created = 1487009903.290
    return made


def run_python(program: str, **environ: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environ},
    )


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8"])
def test_the_line_has_its_form_when_stdout_is_a_pipe_whatever_the_locale(locale: str) -> None:
    program = f"""
import logging
from node import logs
logs.configure("CM")
logging.getLogger("any").info({SENTENCE!r})
"""
    with run_python(program, LANG=locale, LC_ALL=locale, PYTHONUTF8="0", PYTHONCOERCECLOCALE="0") as process:
        out, error = process.communicate(timeout=20)
    assert error == b""
    assert LINE.fullmatch(out.decode("utf-8").removesuffix("\n"))


def test_a_line_leaves_at_once_and_a_closed_pipe_does_not_end_the_process() -> None:
    program = """
import logging, sys
from node import logs
logs.configure("CM")
logging.info("first")
sys.stdin.readline()
for _ in range(3):
    logging.info("nobody reads this")
sys.stderr.write("alive")
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
    )
    assert process.stdin
    assert process.stdout
    assert process.stderr
    with process:
        assert process.stdout.readline().endswith("▶ INFO first\n".encode())
        process.stdout.close()
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.stderr.read() == b"alive"
    assert process.returncode == 0


def test_levels_have_four_letters() -> None:
    shown = [
        TextFormatter("KN").format(record("x", level))[32:]
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL, 25, 1)
    ]
    assert shown == ["DEBU x", "INFO x", "WARN x", "ERRO x", "CRIT x", "INFO x", "DEBU x"]


def test_colour_is_only_around_the_mark_and_the_level() -> None:
    plain, coloured = TextFormatter("KN").format(record("x")), TextFormatter("KN", True).format(record("x"))
    assert "\x1b[32m▶ INFO\x1b[0m x" in coloured
    assert re.sub(r"\x1b\[\d*m", "", coloured) == plain


def test_colour_wants_a_terminal_and_no_objection() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert in_colour(Terminal(), {})
    assert in_colour(Terminal(), {"NO_COLOR": ""})
    assert not in_colour(Terminal(), {"NO_COLOR": "1"})
    assert not in_colour(io.StringIO(), {})


def test_control_characters_are_made_visible_and_a_message_stays_one_line() -> None:
    message = "a\nb\r\tc\x1b[31m\x00\x85\u2028"
    shown = TextFormatter("KN").format(record(message))
    assert shown.endswith(r"a\nb\r\tc\x1b[31m\x00\x85\u2028")
    shown = JsonFormatter("KN").format(record(message))
    assert shown.isprintable()
    assert json.loads(shown)["message"] == message


def test_json_has_the_same_fields_and_the_time_in_utc() -> None:
    assert json.loads(JsonFormatter("KN").format(record("▶ x"))) == {
        "tag": "KN",
        "time": "2017-02-13T18:18:23.290Z",
        "level": "INFO",
        "message": "▶ x",
    }


def test_a_traceback_goes_into_the_line() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        made = logging.LogRecord("name", logging.ERROR, "path", 1, "Oh", None, sys.exc_info())
    shown = TextFormatter("KN").format(made)
    assert "\n" not in shown
    assert shown.endswith("ValueError: broken")


@pytest.mark.parametrize("typed", ["warn", "WARN", "warning"])
def test_a_level_may_be_typed_in_the_usual_ways(typed: str) -> None:
    assert load(LogSettings, prefix="X_", environ={"X_LEVEL": typed}).settings.level == "warning"


def test_an_unknown_level_names_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="`level` must be 'debug', 'info', 'warning', 'error' or 'crit"):
        load(LogSettings, prefix="X_", environ={"X_LEVEL": "loud"})


@pytest.mark.parametrize("hidden", ["", "uvloop"])
def test_the_loop_is_uvloop_where_it_can_be_had(hidden: str) -> None:
    program = f"""
import logging, sys
sys.modules.update(dict.fromkeys({hidden.split()!r}))
from node import logs, loop
import asyncio
logs.configure("KN", level="debug")
async def main():
    return type(asyncio.get_running_loop()).__module__
print(loop.run(main()))
"""
    with run_python(program) as process:
        out, error = process.communicate(timeout=20)
    assert error == b""
    said, module = out.decode().splitlines()
    assert said.endswith("▶ DEBU The event loop is " + ("asyncio" if hidden else "uvloop"))
    assert module.startswith("asyncio" if hidden else "uvloop")
