"""Prints to stdout, whatever encoding the terminal has, and to pipes whose reader has gone."""

import io
import os
import sys


def write(text: str, encoding: str | None = None) -> None:
    """Write `text` and a line end, in `encoding` where one is given, else in the terminal's.

    A reader that has seen enough (`kcm nodes | head`) is no failure. Raises `OSError` where nothing can be
    written, as on a full disk.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names are any text, a terminal's alphabet need not have all of it.
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")
    try:
        print(text, flush=True)
    except OSError as error:
        # Else the interpreter tries once more, and complains, at its end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        if not isinstance(error, BrokenPipeError):
            raise


def in_colour() -> bool:
    """Whether whoever reads can see colours, and wants them."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
