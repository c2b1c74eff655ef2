"""README and docs/ say what is there: commands run as they stand, tables are those of the code.

Blocks by language: `sh` is run here, on the host that its second word names (`managers`: on each of them);
`console` is what the block before it printed, or what some program has logged by then; `yaml` is one of the
two files and names it in its first line. `text` is not run: it, or what stands around it, says why.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from pydantic import BaseModel

from manager.config.schema import ManagerFile
from manager.web.app import all_routes
from node.api import create_app as create_node_app
from node.config import NodeSettings
from node.settings import SettingsError, add_arguments, dump, load
from node.settings.sources import keys, named_model, option_name
from tests.e2e.cluster import wait_for

ROOT = Path(__file__).parents[1]
DOCUMENTS = {
    str(file.relative_to(ROOT)): file.read_text(encoding="utf-8")
    for file in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
"""README first: what its commands leave is where the others begin."""
README = DOCUMENTS["README.md"]
REFERENCE = DOCUMENTS["docs/REFERENCE.md"]
EVERYTHING = "\n".join(DOCUMENTS.values())
README_LINES_MAX = 450
FILES: dict[str, type[BaseModel]] = {
    "/etc/krakend/cluster-manager.yml": ManagerFile,
    "/etc/krakend/service.yml": NodeSettings,
}
PREFIXES = {ManagerFile: "KCM_", NodeSettings: "KRAKEND_NODE_"}
MANAGERS = {"cm1": "192.168.1.100", "cm2": "192.168.1.101", "cm3": "192.168.1.102"}
GATEWAYS = {"gw1": "192.168.1.110"}
COMMAND_SECONDS_MAX = 180.0
READS = re.compile(r"kcm (members|nodes|subscription show)\b")


@dataclass(frozen=True, slots=True)
class Block:
    language: str
    where: str
    text: str
    file: str
    line: int

    @property
    def id(self) -> str:
        return f"{self.file}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    fenced = re.compile(r"^```(\w+)(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [
        Block(found[1], found[2] or "", found[3], name, text.count("\n", 0, found.start()) + 1)
        for name, text in DOCUMENTS.items()
        for found in fenced.finditer(text)
        if found[1] in languages
    ]


def rows(*head: str) -> list[list[str]]:
    """The rows of every table under this head."""
    begin = "| " + " | ".join(head) + " |\n"
    tables = EVERYTHING.split(begin)[1:]
    assert tables, f"no table {begin}"
    lines = [line for table in tables for line in table.partition("\n\n")[0].splitlines()[1:]]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def section(title: str) -> str:
    """Of the reference."""
    return re.split(r"^#+ .*$", REFERENCE.split(f"# {title}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]


# What stands there


def test_the_readme_is_short_and_leads_to_every_other_document() -> None:
    assert README.count("\n") <= README_LINES_MAX
    assert all(f"]({name})" in README for name in DOCUMENTS if name != "README.md")


def test_every_block_is_of_a_kind_that_is_looked_at_here() -> None:
    assert len(blocks("sh", "console", "yaml", "text", "json", "ini")) == EVERYTHING.count("\n```") // 2
    assert {block.where for block in blocks("sh")} <= {"", "manager", "managers", "gateway"}


@pytest.mark.parametrize("block", blocks("yaml"), ids=lambda block: block.id)
def test_every_file_is_read_by_the_program_that_it_is_for(block: Block, tmp_path: Path) -> None:
    name = block.text.partition("\n")[0].removeprefix("# ")
    model, file = FILES[name], tmp_path / "file.yml"
    file.write_text(block.text)
    assert not load(model, prefix=PREFIXES[model], file=file, environ={}).warnings


def in_force(model: type[BaseModel], path: tuple[str, ...] = ()) -> dict[str, str]:
    """Every key with its default as the reference has it, those of named things under NAME."""
    data: Any = yaml.safe_load(dump(model()))
    found = {}
    for key, _ in keys(model):
        value: Any = data
        for part in key:
            value = value[part]
        found[".".join(key)] = as_told(value)
    return found


def as_told(default: object) -> str:
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, float):
        return f"`{default:g}`"
    return "—" if default in (None, "", [], {}) else f"`{default}`"


def with_named(model: type[BaseModel]) -> dict[str, str]:
    found = in_force(model)
    for outer, field_ in [
        *(((name,), field_) for name, field_ in model.model_fields.items()),
        *(
            ((name, inner), field_)
            for name, part in model.model_fields.items()
            if isinstance(part.annotation, type) and issubclass(part.annotation, BaseModel)
            for inner, field_ in part.annotation.model_fields.items()
        ),
    ]:
        named = named_model(field_)
        if named is not None:
            required = {name: field_.is_required() for name, field_ in named.model_fields.items()}
            sample = {
                name: "0" * 64 if field_.annotation is str else 1
                for name, field_ in named.model_fields.items()
                if field_.is_required()
            }
            defaults = dump(named(**sample))
            for name, value in yaml.safe_load(defaults).items():
                shown = "required" if required[name] else as_told(value)
                found[".".join((*outer, "NAME", name))] = shown
    return found


@pytest.mark.parametrize(
    ("title", "model"), [("Keys of a manager", ManagerFile), ("Keys of a node", NodeSettings)]
)
def test_the_tables_of_keys_are_those_of_the_programs(title: str, model: type[BaseModel]) -> None:
    told = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| ", section(title), re.MULTILINE)
    expected = with_named(model)
    if model is ManagerFile:
        expected["name"] = "host name"
    assert dict(told) == expected
    assert [key for key, _ in told] == list(dict.fromkeys(key for key, _ in told))


def test_options_and_variables_follow_from_keys_as_told() -> None:
    for model, prefix, names in (
        (ManagerFile, "KCM_", ("--nodes-heartbeat", "KCM_NODES_HEARTBEAT")),
        (NodeSettings, "KRAKEND_NODE_", ("--log-format", "KRAKEND_NODE_LOG_FORMAT")),
    ):
        parser = ArgumentParser()
        add_arguments(parser, model)
        options = {option_name(".".join(key)) for key, _ in keys(model)}
        assert {f"--{option}" for option in options} <= set(parser.format_help().replace(",", " ").split())
        variables = {prefix + "_".join(key).upper() for key, _ in keys(model)}
        assert names[0].removeprefix("--") in options
        assert names[1] in variables
        assert all(f"`{name}`" in EVERYTHING for name in names)
    limited = load(ManagerFile, prefix="KCM_", environ={"KCM_LIMITS_PUBLIC_MAX_RATE": "9"}).settings
    assert limited.limits["public"].max_rate == 9


@pytest.mark.parametrize(
    ("text", "message"),
    [("seed: [fd00::7]:7000\n", 'write `seed: "[fd00::7]:7000"`'), ("gateway: {stop_timeout: 30}\n", "30s")],
)
def test_what_configuration_refuses_as_told(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "service.yml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=re.escape(message)):
        load(NodeSettings, prefix="KRAKEND_NODE_", file=file, environ={})


def test_the_table_of_the_api_has_every_route() -> None:
    told = [re.sub("`", "", row[0]) for row in rows("request", "answer")]
    managers = {
        f"{route.method} {route.path}"
        for route in all_routes()
        if isinstance(route, web.RouteDef) and not route.path.startswith("/static/")
    }
    nodes = {
        f"{route.method} {route.resource.canonical}"
        for route in create_node_app(None).router.routes()  # type: ignore[arg-type]
        if route.resource is not None and route.method != "HEAD"
    }
    assert sorted(told) == sorted([*managers, *nodes])


def anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_somewhere(name: str) -> None:
    file = ROOT / name
    links = re.findall(r"\]\(([^)]+)\)", file.read_text(encoding="utf-8"))
    assert links
    for link in links:
        path, _, anchor = link.partition("#")
        to = file.parent / path if path else file
        assert to.exists(), link
        assert not anchor or anchor in anchors(to.read_text(encoding="utf-8")), link


def test_every_make_target_is_in_the_makefile_and_in_the_table() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make (\w+)", EVERYTHING)) | {"help"} == targets
    for block in blocks("sh"):
        for line in block.text.splitlines():
            if line.startswith("make"):
                assert line.split()[1] in targets


@pytest.mark.parametrize(
    ("room", "head", "told_as_one"),
    [
        ("manager", "modules, in reading order", {"web"}),
        ("node", "modules of node/, in reading order", {"gateways", "settings"}),
    ],
)
def test_the_map_of_a_room_names_every_module_once(room: str, head: str, told_as_one: set[str]) -> None:
    named = set[str]()
    for topic, modules in rows("topic", head):
        package = "".join(re.findall(r"`(\w+/)`", topic))
        for name in re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", modules)):
            assert package + name not in named
            named.add(package + name)
    files = {path.relative_to(ROOT / room).with_suffix("") for path in (ROOT / room).rglob("*.py")}
    there = {str(file) for file in files if file.name != "__init__" and file.parts[0] not in told_as_one}
    assert named == there | told_as_one


def test_the_drop_in_is_the_one_in_deploy() -> None:
    [block] = blocks("ini")
    name, _, text = block.text.partition("\n")
    assert text == (ROOT / "deploy" / "systemd" / "krakend.service.d" / "cluster.conf").read_text()
    assert name == "# /etc/systemd/system/krakend.service.d/cluster.conf"
    unit = (ROOT / "deploy" / "systemd" / "krakend-cluster-manager.service").read_text()
    for program in ("krakend-cluster-node", "krakend-cluster-manager"):
        assert f"ExecStart=/opt/krakend-cluster-manager/.venv/bin/{program}\n" in text + unit
        assert shutil.which(program, path=str(Path(sys.executable).parent))


def test_a_limits_file_looks_as_told() -> None:
    [block] = blocks("json")
    assert set(json.loads(block.text)) == {"version", "source", "limits"}


# What runs


@dataclass(slots=True)
class Host:
    """Network, processes, mounts and a host name of its own; all of it ends with `holder`."""

    name: str
    holder: subprocess.Popen[bytes]
    pid: int
    path: str

    def command(self, line: str) -> list[str]:
        enter = ["nsenter", f"--target={self.pid}", "--net", "--mount", "--uts", "--pid"]
        return [*enter, "--", "sh", "-c", f"cd {shlex.quote(str(ROOT))} && {line}"]

    @property
    def environ(self) -> dict[str, str]:
        ours = {name: text for name, text in os.environ.items() if not name.startswith(("KCM_", "KRAKEND_"))}
        return {**ours, "PATH": self.path}

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(line),
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=COMMAND_SECONDS_MAX,
            check=False,
        )

    def do(self, line: str) -> str:
        done = self.run(line)
        assert done.returncode == 0, f"{self.name}$ {line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def get(self, url: str) -> Any:
        """The JSON there; text where it is none."""
        ask = f"import urllib.request; print(urllib.request.urlopen({url!r}, timeout=5).read().decode())"
        text = self.do(f"python -c {shlex.quote(ask)}")
        try:
            return json.loads(text)
        except ValueError:
            return text


@dataclass(slots=True)
class Hosts:
    """Three managers' hosts and a gateway's on one network, and what was started on them."""

    folder: Path
    stack: ExitStack
    by_name: dict[str, Host] = field(default_factory=dict)
    printed: str = ""
    """By the last block that ran."""

    def where(self, word: str) -> list[Host]:
        names = {"managers": [*MANAGERS], "gateway": [*GATEWAYS]}.get(word, ["cm1"])
        return [self.by_name[name] for name in names]

    @property
    def logged(self) -> str:
        return "".join(log.read_text(encoding="utf-8") for log in sorted(self.folder.glob("*.log")))

    def start(self, host: Host, line: str) -> None:
        with (self.folder / f"{host.name}.log").open("ab") as log:
            process = subprocess.Popen(
                host.command(line),
                env=host.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.stack.callback(process.wait, 10)
        self.stack.callback(process.kill)

    def run(self, block: Block, expected: list[str]) -> None:
        """Each line of it; where all only read, again until they print just what is told."""
        if expected and all(READS.match(line) for line in block.text.splitlines()):
            wanted = {same(line) for line in expected}
            self.printed = wait_for(
                lambda: printed if {*map(same, (printed := self._run(block)).splitlines())} == wanted else "",
                15.0,
                f"{block.id} prints what is told",
            )
        else:
            self.printed = self._run(block)

    def _run(self, block: Block) -> str:
        printed = ""
        for line in block.text.splitlines():
            for host in self.where(block.where):
                if line.startswith("make "):
                    continue  # tests/e2e/test_fresh_machine.py runs it
                if re.fullmatch(r"krakend-cluster-(manager|node)", line):
                    self.start(host, line)
                else:
                    printed += host.do(line)
        return printed

    def await_line(self, line: str) -> None:
        """Until the last block or some program has said `line`."""
        wait_for(
            lambda: same(line) in map(same, (self.printed + self.logged).splitlines()),
            45.0,
            f"{line!r} is said",
        )


def same(line: str) -> str:
    """`line` without what differs from run to run."""
    line = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", "UUID", line)
    line = re.sub(r"\d{4}[-/]\d\d[-/]\d\d( - |T)\d\d:\d\d:\d\d\.\d{3}Z?", "TIME", line)
    line = re.sub(r"pid \d+", "pid PID", line)
    if "UUID" in line or "member" in line:
        # Which manager has the node, and who sees whom first, is chance.
        line = re.sub(r"cm\d( \(192\.168\.1\.10\d:7000\))?", "MANAGER", line)
    return line.rstrip()


LEAVE_BY_PROXY = """
from urllib.request import Request, urlopen
urlopen(Request("http://127.0.0.1:9897/api/v1/leave", b"{}", {"Via": "a proxy"}))
"""
KRAKEND = """
import http.server
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/__health" else 404)
        self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", 8080), Health).serve_forever()
"""


@contextmanager
def network(folder: Path) -> Iterator[Hosts]:
    """Hosts on 192.168.1.0/24, with README's files in /etc/krakend and a stand-in for krakend."""
    programs, etc, lib = folder / "bin", folder / "etc", folder / "lib"
    subprocess.run(["cp", "-a", "/etc", etc], check=True)
    shutil.rmtree(etc / "krakend", ignore_errors=True)
    for made in (programs, etc / "krakend", lib, lib / "krakend-cluster-manager"):
        made.mkdir()
    krakend = programs / "krakend"
    krakend.write_text(f"#!{sys.executable}\n{KRAKEND}")
    krakend.chmod(0o755)
    seen = set()
    for block in blocks("yaml"):
        file = Path(block.text.partition("\n")[0].removeprefix("# "))
        if file not in seen:  # the first of each is that of the three hosts
            (etc / "krakend" / file.name).write_text(block.text)
        seen.add(file)
    path = f"{programs}:{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    with ExitStack() as stack:
        hosts = Hosts(folder, stack)
        switch = open_host("switch", path, stack)
        switch.do("ip link add br0 type bridge && ip link set br0 up")
        for name, address in {**MANAGERS, **GATEWAYS}.items():
            host = hosts.by_name[name] = open_host(name, path, stack)
            host.do(f"hostname {name} && mount --bind {etc} /etc && mount --bind {lib} /var/lib")
            # Run before nsenter, which would look for the pid among the switch's own.
            subprocess.run(
                [
                    *("nsenter", f"--target={switch.pid}", "--net", "--"),
                    *(
                        "ip",
                        "link",
                        "add",
                        name,
                        "type",
                        "veth",
                        "peer",
                        "name",
                        "eth0",
                        "netns",
                        str(host.pid),
                    ),
                ],
                check=True,
            )
            switch.do(f"ip link set {name} master br0 up")
            host.do(f"ip link set lo up && ip addr add {address}/24 dev eth0 && ip link set eth0 up")
        yield hosts


def open_host(name: str, path: str, stack: ExitStack) -> Host:
    namespaces = ["--net", "--mount", "--uts", "--pid", "--mount-proc", "--fork", "--kill-child"]
    holder = subprocess.Popen(["unshare", *namespaces, "sleep", "infinity"], stdin=subprocess.DEVNULL)
    stack.callback(holder.wait, 10)
    stack.callback(holder.kill)
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children")

    def sleeping() -> int:
        pid = int(children.read_text())
        # unshare has mounted /proc by the time that it becomes something else.
        return pid if Path(f"/proc/{pid}/comm").read_text() == "sleep\n" else 0

    return Host(name, holder, wait_for(sleeping, 10.0, f"host {name}"), path)


def names_of_metrics(exposition: str) -> set[str]:
    return set(re.findall(r"^# TYPE (\w+) ", exposition, re.MULTILINE))


def keys_in(answer: Any) -> set[str]:
    """All keys in it, but not names: of nodes, of managers, of limits, of counters."""
    if isinstance(answer, list):
        return {key for item in answer for key in keys_in(item)}
    if not isinstance(answer, dict):
        return set()
    found = set()
    for key, value in answer.items():
        if key not in ("public", *MANAGERS) and not key.startswith("krakend_"):
            found.add(key)
        if key != "counters":
            found |= keys_in(value)
    return found


def shape(told: str, answer: Any) -> set[str]:
    """The keys that the reference tells of, but for those of what a list holds that is empty in `answer`."""
    for key, value in answer.items() if isinstance(answer, dict) else ():
        if value == []:
            told = re.sub(rf'"{key}": \[{{.*?}}\]', f'"{key}"', told)
    return set(re.findall(r'"(\w+)"', told))


def check_answers(hosts: Hosts) -> None:
    """The shapes in the tables of requests, and the names in those of metrics and counters."""
    [manager], [gateway] = hosts.where("manager"), hosts.where("gateway")
    [id_] = [node["id"] for node in manager.get("http://127.0.0.1:9897/api/v1/nodes")["nodes"]]
    of_managers, of_nodes = REFERENCE.split("The agent's own server")
    for request, told in rows("request", "answer"):
        method, path = request.strip("`").split()
        # The managers of this story have no key to list, and no secret to sign a bundle.
        unanswered = ("/", "/metrics", "/api/v1/keys", "/api/v1/bundle", "/v1/bundle", "/api/v1/openapi.json")
        if method != "GET" or path in unanswered:
            continue
        answers = []
        where = path.replace("{id}", id_).replace("{name}", "public")
        if "{" in where:
            # No configuration was pushed in this story.
            continue
        if request in of_managers:
            answers.append(manager.get(f"http://127.0.0.1:9897{where}"))
        if request in of_nodes:
            answers.append(gateway.get(f"http://127.0.0.1:9898{path}"))
        assert any(keys_in(answer) == shape(told, answer) for answer in answers), (request, answers)

    exposed = [
        host.get(f"http://127.0.0.1:{port}/metrics") for host, port in ((manager, 9897), (gateway, 9898))
    ]
    for head, text in zip(("manager", "node"), exposed, strict=True):
        listed = {row[0].strip("`") for row in rows(head, "labels", "meaning")}
        # This story has no TLS.
        assert listed - {"kcm_certificate_days_left"} == names_of_metrics(text)
        for name, labels, *_ in rows(head, "labels", "meaning"):
            for label in re.findall(r"`(\w+)`", labels):
                samples = re.findall(rf"^{name.strip('`')}{{(.*)}} ", text, re.MULTILINE)
                # This story's gateway has no statistics of its own.
                assert samples or label in ("endpoint", "backend", "node"), name
                assert all(f'{label}="' in sample for sample in samples)

    stats = manager.get("http://127.0.0.1:9897/api/v1/stats")
    assert stats["managers"] == {"asked": 3, "answered": 3}
    assert set(stats["nodes"][id_][-1]["counters"]) == {
        row[0].strip("`") for row in rows("counter", "meaning")
    }


@pytest.mark.needs("root", "ip")
def test_every_command_runs_as_written_and_prints_what_is_told(tmp_path: Path) -> None:
    with network(tmp_path) as hosts:
        told = blocks("sh", "console")
        for block, after in zip(told, [*told[1:], None], strict=True):
            if block.language == "sh":
                expected = after.text.splitlines() if after and after.language == "console" else []
                hosts.run(block, expected)
            else:
                for line in block.text.splitlines():
                    hosts.await_line(line)
        [manager], [gateway] = hosts.where("manager"), hosts.where("gateway")
        # Through a proxy, so it is refused and counted.
        refused = manager.run(f"python -c {shlex.quote(LEAVE_BY_PROXY)}")
        assert "HTTP Error 403" in refused.stderr
        check_answers(hosts)
        limits = json.loads((tmp_path / "etc" / "krakend" / "limits.json").read_text())
        assert limits["limits"] == {"public": {"max_rate": 900.0, "every": "1s"}}
        assert (tmp_path / "lib" / "krakend-cluster" / "default" / "state.json").exists()
        assert manager.run("kcm nodes krakend_unknown").returncode == 3
        assert manager.run("kcm --manager 127.0.0.1:1 members").returncode == 5
        assert gateway.run("krakend-cluster-node --seed ,").returncode == 2
        assert manager.do("kcm leave")
