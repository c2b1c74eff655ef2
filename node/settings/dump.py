"""A model in force, written as a file that loads to the same."""

import yaml
from pydantic import BaseModel


class _Dumper(yaml.SafeDumper):
    """Quotes whatever YAML might take for something else; writes None as a key without a value."""


def _represent_none(dumper: yaml.SafeDumper, value: None) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:null", "")


def _represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    # Left to choose, PyYAML writes a line break such as U+0085 raw in single quotes: it reads as a space.
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, None if value.isprintable() else '"')


_Dumper.add_representer(type(None), _represent_none)
_Dumper.add_representer(str, _represent_text)


def dump(model: BaseModel) -> str:
    """YAML of the whole of `model`: every key, defaults too, durations as they are typed."""
    text = yaml.dump(
        model.model_dump(mode="json", by_alias=True),
        Dumper=_Dumper,
        default_flow_style=False,
        sort_keys=False,
        allow_unicode=True,
        width=10_000,
    )
    assert isinstance(text, str)
    return text
