"""What is simulated is what runs: no class of the programs is derived from, no name of theirs patched."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import simulations

ROOMS = ("gossip", "manager", "node")
FOLDER = Path(simulations.__file__).parent
FILES = sorted(path for path in FOLDER.rglob("*.py") if path.relative_to(FOLDER).parts[0] != "mutants")
OF_SHELLS = frozenset({"self.session.gateway", "self.session.counters", "self.session.served"})
"""What a session wants its shell to set, as the agent does."""
SETTERS = frozenset({"setattr", "delattr"})


def of_production(tree: ast.Module) -> set[str]:
    """The names that a file has from the programs."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ROOMS:
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {
                (alias.asname or alias.name).split(".")[0]
                for alias in node.names
                if alias.name.split(".")[0] in ROOMS
            }
    return names


def root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def departures(tree: ast.Module) -> Iterator[str]:
    """Where a file derives from a class of the programs, or sets a name on one, or on an object's insides."""
    theirs = of_production(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for base in node.bases:
                if root(base) in theirs:
                    yield f"line {node.lineno}: {node.name} derives from {root(base)}"
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        elif isinstance(node, ast.Delete):
            targets = node.targets
        at = f"line {getattr(node, 'lineno', 0)}"
        for target in targets:
            text = ast.unparse(target)
            if isinstance(target, ast.Attribute | ast.Subscript) and root(target) in theirs:
                yield f"{at}: sets {text}"
            inside = ".core." in text or ".session." in text
            if isinstance(target, ast.Attribute) and inside and text not in OF_SHELLS:
                yield f"{at}: sets {text}"
            if text.startswith(("vars(", "globals(")) or ".__dict__" in text:
                yield f"{at}: sets {text}"
        if isinstance(node, ast.Call) and root(node.func) in SETTERS | {"patch"}:
            yield f"line {node.lineno}: calls {root(node.func)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_the_simulator_derives_from_nothing_and_patches_nothing(path: Path) -> None:
    assert list(departures(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize(
    "text",
    [
        "from gossip.swim import Swim\nclass Mine(Swim): pass",
        "import gossip.swim\nclass Mine(gossip.swim.Swim): pass",
        "from gossip import ledger\nledger.TOMBSTONES_MAX = 2",
        "from gossip.ledger import Ledger\nsetattr(Ledger, 'apply', None)",
        "def f(manager):\n    manager.core.group.ledger.renew = None",
        "def f(thing):\n    vars(thing)['renew'] = None",
    ],
)
def test_a_departure_would_be_seen(text: str) -> None:
    assert list(departures(ast.parse(text)))
