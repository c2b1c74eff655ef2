"""`argparse` for `kcm`: a mistake is one line, which names what may have been meant, and where help is."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from manager.meant import did_you_mean

USAGE = 2


class Parser(argparse.ArgumentParser):
    """For `kcm` and, as argparse makes them of the same class, each of its verbs."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{"allow_abbrev": False, **options})
        self.groups: Mapping[str, Sequence[str]] = {}
        """Verbs by the title under which help lists them; where there are none, argparse's own help."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        # What follows an unknown option would be taken for a verb.
        if words and words[0].startswith("--"):
            self._check_option(words[0])
        given, rest = self.parse_known_args(words, namespace)
        if rest:
            used = _used(self, given)
            if rest[0].startswith("-"):
                used._check_option(rest[0])
            used.error(f"one too many: {rest[0]}")
        return given

    def error(self, message: str) -> NoReturn:
        separator = "" if message.endswith("?") else ";"
        text = message.removeprefix("argument ")
        self.exit(USAGE, f"{self.prog}: {text}{separator} see `{self.prog} --help`\n")

    def _check_option(self, word: str) -> None:
        name = word.partition("=")[0]
        options = [option for action in self._actions for option in action.option_strings]
        if name not in options:
            self.error(f"no such option: {name}{did_you_mean(name, options)}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known, name = [*map(str, action.choices)], argparse._get_action_name(action)
        near = did_you_mean(str(value), known)
        if isinstance(action, argparse._SubParsersAction):
            self.error(f"no such verb: {value}{near}")
        self.error(f"{name} must be one of {', '.join(known)}, not {str(value)!r}{near}")

    def format_help(self) -> str:
        if not self.groups:
            return super().format_help()
        [verbs] = [action for action in self._actions if isinstance(action, argparse._SubParsersAction)]
        texts = {action.dest: action.help or "" for action in verbs._choices_actions}
        column = max(map(len, texts)) + 4
        lines = [
            f"usage: {self.prog} VERB … (`{self.prog} VERB --help` tells more)",
            "",
            self.description or "",
        ]
        for title, names in self.groups.items():
            lines += ["", f"{title}:", *(f"  {name:<{column}}{texts[name]}" for name in names)]
        lines += ["", "options, before the verb or after it:"]
        for action in self._actions:
            if action.option_strings and action.help:
                names = ", ".join(action.option_strings)
                lines.append(f"  {names:<{column}}{action.help}")
        return "\n".join([*lines, "", self.epilog or ""]) + "\n"


def _used(parser: Parser, given: argparse.Namespace) -> Parser:
    """The parser of the verb that was given."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            inner = action.choices.get(getattr(given, action.dest, ""))
            if isinstance(inner, Parser):
                return _used(inner, given)
    return parser
