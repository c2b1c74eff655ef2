"""Answers of the API as tables for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

_COLOURS = {
    **dict.fromkeys(("active", "alive"), "32"),
    **dict.fromkeys(("unreachable", "suspect", "refused"), "33"),
    **dict.fromkeys(("down", "dead"), "31"),
    **dict.fromkeys(("removed", "left"), "90"),
}


def table(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, colour: bool, nothing: str = ""
) -> str:
    """`rows` as aligned text under a head, or `nothing` where there are none; states in colour, or not."""
    if not rows and nothing:
        return nothing
    cells = [[_text(row[column]) for column in columns] for row in rows]
    head = [column.upper().replace("_", " ") for column in columns]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(head, widths, strict=True)).rstrip()]
    for row in cells:
        padded = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        if colour:
            padded = [_coloured(text) for text in padded]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def pairs(values: Mapping[str, Any]) -> str:
    """One line for each key; what is nested is named by its path, `limits.public.max_rate`."""
    flat = list(_flat(values))
    width = max(len(key) for key, _ in flat)
    return "\n".join(f"{key.ljust(width)}  {_text(value)}" for key, value in flat)


def printable(text: str) -> str:
    """`text`, which may come from anybody, without what would move the cursor."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _flat(values: Mapping[str, Any], path: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in values.items():
        nested = isinstance(value, dict) and value
        flat += _flat(value, f"{path}{key}.") if nested else [(path + key, value)]
    return flat


def _text(value: Any) -> str:
    match value:
        case None | [] | dict():
            return "-"
        case list():
            return printable(", ".join(map(str, value)))
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.12g}"
        case _:
            return printable(str(value)) or "-"


def _coloured(padded: str) -> str:
    code = _COLOURS.get(padded.strip())
    return padded if code is None else f"\x1b[{code}m{padded}\x1b[0m"
