"""The page's own files: what they load, and what they promise to eyes and to browsers."""

import json
import posixpath
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

import manager.web
from manager.web.app import create_app
from tests.manager.running import Running

STATIC = Path(manager.web.__file__).parent / "static"
SCRIPTS = sorted(path for path in STATIC.rglob("*.js") if "vendor" not in path.parts)
IMPORTS = {path: re.findall(r'^import .* from "(.+)";$', path.read_text(), re.MULTILINE) for path in SCRIPTS}
Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with TestClient(TestServer(create_app(Running()))) as client:
        yield client


class Page(HTMLParser):
    """What a page loads, and what in it a strict policy would not let run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "img", "iframe") or (tag == "link" and given.get("rel") != "canonical"):
            self.loads.append(given.get("src") or given.get("href") or "")
        self.inline += [name for name in given if name.startswith("on") or name == "style"]
        self.ids += [value for name, value in attrs if name == "id" and value]


async def test_the_page_loads_only_what_the_manager_itself_serves(client: Client) -> None:
    answer = await client.get("/")
    assert answer.content_type == "text/html"
    page = Page(await answer.text())
    assert page.inline == []
    assert all(path.startswith("/static/") for path in page.loads)
    types = {path: (await client.get(path)).content_type for path in page.loads}
    assert types["/static/page.js"] == "text/javascript"
    assert types["/static/style.css"] == "text/css"
    assert types["/static/icon.svg"] == "image/svg+xml"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.relative_to(STATIC).as_posix())
async def test_every_module_imports_only_what_is_served(client: Client, script: Path) -> None:
    for name in IMPORTS[script]:
        folder = script.parent.relative_to(STATIC)
        answer = await client.get(f"/static/{posixpath.normpath(folder / name)}")
        assert (answer.status, answer.content_type) == (200, "text/javascript"), name


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.relative_to(STATIC).as_posix())
def test_text_enters_the_page_only_as_text(script: Path) -> None:
    text = script.read_text()
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert way not in text


def test_every_element_that_the_frame_looks_for_is_on_the_page() -> None:
    wanted = set(re.findall(r'element\("([a-z-]+)"\)', (STATIC / "page.js").read_text()))
    page = Page((STATIC / "index.html").read_text())
    assert wanted <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_what_is_not_ours_has_its_version_and_its_licence_beside_it() -> None:
    vendor = STATIC / "vendor"
    assert json.loads((vendor / "versions.json").read_text()) == {"uplot": "1.6.32"}
    assert "uPlot.js" in (vendor / "uPlot.esm.js").read_text()[:200]
    assert "MIT License" in (vendor / "uPlot.LICENSE").read_text()
    axe = Path(__file__).parents[2] / "e2e" / "axe"
    assert (axe / "axe.min.js").read_text().startswith("/*! axe v4.14.1")
    assert "Mozilla Public License" in (axe / "axe.LICENSE").read_text()


# Contrast


def colours(*, dark: bool) -> dict[str, str]:
    """The colours of a scheme by name, `#rrggbb`."""
    light, _, rest = (STATIC / "style.css").read_text().partition("@media (prefers-color-scheme: dark)")
    text = rest.partition("}")[0] if dark else light
    return {
        name: "#" + "".join(c * 2 for c in value) if len(value) == 3 else "#" + value
        for name, value in re.findall(r"--([a-z]+): #([0-9a-f]{3,6})", text)
    }


def luminance(colour: str) -> float:
    """As WCAG 2.2 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("behind", ["back", "card"])
def test_every_text_can_be_read_in_both_schemes(dark: bool, behind: str) -> None:
    found = colours(dark=dark)
    for name in ("text", "quiet", "good", "warn", "bad", "accent"):
        assert contrast(found[name], found[behind]) >= 4.5, name
    assert contrast(found["edge"], found[behind]) >= 3.0, "the edge of a field"
