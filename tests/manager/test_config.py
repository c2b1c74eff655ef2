"""The manager's configuration: what is taken, what a mistake looks like, and what the core gets of it."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.config.configured import address_to_advertise, core_config
from manager.config.schema import ManagerFile
from node.protocol import Limit
from node.settings import HostPort, SettingsError, dump, load

FULL = """\
name: no
bind: 127.0.0.1
advertise: 10.0.0.5
node_port: 7001
gossip_port: 7947
http_port: 9898
peers: [m2, "m3:7000", "[fd00::1]"]
group: {name: blue, secret: hush}
subscription: {max_nodes: 10, free_limits: {public: {max_rate: 5}}}
limits:
  public: {max_rate: 100, every: 1s}
  "no": {max_rate: 0.5, every: 10m}
nodes:
  heartbeat: 1s
  unreachable_after: 4 heartbeats
  grace: 10s
  rejoin_window: 20s
  retry_after: 5s
  forget_after: 7d
stats: {window: 2h, step: 30s}
log: {format: json, level: warn}
"""


def configuration(
    text: str,
    tmp_path: Path,
    environ: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
) -> ManagerFile:
    """What is in force with a file of `text`."""
    file = tmp_path / "cluster-manager.yml"
    file.write_text(text, encoding="utf-8")
    return load(ManagerFile, prefix="KCM_", file=file, environ=environ or {}, options=options).settings


def test_without_a_file_everything_has_the_documented_default() -> None:
    file = ManagerFile()
    assert (file.bind, file.advertise) == ("0.0.0.0", "")
    assert (file.node_port, file.gossip_port, file.http_port) == (7000, 7946, 9897)
    assert (file.peers, file.group.name, file.group.secret.get_secret_value()) == ((), "krakend", "")
    assert (file.subscription.max_nodes, file.subscription.free_limits, file.limits) == (None, {}, {})
    core = core_config(file)
    assert (core.heartbeat, core.unreachable_after, core.grace) == (5.0, 15.0, 60.0)
    assert (core.rejoin_window, core.retry_after, core.forget_after) == (60.0, 15.0, 30 * 86400.0)
    assert (core.stats_window, core.stats_step) == (3600.0, 10.0)
    assert core.max_nodes is None


def test_every_key_reaches_the_core(tmp_path: Path) -> None:
    file = configuration(FULL, tmp_path)
    assert file.name == "no"
    assert file.peers == (HostPort("m2", 7946), HostPort("m3", 7000), HostPort("fd00::1", 7946))
    core = core_config(file)
    assert (core.secret, core.node_port, core.http_port) == ("hush", 7001, 9898)
    assert (core.heartbeat, core.unreachable_after, core.grace, core.rejoin_window) == (1.0, 4.0, 10.0, 20.0)
    assert (core.retry_after, core.forget_after) == (5.0, 7 * 86400.0)
    assert (core.max_nodes, core.free_limits) == (10, {"public": Limit(5.0, 1.0)})
    assert core.limits == {"public": Limit(100.0, 1.0), "no": Limit(0.5, 600.0)}
    assert (core.stats_window, core.stats_step) == (7200.0, 30.0)


def test_what_is_in_force_fed_back_as_a_file_is_the_same_but_for_the_secret(tmp_path: Path) -> None:
    file = configuration(FULL, tmp_path)
    printed = dump(file)
    assert "hush" not in printed
    again = configuration(printed, tmp_path)
    assert dump(again) == printed
    nothing = file.group.model_copy(update={"secret": ManagerFile().group.secret})
    assert again == file.model_copy(update={"group": nothing})


# Also names that YAML would take for something else, or for its own signs.
awkward = st.sampled_from(["no", "1e3", "~", "- a", "#x", "a: b", "0x1F", "'", "ü", "null", "[::1]"])
limit_names = awkward | st.text(min_size=1, max_size=20).filter(str.isprintable)
durations = st.sampled_from(["100ms", "1s", "2.5s", "90s", "1m", "1h"])
rates = st.floats(min_value=1e-9, max_value=1e11).map(str)
limits = st.dictionaries(
    limit_names, st.fixed_dictionaries({"max_rate": rates, "every": durations}), max_size=4
)
hosts = st.sampled_from(["m1", "10.0.0.1:7000", "[fd00::1]", "[fd00::2]:7", "no", "1.e3"])


def _with_what_is_free(file: dict[str, Any]) -> dict[str, Any]:
    """A file that has limits has those that it gives away free too, and in those no less for all together."""
    free = file.get("subscription", {}).get("free_limits", {})
    return {**file, "limits": {**file["limits"], **free}} if "limits" in file else file


files: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "name": st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)
        | st.sampled_from(["no", "1e3"]),
        "bind": st.ip_addresses(v=4).map(str),
        "advertise": st.sampled_from(["", "10.0.0.5"]),
        "node_port": st.integers(1, 5000).map(str),
        "http_port": st.integers(10_000, 65_535).map(str),
        "peers": st.lists(hosts, max_size=3),
        "group": st.fixed_dictionaries({"name": st.sampled_from(["no", "blue", "007"])}),
        "subscription": st.fixed_dictionaries({"free_limits": limits}, optional={"max_nodes": st.just("0")}),
        "limits": limits,
        "nodes": st.fixed_dictionaries(
            {
                "heartbeat": durations,
                "unreachable_after": st.sampled_from(["2 heartbeats", "99 heartbeats", "2h"]),
            }
        ),
        "log": st.fixed_dictionaries({"level": st.sampled_from(["warn", "debug"])}),
    },
).map(_with_what_is_free)


@given(files)
def test_whatever_is_in_force_is_the_same_once_printed_and_read_again(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, object]
) -> None:
    file = ManagerFile.model_validate(tree)
    again = configuration(dump(file), tmp_path_factory.getbasetemp())
    assert again == file
    assert core_config(again) == core_config(file)


def test_the_secret_is_in_no_text_made_of_the_settings(tmp_path: Path) -> None:
    file = configuration(FULL, tmp_path)
    assert "hush" not in f"{file} {file!r} {dump(file)} {file.model_dump_json()}"


def test_an_option_goes_over_a_variable_over_the_file_over_the_default(tmp_path: Path) -> None:
    text = "name: file\nnode_port: 7001\n"
    environ = {
        "KCM_NAME": "variable",
        "KCM_NODE_PORT": "7002",
        "KCM_PEERS": "a, b:1",
        "KCM_LOG_FORMAT": "json",
        "KCM_GROUP_NAME": "blue",
        "KCM_SUBSCRIPTION_MAX_NODES": "0",
        "KCM_NODES_UNREACHABLE_AFTER": "7s",
    }
    file = configuration(text, tmp_path, environ, {"name": "option"})
    assert (file.name, file.node_port, file.http_port) == ("option", 7002, 9897)
    assert file.peers == (HostPort("a", 7946), HostPort("b", 1))
    assert (file.log.format, file.group.name, file.subscription.max_nodes) == ("json", "blue", 0)
    assert core_config(file).unreachable_after == 7.0


def test_a_variable_reaches_into_the_limits_by_their_name(tmp_path: Path) -> None:
    file = configuration("limits: {public: {max_rate: 1}}\n", tmp_path, {"KCM_LIMITS_PUBLIC_MAX_RATE": "7"})
    assert core_config(file).limits == {"public": Limit(7.0, 1.0)}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3 heartbeats", 6.0), ("2 heartbeats", 4.0), ("2500ms", 2.5), ("1m", 60.0)],
)
def test_silence_is_counted_in_heartbeats_or_is_a_duration(tmp_path: Path, text: str, seconds: float) -> None:
    file = configuration(f"nodes: {{heartbeat: 2s, unreachable_after: {text}}}\n", tmp_path)
    assert core_config(file).unreachable_after == seconds


MANY_LIMITS = "limits:\n" + "".join(f"  limit-with-a-name-{at}: {{max_rate: 1000}}\n" for at in range(200))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a b\n", "line 1: `name` must be 1 to 128 letters, digits, `.`, `_` or `-`, not `a b`"),
        (f"name: {'x' * 129}\n", "line 1: `name` must be 1 to 128 letters"),
        ("group:\n  name: a/b\n", "line 2: `group.name` must be 1 to 128 letters"),
        (f"group: {{name: {'x' * 65}}}\n", "`group.name` must be at most 64 characters, not 65"),
        ("group: {secret: [hush]}\n", "`group.secret` must be text, not a list"),
        ("bind: localhost\n", "`bind` must be an IP address of this host, not `localhost`"),
        ('bind: ""\n', "`bind` must be an IP address of this host, not ``"),
        ("advertise: m1\n", "`advertise` must be an IP address of this host, not `m1`"),
        ("advertise: 0.0.0.0\n", "`advertise` must be an address that other hosts can reach, not `0.0.0.0`"),
        ('bind: "::"\n', "`advertise` must be given where `bind` is `::`: an IPv6 address of this host"),
        ("advertise: fd00::1\n", "`advertise` must be an IPv4 address, as `bind` is, not `fd00::1`"),
        (
            'bind: "::"\nadvertise: 10.0.0.1\n',
            "line 2: `advertise` must be an IPv6 address, as `bind` is, not `10.0.0.1`",
        ),
        ("nodes: {heartbeat: 2h}\n", "line 1: `nodes.heartbeat` must be at most 1h, not `2h`"),
        (
            "subscription: {free_limits: {pubic: {max_rate: 1}}}\nlimits: {public: {max_rate: 9}}\n",
            "line 2: `limits` has no `pubic`, which `subscription.free_limits` names: correct one of both",
        ),
        ("node_port: 0\n", "`node_port` must be at least 1, not `0`"),
        ("node_port: 65536\n", "`node_port` must be at most 65535, not `65536`"),
        ("node_port: http\n", "`node_port` must be a whole number, not `http`"),
        ("node_port: 9897\n", "`http_port` is 9897, as is `node_port`: give each port a number of its own"),
        ("gossip_port: 7000\n", "line 1: `gossip_port` is 7000, as is `node_port`"),
        ("http_port: 7946\n", "line 1: `http_port` is 7946, as is `gossip_port`"),
        ("peers: [m1:port]\n", "`peers` must be `host:7946`, not `m1:port`"),
        ("peers: [[::1]:7946]\n", 'IPv6 needs quotes: write `peers: ["[::1]:7946"]`'),
        ("peers: {m1: 7946}\n", "`peers` must be a list, or text with commas"),
        ("subscription: {max_nodes: -1}\n", "`subscription.max_nodes` must be at least 0, not `-1`"),
        ("subscription: {max_nodes: 1.5}\n", "`subscription.max_nodes` must be a whole number, not `1.5`"),
        ("subscription: 10\n", "`subscription` must be a map (`key: value`), not `10`"),
        ("subscription: {max_node: 1}\n", "`subscription.max_node` is not a key: did you mean `max_nodes`?"),
        (
            "limits: {public: {max_rate: 0}}\n",
            "`limits.public.max_rate` must be a number above 0 and below 1e+12, not `0`",
        ),
        (
            "limits: {public: {max_rate: 900, safe: 901}}\n",
            "`limits.public.safe` must be at most the `max_rate` of all nodes together (900), not `901`",
        ),
        (
            "limits: {a: {max_rate: 9}}\nsubscription: {free_limits: {a: {max_rate: 1, every: 100ms}}}\n",
            "line 1: `limits` has less for all nodes together in `a` than `subscription.free_limits` has",
        ),
        ("limits: {public: {max_rate: .inf}}\n", "`limits.public.max_rate` must be a number, not `.inf`"),
        ("limits: {public: {every: 1s}}\n", "`limits.public.max_rate` is missing"),
        ("limits: {public: {max_rate: 1, every: 0s}}\n", "`limits.public.every` must be at least 1ms"),
        (
            'limits: {"": {max_rate: 1}}\n',
            "`limits` must have names of 1 to 100 printable characters, not ''",
        ),
        (MANY_LIMITS, "`limits` must fit into 4096 bytes, some 60 limits: leave some out"),
        ("nodes: {heartbeat: 5}\n", "`nodes.heartbeat` must be a duration with its unit, not `5`"),
        ("nodes: {heartbeat: 10ms}\n", "`nodes.heartbeat` must be at least 100ms"),
        (
            "nodes: {unreachable_after: three}\n",
            "`nodes.unreachable_after` must be `3 heartbeats` or a duration such as 15s, not `three`",
        ),
        ("nodes: {unreachable_after: 15}\n", "must be `3 heartbeats` or a duration such as 15s, not `15`"),
        ("nodes: {unreachable_after: 0 heartbeats}\n", "must be `3 heartbeats` or a duration"),
        (
            "nodes: {unreachable_after: 1 heartbeat}\n",
            "`nodes.unreachable_after` must be longer than one heartbeat (5s), not `1 heartbeat`",
        ),
        ("nodes: {forget_after: 10s}\n", "`nodes.forget_after` must be at least the `rejoin_window` (1m)"),
        (
            "group: {founders: [a]}\nsubscription: {policy: strict, ticket_life: 1h, ephemeral_life: 2h}\n",
            "`subscription` has `ephemeral_life: 2h`: none that is longer than `ticket_life`, 1h",
        ),
        ("stats: {step: 2h}\n", "`stats.step` must divide the `window` (1h) into 1 to 10000 steps"),
        ("stats: {window: 7d, step: 1s}\n", "`stats.step` must divide the `window` (7d)"),
        ("log: {level: loud}\n", "`log.level` must be 'debug', 'info', 'warning', 'error' or 'critical'"),
        ("nod_port: 7000\n", "line 1: `nod_port` is not a key: did you mean `node_port`?"),
        ("name: a\nname: b\n", "line 2: `name` stands twice, first in line 1: delete one"),
    ],
)
def test_each_mistake_is_one_line_that_names_key_and_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as error:
        configuration(text, tmp_path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert str(tmp_path / "cluster-manager.yml") in str(error.value)


def test_a_mistake_in_an_option_or_a_variable_is_named_by_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^variable KCM_NODES_GRACE: `nodes\.grace` must be a duration"):
        configuration("nodes: {grace: 1m}\n", tmp_path, {"KCM_NODES_GRACE": "60"})
    with pytest.raises(SettingsError, match=r"^option --http-port: `http_port` must be at most 65535"):
        configuration("", tmp_path, {"KCM_HTTP_PORT": "1"}, {"http_port": "70000"})


@pytest.mark.parametrize("key", ["node_port", "limits", "group", "subscription", "peers", "nodes"])
def test_a_key_without_a_value_counts_as_not_set(tmp_path: Path, key: str) -> None:
    assert configuration(f"{key}:\n", tmp_path) == ManagerFile()


@pytest.mark.parametrize(
    ("text", "own", "advertised"),
    [
        ("advertise: 8.8.8.8\nbind: 127.0.0.1\n", ["10.0.0.1"], "8.8.8.8"),
        ("bind: 127.0.0.2\n", ["10.0.0.1"], "127.0.0.2"),
        ("bind: fd00::1\n", ["10.0.0.1"], "fd00::1"),
        ('bind: "::"\nadvertise: fd00::1\n', ["10.0.0.1"], "fd00::1"),
        ("", ["8.8.8.8", "127.0.1.1", "192.168.1.5", "10.0.0.1"], "192.168.1.5"),
        ("", ["127.0.0.1", "8.8.8.8"], "127.0.0.1"),
        ("", [], "127.0.0.1"),
    ],
)
def test_the_advertised_address_is_the_given_one_or_bind_or_the_first_private(
    tmp_path: Path, text: str, own: list[str], advertised: str
) -> None:
    assert address_to_advertise(configuration(text, tmp_path), own) == advertised
