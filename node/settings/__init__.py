"""Everything that people type: a YAML file, environment variables and options, one schema for all three.

The schema is a pydantic model derived from `Settings`. `load` reads option over variable over file
over default and either returns a valid instance or raises `SettingsError`, whose text is the one
line to print: it names the key, where it stands (file and line, variable or option) and the remedy.
`dump` writes what is in force as a file that loads to the same.
"""

from node.durations import format_duration, parse_duration
from node.settings.document import Document, read_document
from node.settings.dump import dump
from node.settings.errors import SettingsError
from node.settings.kinds import (
    COMMAND,
    COMMAS,
    EMPTY_MEANS_OFF,
    Duration,
    HostPort,
    Port,
    Settings,
    Texts,
)
from node.settings.locators import Locator, located, parse_locator
from node.settings.options import OptionParser, add_arguments, options_given
from node.settings.sources import Loaded, explain, load

__all__ = [
    "COMMAND",
    "COMMAS",
    "EMPTY_MEANS_OFF",
    "Document",
    "Duration",
    "HostPort",
    "Loaded",
    "Locator",
    "OptionParser",
    "Port",
    "Settings",
    "SettingsError",
    "Texts",
    "add_arguments",
    "dump",
    "explain",
    "format_duration",
    "load",
    "located",
    "options_given",
    "parse_duration",
    "parse_locator",
    "read_document",
]
