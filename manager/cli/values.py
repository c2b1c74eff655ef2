"""What an option of `kcm` may be: each raises argparse's error with what it must be."""

import argparse


def seconds(text: str) -> float:
    """A duration such as `10s`."""
    # Loaded only here: it takes longer to load than all else that most verbs need.
    from node.settings import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def positive(text: str) -> int:
    """A whole number above 0."""
    if text.isdecimal() and int(text[:9]) > 0 and len(text) < 10:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number above 0, not {text!r}")
