"""`kcm completion`: what a shell needs to complete verbs, options and values, made from the parser itself."""

import argparse
from typing import Any

_BASH = """\
_kcm() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" words="" known="" skip="" word
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    if [[ $skip ]]; then skip=""; continue; fi
    case "$word" in
      -o|--output|--manager) skip=1 ;;
      -*) ;;
      *) words+="$word " ;;
    esac
  done
  case "${{COMP_WORDS[COMP_CWORD-1]}}" in
{values}
    *) case "$words" in
{cases}
    esac ;;
  esac
  COMPREPLY=($(compgen -W "$known" -- "$current"))
}}
complete -o default -F _kcm kcm
"""
_NODES = "$(kcm nodes 2>/dev/null | awk 'NR > 1 && $2 ~ /^[A-Za-z0-9._-]+$/ { print $2 }')"
"""Asked for when they are wanted. Plain names alone: compgen would carry out what stands in others."""


def add_verb(verbs: Any, verb: Any, parser: argparse.ArgumentParser) -> None:
    """Add `kcm completion bash|zsh`."""
    text = "print what bash or zsh needs to complete kcm's words"
    own = verb(verbs, "completion", text, lambda options: script(parser, options.shell))
    own.add_argument("shell", choices=("bash", "zsh"), help='eval "$(kcm completion bash)" in ~/.bashrc')


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """To be evaluated by `shell`."""
    values: dict[str, set[str]] = {}
    # The longest first: `subscription set` before `subscription`.
    found = sorted(_words(parser, (), values), key=lambda pair: -len(pair[0]))
    cases = "\n".join(f'      "{" ".join(path)}"*) known="{" ".join(words)}" ;;' for path, words in found)
    chosen = "\n".join(
        f'    {option}) known="{" ".join(sorted(choices))}" ;;' for option, choices in sorted(values.items())
    )
    bash = _BASH.format(cases=cases, values=chosen).rstrip()
    return bash if shell == "bash" else f"autoload -U +X bashcompinit && bashcompinit\n{bash}"


def _words(
    parser: argparse.ArgumentParser, path: tuple[str, ...], values: dict[str, set[str]]
) -> list[tuple[tuple[str, ...], list[str]]]:
    """What may follow each row of verbs; into `values` goes what may follow an option."""
    words = [option for action in parser._actions for option in action.option_strings]
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                words.append(name)
                found += _words(inner, (*path, name), values)
        elif action.choices:
            words += [] if action.option_strings else map(str, action.choices)
            for option in action.option_strings:
                values.setdefault(option, set()).update(map(str, action.choices))
        elif action.metavar == "NODE":
            words.append(_NODES)
    return [*found, (path, words)]
