"""What a node says of a failure, short enough to stand on a page that all managers hold."""

NOTE_CHARS_MAX = 450
_BEGINNING_CHARS = 40


def in_short(why: str) -> str:
    """Its beginning and its end, where a gateway that says much says what was wrong."""
    if len(why) <= NOTE_CHARS_MAX:
        return why
    return f"{why[:_BEGINNING_CHARS]} … {why[_BEGINNING_CHARS + 3 - NOTE_CHARS_MAX :]}"
