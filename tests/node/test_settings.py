"""What an operator may type wrong, and what stands in force otherwise."""

import argparse
import contextlib
import re
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from node.settings import (
    COMMAND,
    COMMAS,
    EMPTY_MEANS_OFF,
    Duration,
    HostPort,
    Locator,
    Port,
    Settings,
    SettingsError,
    Texts,
    add_arguments,
    dump,
    format_duration,
    load,
    located,
    options_given,
    parse_duration,
)
from node.settings.locators import DnsName, SrvName


class Log(Settings):
    format: Literal["text", "json"] = "text"
    level: str = "info"


class Limit(Settings):
    max_rate: Annotated[float, Field(ge=0)]
    every: Duration = 1.0


class Example(Settings):
    name: str = "default"
    node_port: Port = 7000
    peers: Annotated[tuple[Annotated[Locator, located(7946)], ...], COMMAS] = ()
    tags: Texts = ()
    run: Annotated[tuple[str, ...], COMMAND] = ()
    api: Annotated[str, EMPTY_MEANS_OFF] = "127.0.0.1:9898"
    wait: Duration = 60.0
    max_nodes: int | None = None
    log: Log = Log()
    limits: dict[str, Limit] = Field(default_factory=dict)


def read(path: Path, text: str | bytes, **environ: str) -> Example:
    file = path / "example.yml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(Example, prefix="KCM_", file=file, environ=environ).settings


def failure(path: Path, text: str | bytes, **environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(path, text, **environ)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{path}/", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("node_prot: 1\n", "example.yml, line 1: `node_prot` is not a key: did you mean `node_port`?"),
        ("name: a\nzzz: 1\n", "example.yml, line 2: `zzz` is not a key: known here are name, node_port"),
        ("log:\n  levle: info\n", "line 2: `log.levle` is not a key: did you mean `level`?"),
        ("limits:\n  public:\n    max_rat: 5\n    max_rate: 5\n", "line 3: `limits.public.max_rat` is not"),
        ("node_port: many\n", "line 1: `node_port` must be a whole number, not `many`"),
        ("node_port: 0\n", "line 1: `node_port` must be at least 1, not `0`"),
        ("\nnode_port: 70000\n", "line 2: `node_port` must be at most 65535, not `70000`"),
        ("node_port: [1]\n", "line 1: `node_port` must be a whole number, not a list"),
        ("name: {a: b}\n", "line 1: `name` must be text, not a map"),
        ("log: text\n", "line 1: `log` must be a map (`key: value`), not `text`"),
        ("log:\n  format: xml\n", "line 2: `log.format` must be 'text' or 'json', not `xml`"),
        ("wait: 5\n", "line 1: `wait` must be a duration with its unit, not `5`: write `5s` for seconds"),
        ("wait: soon\n", "line 1: `wait` must be a duration with its unit, not `soon`: such as 500ms, 5s"),
        ("limits:\n  public:\n    every: 1s\n", "line 2: `limits.public.max_rate` is missing"),
        ("limits:\n  public:\n    max_rate: fast\n", "line 3: `limits.public.max_rate` must be a number"),
        ("peers: {a: b}\n", "line 1: `peers` must be a list, or text with commas"),
        ("peers:\n  - a:1\n  - a:b\n", "line 3: `peers` must be `host:7946`, not `a:b`"),
        ("peers: a:0\n", "line 1: `peers` must have a port from 1 to 65535, not 0"),
        ("peers: ::1\n", 'line 1: `peers` must have its IPv6 address in brackets: write `"[::1]:7946"`'),
        ("peers: 'bad host'\n", "line 1: `peers` must be `host:7946`, and `bad host` is neither"),
        ("name: a\nname: b\n", "line 2: `name` stands twice, first in line 1: delete one"),
        ("log:\n\tlevel: info\n", "line 2: a tab: YAML wants spaces, replace it"),
        ("name:\ta\n", "line 1: a tab: YAML wants spaces, replace it"),
        ("name: a\n---\nname: b\n", "line 2: a second document (`---`) begins here: keep one"),
        ("- a\n- b\n", "example.yml, line 1: must be a map, `key: value` on each line"),
        ("just text\n", "example.yml, line 1: must be a map, `key: value` on each line"),
        ("name: &a b\n", "line 1: `&` and `*` (anchors and aliases) are not read here"),
        ("name: *a\n", "line 1: `&` and `*` (anchors and aliases) are not read here"),
        ("name: !!int 5\n", "line 1: `!` (a tag) is not read here"),
        ("name: 'a\n", "example.yml, line 2: found unexpected end of stream"),
        ("name: a: b\n", "line 1: a second `: ` in one line, or wrong indentation"),
        ("name: a\n  log: b\n", "line 2: a second `: ` in one line, or wrong indentation"),
        ("name: a\x07\n", "line 1: a control character: delete it"),
        (b"name: a\nname: \xff\n", "line 2: not UTF-8: save the file as UTF-8"),
        (b"#" * (1024 * 1024 + 1), "example.yml is larger than 1 MiB"),
        ("tags: " + "[" * 100_000, "line 1: nested too deeply"),
        ("? [a]\n: b\n", "line 1: a key must be text"),
        ('run: "nginx \'a"\n', "line 1: `run` must be a command: no closing quotation in `nginx 'a`"),
        ("peers: [::1]:7000\n", 'line 1: IPv6 needs quotes: write `peers: "[::1]:7000"`'),
        ("name: a\npeers: [fe80::1]\n", 'line 2: IPv6 needs quotes: write `peers: "[fe80::1]"`'),
        ("peers: [::1]:1, [::2]:2\n", 'line 1: IPv6 needs quotes: write `peers: "[::1]:1, [::2]:2"`'),
        ("peers: [[::1]:1, a:2]\n", 'line 1: IPv6 needs quotes: write `peers: ["[::1]:1", a:2]`'),
        ("peers:\n  - [::1]:7000 # me\n", 'line 2: IPv6 needs quotes: write `- "[::1]:7000"`'),
    ],
)
def test_each_mistake_in_a_file_is_one_line_with_key_line_and_remedy(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    assert message in failure(tmp_path, text)


def test_missing_and_unreadable_files_are_said_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        load(Example, prefix="KCM_", file=tmp_path / "none.yml", environ={})
    with pytest.raises(SettingsError, match="cannot be read: is a directory"):
        load(Example, prefix="KCM_", file=tmp_path, environ={})
    allowed = load(Example, prefix="KCM_", file=tmp_path / "none.yml", file_must_exist=False, environ={})
    assert allowed.settings == Example()


def test_plain_scalars_are_the_text_that_stands_there(tmp_path: Path) -> None:
    assert read(tmp_path, "name: no\n").name == "no"
    assert read(tmp_path, "name: 1e3\n").name == "1e3"
    assert read(tmp_path, "name: 0x10\nnode_port: 010\n").node_port == 10
    assert read(tmp_path, "\ufeffname: null\n").name == "null"


def test_an_empty_value_counts_as_not_set(tmp_path: Path) -> None:
    assert read(tmp_path, "name:\nlog:\nlimits:\n") == Example()
    assert read(tmp_path, "") == read(tmp_path, "# nothing\n") == read(tmp_path, "---\n") == Example()
    assert read(tmp_path, "name: ''\n").name == ""


def test_lists_are_lists_or_texts_with_commas(tmp_path: Path) -> None:
    both = (HostPort("a", 1), HostPort("::1", 7946))
    assert read(tmp_path, "peers: 'a:1, [::1]'\n").peers == both
    assert read(tmp_path, "peers: [a:1, '[::1]']\n").peers == both
    assert read(tmp_path, "peers:\n- a:1\n- '[::1]:7946'\n").peers == both
    assert read(tmp_path, "peers: []\n").peers == ()
    assert read(tmp_path, "run: nginx -g 'daemon off;'\n").run == ("nginx", "-g", "daemon off;")


def test_option_wins_over_variable_over_file_over_default(tmp_path: Path) -> None:
    file = tmp_path / "example.yml"
    file.write_text("name: file\nlog: {level: file, format: json}\n")
    environ = {"KCM_NAME": "variable", "KCM_LOG_LEVEL": "variable"}
    settings = load(
        Example, prefix="KCM_", file=file, environ=environ, options={"log.level": "option"}
    ).settings
    assert settings == Example(name="variable", log=Log(level="option", format="json"))


def test_variables_reach_lists_nested_keys_and_named_things(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        "limits: {per-client: {max_rate: 1}}\n",
        KCM_PEERS="a,b:2",
        KCM_LIMITS_PER_CLIENT_EVERY="1m",
        KCM_LIMITS_PUBLIC_MAX_RATE="7",
    )
    assert settings.peers == (HostPort("a", 7946), HostPort("b", 2))
    assert settings.limits == {
        "per-client": Limit(max_rate=1, every=60.0),
        "public": Limit(max_rate=7, every=1.0),
    }


def test_an_empty_variable_counts_only_where_empty_means_off(tmp_path: Path) -> None:
    settings = read(tmp_path, "name: file\n", KCM_NAME="", KCM_API="")
    assert (settings.name, settings.api) == ("file", "")


def test_a_wrong_variable_or_option_is_named_in_place_of_the_line(tmp_path: Path) -> None:
    assert failure(tmp_path, "node_port: 5\n", KCM_NODE_PORT="x").startswith(
        "variable KCM_NODE_PORT: `node_port` must be a whole number"
    )
    assert failure(tmp_path, "log: text\n", KCM_LOG_LEVEL="x").startswith("example.yml, line 1: `log` must")
    with pytest.raises(SettingsError, match=r"option --peers: `peers` must be `host:7946`"):
        load(Example, prefix="KCM_", environ={}, options={"peers": "a,b:c"})


def test_a_variable_that_is_nearly_ours_is_a_warning_and_strangers_are_not() -> None:
    environ = {"KCM_NODE_PROT": "1", "KCM_MANAGER": "x", "KCM_PORT_7000_TCP": "x", "KCM_NAMES": "y"}
    loaded = load(Example, prefix="KCM_", environ=environ, not_keys=["KCM_NAMES"])
    assert loaded.warnings == ("variable KCM_NODE_PROT is none of ours: did you mean KCM_NODE_PORT?",)


def test_a_key_can_have_a_variable_of_another_name() -> None:
    loaded = load(
        Example,
        prefix="KCM_",
        environ={"KRAKEND_SEED": "a", "KCM_NAME": "b"},
        renamed={"name": "KRAKEND_SEED"},
    )
    assert loaded.settings.name == "a"
    assert loaded.warnings == ("variable KCM_NAME is none of ours: did you mean KRAKEND_SEED?",)


def test_options_come_from_the_model() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser, Example, aliases={"peers": ("--peer",)})
    given_options = options_given(
        parser.parse_args(
            ["--node-port", "7", "--peer", "a", "--peer", "b:2,c", "--log-format=json", "--run", "x, y"]
        )
    )
    settings = load(Example, prefix="KCM_", environ={}, options=given_options).settings
    assert settings == Example(
        node_port=7,
        peers=(HostPort("a", 7946), HostPort("b", 2), HostPort("c", 7946)),
        run=("x,", "y"),
        log=Log(format="json"),
    )


texts = st.text(st.characters(exclude_categories=["Cs"]))
durations = st.floats(0, 1e6).map(lambda seconds: round(seconds, 3))


@given(
    st.builds(
        Example,
        name=texts | st.sampled_from(["no", "1e3", "~", "[::1]:7000", "a: b", "- x", "'", "\t", "&a"]),
        peers=st.lists(
            st.builds(HostPort, st.sampled_from(["::1", "a.b", "10.0.0.1"]), st.integers(1, 65535))
            | st.builds(DnsName, st.just("a.b"), st.integers(1, 65535))
            | st.builds(SrvName, st.just("_gossip._tcp.a.b"))
        ).map(tuple),
        tags=st.lists(texts).map(tuple),
        run=st.lists(texts).map(tuple),
        wait=durations,
        max_nodes=st.none() | st.integers(),
        limits=st.dictionaries(
            texts, st.builds(Limit, max_rate=st.floats(0, allow_infinity=False), every=durations)
        ),
    )
)
def test_a_dump_fed_back_gives_the_same(tmp_path_factory: pytest.TempPathFactory, settings: Example) -> None:
    text = dump(settings)
    file = tmp_path_factory.getbasetemp() / "dump.yml"
    file.write_text(text, encoding="utf-8")
    assert load(Example, prefix="KCM_", file=file, environ={}).settings == settings


def test_a_dump_has_every_key_in_the_form_in_which_it_is_typed() -> None:
    text = dump(Example(limits={"public": Limit(max_rate=100)}, peers=(HostPort("::1", 7000),)))
    assert "wait: 1m\n" in text
    assert re.search(r"^max_nodes:\s*$", text, re.MULTILINE)
    assert "limits:\n  public:\n    max_rate: 100.0\n    every: 1s\n" in text
    assert "- '[::1]:7000'\n" in text


def test_durations_are_read_and_written_in_their_units() -> None:
    table = {"500ms": 0.5, "5s": 5, "10m": 600, "24h": 86400, "7d": 604800, "1.5s": 1.5}
    assert {text: parse_duration(text) for text in table} == table
    assert format_duration(600.0) == "10m"
    assert format_duration(86400.0) == "1d"
    assert format_duration(0.0) == "0s"
    assert format_duration(0.5) == "500ms"


@given(durations)
def test_reading_undoes_writing_a_duration(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_settings_or_a_settings_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(SettingsError):
        load(Example, prefix="KCM_", file=file, environ={})
