"""The log, as managers and nodes write it to stdout.

Text is the line that the cluster manager of 2017 wrote, and people's tools look for:

    CM  2017/02/13 - 18:18:23.290 ▶ INFO Sending the limits to the krakend: krakend_3f20a44d-...

JSON is one object a line with the same fields, the time in UTC. Standard `logging` throughout: call
`configure` once, then `logging.getLogger(...)` anywhere.
"""

import io
import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal, TextIO, TypeAlias

from pydantic import BeforeValidator, Field

from node.settings import Settings

Format: TypeAlias = Literal["text", "json"]
Level: TypeAlias = Literal["debug", "info", "warning", "error", "critical"]

_SPELLINGS = {"debu": "debug", "warn": "warning", "erro": "error", "crit": "critical"}


def _read_level(value: object) -> object:
    return _SPELLINGS.get(value.lower(), value.lower()) if isinstance(value, str) else value


class LogSettings(Settings):
    """The key `log` of both configuration files."""

    format: Annotated[Format, Field(description="text or json")] = "text"
    level: Annotated[
        Level,
        BeforeValidator(_read_level),
        Field(description="debug, info, warning, error or critical"),
    ] = "info"


_SHORT = {"DEBUG": "DEBU", "INFO": "INFO", "WARNING": "WARN", "ERROR": "ERRO", "CRITICAL": "CRIT"}
_COLOURS = {"DEBU": "36", "INFO": "32", "WARN": "33", "ERRO": "31", "CRIT": "35"}
_VISIBLE = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}
_VISIBLE_IN_JSON = {code: f"\\u{code:04x}" for code in (*range(127, 160), 0x2028, 0x2029)}


def configure(tag: str, format: Format = "text", level: Level = "info") -> None:
    """Send every log record to stdout under `tag` (`CM` a manager, `KN` a node); call again to change.

    stdout becomes UTF-8 and line-buffered whatever the locale and whether it is a terminal or not.
    A reader that goes away (`| head`) costs the log, never the process.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    formatter: logging.Formatter = (
        JsonFormatter(tag) if format == "json" else TextFormatter(tag, in_colour(sys.stdout, os.environ))
    )
    handler = StdoutHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, StdoutHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for chatty in ("asyncio", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def in_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Only on a terminal, and not where NO_COLOR (https://no-color.org) is set to anything."""
    return stream.isatty() and not environ.get("NO_COLOR")


class StdoutHandler(logging.Handler):
    """Writes to whatever `sys.stdout` is at the time, and survives its end."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stdout.write(self.format(record) + "\n")
        except (OSError, ValueError):
            # The reader has gone or stdout is closed. Point it at /dev/null, else the interpreter
            # fails once more when it flushes at exit.
            with open(os.devnull, "wb") as nowhere:
                _put_in_place_of_stdout(nowhere.fileno())

    def handleError(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"a log record could not be written: {record.msg!r}\n")


def _put_in_place_of_stdout(descriptor: int) -> None:
    try:
        os.dup2(descriptor, sys.stdout.fileno())
    except (OSError, ValueError):
        return


class TextFormatter(logging.Formatter):
    """`TAG  2017/02/13 - 18:18:23.290 ▶ INFO message`, the time that of this machine's zone."""

    def __init__(self, tag: str, colour: bool = False) -> None:
        super().__init__()
        self.tag, self.colour = tag, colour

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created)
        level = _short(record)
        mark = f"▶ {level}"
        if self.colour:
            mark = f"\x1b[{_COLOURS[level]}m{mark}\x1b[0m"
        milliseconds = at.microsecond // 1000
        message = _message(record, self).translate(_VISIBLE)
        return f"{self.tag}  {at:%Y/%m/%d - %H:%M:%S}.{milliseconds:03d} {mark} {message}"


class JsonFormatter(logging.Formatter):
    """`{"tag": "CM", "time": "2017-02-13T17:18:23.290Z", "level": "INFO", "message": "..."}`."""

    def __init__(self, tag: str) -> None:
        super().__init__()
        self.tag = tag

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        return json.dumps(
            {
                "tag": self.tag,
                "time": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z",
                "level": _short(record),
                "message": _message(record, self),
            },
            ensure_ascii=False,
        ).translate(_VISIBLE_IN_JSON)


def _short(record: logging.LogRecord) -> str:
    """The level as four letters; one between two of ours is the lower."""
    return _SHORT[logging.getLevelName(max(10, min(50, record.levelno // 10 * 10)))]


def _message(record: logging.LogRecord, formatter: logging.Formatter) -> str:
    """The message and, if there is one, the traceback."""
    text = record.getMessage()
    return f"{text}: {formatter.formatException(record.exc_info)}" if record.exc_info else text
