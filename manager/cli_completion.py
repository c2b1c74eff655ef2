"""`kcm completion`: what a shell needs to complete verbs and options, made from the parser itself."""

import argparse
from typing import Any

_BASH = """\
_kcm() {{
  local words="${{COMP_WORDS[*]:1:COMP_CWORD-1}}" current="${{COMP_WORDS[COMP_CWORD]}}" known=""
  case "$words" in
{cases}
  esac
  COMPREPLY=($(compgen -W "$known" -- "$current"))
}}
complete -o default -F _kcm kcm
"""


def add_verb(verbs: Any, verb: Any, parser: argparse.ArgumentParser) -> None:
    """Add `kcm completion bash|zsh`."""
    text = "print what bash or zsh needs to complete kcm's words"
    own = verb(verbs, "completion", text, lambda options: script(parser, options.shell))
    own.add_argument("shell", choices=("bash", "zsh"), help='eval "$(kcm completion bash)" in ~/.bashrc')


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """To be evaluated by `shell`."""
    # The longest first: `subscription set` before `subscription`.
    found = sorted(_words(parser, ()), key=lambda pair: -len(pair[0]))
    cases = "\n".join(f'    "{" ".join(path)}"*) known="{" ".join(words)}" ;;' for path, words in found)
    bash = _BASH.format(cases=cases).rstrip()
    return bash if shell == "bash" else f"autoload -U +X bashcompinit && bashcompinit\n{bash}"


def _words(parser: argparse.ArgumentParser, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], list[str]]]:
    """What may follow each row of verbs."""
    words = [option for action in parser._actions for option in action.option_strings]
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                words.append(name)
                found += _words(inner, (*path, name))
        elif action.choices and not action.option_strings:
            words += map(str, action.choices)
    return [*found, (path, words)]
