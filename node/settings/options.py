"""Command line options made from a model: `node_port` is `--node-port`, `log.format` is `--log-format`."""

import argparse
from collections.abc import Mapping
from difflib import get_close_matches
from typing import NoReturn

from pydantic import BaseModel

from node.settings.sources import is_list, keys, option_name

_DEST = "setting:"


class OptionParser(argparse.ArgumentParser):
    """`argparse`, which names the option that may have been meant."""

    def error(self, message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ")
        near: list[str] = []
        if unknown != message and unknown.startswith("--"):
            word = unknown.split()[0].partition("=")[0]
            near = get_close_matches(word, self._option_string_actions, 1)
        super().error(f"{message}: did you mean {near[0]}?" if near else message)


def add_arguments(
    parser: argparse.ArgumentParser,
    model: type[BaseModel],
    *,
    aliases: Mapping[str, tuple[str, ...]] | None = None,
) -> None:
    """Add one option per key; maps of named things (limits.NAME...) have none.

    A list takes its option several times or one text with commas; `aliases` adds names to a key's
    option: `{"peers": ("--peer",)}`. The help text is the field's `description`.
    """
    for path, field in keys(model):
        key = ".".join(path)
        parser.add_argument(
            f"--{option_name(key)}",
            *(aliases or {}).get(key, ()),
            dest=_DEST + key,
            action="append" if is_list(field) else "store",
            metavar=path[-1].upper(),
            help=(field.description or "").replace("%", "%%") or None,
        )


def options_given(namespace: argparse.Namespace) -> dict[str, str]:
    """What the command line set, by key, for `load`."""
    return {
        dest.removeprefix(_DEST): ",".join(value) if isinstance(value, list) else value
        for dest, value in vars(namespace).items()
        if dest.startswith(_DEST) and value is not None
    }
