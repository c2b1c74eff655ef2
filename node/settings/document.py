"""A YAML file as plain text scalars, lists and maps, with the line of each.

A plain scalar is the text that stands there: `name: no` is "no", `version: 1e3` is "1e3"; what it
means is up to the schema. A key without a value counts as not set. Neither tags nor aliases are
read: nothing here needs them, and a small file of aliases can stand for gigabytes.
"""

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import yaml

from node.settings.errors import SettingsError

FILE_BYTES_MAX = 1024 * 1024
DEPTH_MAX = 16

Tree: TypeAlias = "str | list[Tree] | dict[str, Tree]"
Place: TypeAlias = "tuple[str | int, ...]"


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says, and where each value of it stands (`FILE, line 3`)."""

    data: dict[str, Tree] = field(default_factory=dict)
    places: dict[Place, str] = field(default_factory=dict)


def read_document(file: Path) -> Document:
    """Read `file`; raises `SettingsError` for anything but one YAML map in UTF-8."""
    try:
        with file.open("rb") as stream:
            content = stream.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise SettingsError(f"{file} does not exist: write it, or name another file") from None
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {(error.strerror or str(error)).lower()}") from None
    if len(content) > FILE_BYTES_MAX:
        raise SettingsError(f"{file} is larger than 1 MiB: is it the right file?")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{file}, line {line}: not UTF-8: save the file as UTF-8") from None
    return parse_document(text, str(file))


def parse_document(text: str, name: str) -> Document:
    """`text` as `read_document` would return it from a file called `name`."""
    _refuse_bare_ipv6(text, name)
    loader = _open_loader(text, name)
    try:
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise SettingsError(_explain(error, text, name)) from None
    finally:
        loader.dispose()
    document = Document()
    if root is None or (isinstance(root, yaml.ScalarNode) and _is_empty(root)):
        return document
    place = f"{name}, line {root.start_mark.line + 1}"
    if not isinstance(root, yaml.MappingNode):
        raise SettingsError(f"{place}: must be a map, `key: value` on each line")
    _read_map(root, (), document.data, document.places, name)
    return document


class _Loader(yaml.BaseLoader):
    """Composes without resolving: every scalar is text. Refuses what this format does not have."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.MarkedYAMLError(
                problem="`&` and `*` (anchors and aliases) are not read here: write the value itself,"
                " in quotes if it begins with that sign",
                problem_mark=event.start_mark,
            )
        if getattr(event, "tag", None):
            raise yaml.MarkedYAMLError(
                problem="`!` (a tag) is not read here: leave it out,"
                " or put the value in quotes if it begins with that sign",
                problem_mark=event.start_mark,
            )
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _open_loader(text: str, name: str) -> _Loader:
    try:
        return _Loader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SettingsError(f"{name}, line {line}: a control character: delete it") from None


def _read_map(
    node: yaml.MappingNode, path: Place, into: dict[str, Tree], places: dict[Place, str], name: str
) -> None:
    lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        place = f"{name}, line {line}"
        if not isinstance(key_node, yaml.ScalarNode):
            raise SettingsError(f"{place}: a key must be text")
        key = key_node.value
        if key in lines:
            raise SettingsError(
                f"{place}: `{_dotted((*path, key))}` stands twice, first in line {lines[key]}: delete one"
            )
        lines[key] = line
        places[(*path, key)] = place
        if not (isinstance(value_node, yaml.ScalarNode) and _is_empty(value_node)):
            into[key] = _read(value_node, (*path, key), places, name)


def _read(node: yaml.Node, path: Place, places: dict[Place, str], name: str) -> Tree:
    if isinstance(node, yaml.MappingNode):
        values: dict[str, Tree] = {}
        _read_map(node, path, values, places, name)
        return values
    if isinstance(node, yaml.SequenceNode):
        items = []
        for index, item in enumerate(node.value):
            places[(*path, index)] = f"{name}, line {item.start_mark.line + 1}"
            items.append(_read(item, (*path, index), places, name))
        return items
    assert isinstance(node, yaml.ScalarNode)
    return str(node.value)


def _is_empty(node: yaml.ScalarNode) -> bool:
    return node.value == "" and node.style is None


def _dotted(path: Place) -> str:
    return ".".join(str(part) for part in path)


def _explain(error: yaml.MarkedYAMLError, text: str, name: str) -> str:
    mark = error.problem_mark or error.context_mark
    line = mark.line if mark is not None else 0
    problem = error.problem or "not YAML"
    lines = text.splitlines()
    if "another document" in problem or "expected '<document start>'" in problem:
        problem = "a second document (`---`) begins here: keep one"
    elif "\\t" in problem or (line < len(lines) and "\t" in lines[line]):
        problem = "a tab: YAML wants spaces, replace it"
    elif "mapping values are not allowed" in problem:
        problem = (
            "a second `: ` in one line, or wrong indentation: put the value in quotes, or align the keys"
        )
    elif "could not find expected ':'" in problem:
        problem = "not `key: value`: a colon and a space are missing in this line or the one before"
    elif "expected <block end>" in problem:
        problem = "wrong indentation: align this line with the keys beside it"
    return f"{name}, line {line + 1}: {problem}"


_VALUE = re.compile(r"(\s*(?:- +)*(?:[\w.-]+:\s+)?(?:- +)*)(\[.*)")
_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.]+)(?:%\w+)?\](?::[0-9]+)?")
_IN_LIST = re.compile(rf"(?<![\"'\w]){_BRACKETED.pattern}(?![\"'\w])")


def _refuse_bare_ipv6(text: str, name: str) -> None:
    """`seed: [::1]:7000` is not YAML, or worse, a list of something else: say what to write."""
    for number, line in enumerate(text.splitlines(), 1):
        match = _VALUE.fullmatch(line.partition(" #")[0].rstrip())
        if match is None:
            continue
        begin, value = match.groups()
        if _is_bracketed(_BRACKETED.match(value)):
            remedy = f'{begin}"{value}"'
        elif any(_is_bracketed(found) for found in _IN_LIST.finditer(value, 1)):
            remedy = begin + _IN_LIST.sub(lambda m: f'"{m[0]}"' if _is_bracketed(m) else m[0], value)
        else:
            continue
        raise SettingsError(f"{name}, line {number}: IPv6 needs quotes: write `{remedy.strip()}`")


def _is_bracketed(match: re.Match[str] | None) -> bool:
    if match is None:
        return False
    try:
        ipaddress.IPv6Address(match[1])
    except ValueError:
        return False
    return True
