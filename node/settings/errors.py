"""The one error of this package."""


class SettingsError(Exception):
    """The operator's, found at start. Its text is one line: what, where, and what to write instead."""
