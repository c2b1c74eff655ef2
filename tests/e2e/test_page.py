"""The page of a real manager, in a real browser."""

import os
import re
import signal
import subprocess
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.e2e.cluster import HTTP_PORT, Cluster

pytestmark = pytest.mark.needs("chromium")

QUICK = "nodes: {heartbeat: 1s, grace: 600s, rejoin_window: 600s, retry_after: 600s}\n"
BROWSER_SECONDS_MAX = 60.0
_WITHOUT_END_TAG = {"meta", "link", "input", "br"}
# No browser of a user: nothing is asked of the outside, nothing outlives the test.
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--enable-logging=stderr",
)


class Dom(HTMLParser):
    """The document as a script left it: what is seen in each element that has an id, and in each row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: dict[str, str] = {}
        """Text by id; an element that is hidden, or stands in a hidden one, is not in it."""
        self.rows: dict[str, list[list[str]]] = defaultdict(list)
        """The cells of each row, by the id of the table's body."""
        self._open: list[tuple[str, str, bool]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _WITHOUT_END_TAG:
            return
        given = dict(attrs)
        hidden = "hidden" in given or tag == "noscript" or any(entry[2] for entry in self._open)
        id_ = given.get("id") or ""
        if id_ and not hidden:
            self.seen[id_] = ""
        self._open.append((tag, id_, hidden))
        body = next((entry[1] for entry in reversed(self._open) if entry[0] == "tbody"), "")
        if tag == "tr" and body:
            self.rows[body].append([])
        elif tag in ("td", "th") and body:
            self.rows[body][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag, f"</{tag}> closes something else"

    def handle_data(self, text: str) -> None:
        if not self._open or self._open[-1][2]:
            return
        body = ""
        for tag, id_, _ in self._open:
            if id_:
                self.seen[id_] += text
            if tag == "tbody":
                body = id_
            elif tag in ("td", "th") and body:
                self.rows[body][-1][-1] += text.strip() + " "


def look_at(url: str, profile: Path) -> tuple[Dom, list[str]]:
    """The page some seconds after it was opened, and what the browser complained about."""
    command = [
        "chromium",
        *_FLAGS,
        f"--user-data-dir={profile}",
        "--virtual-time-budget=3000",
        "--dump-dom",
        url,
    ]
    browser = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "HOME": str(profile)},
        start_new_session=True,
    )
    try:
        page, log = browser.communicate(timeout=BROWSER_SECONDS_MAX)
    finally:
        if browser.poll() is None:
            os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()
    assert browser.returncode == 0, log
    return Dom(page), [line for line in log.splitlines() if "CONSOLE" in line]


def test_the_page_shows_members_nodes_and_seats_and_says_what_is_wrong(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.start_managers(
        2, config=f"subscription: {{max_nodes: 2}}\nlimits: {{public: {{max_rate: 9, every: 90s}}}}\n{QUICK}"
    )
    cluster.start_node("n1")
    cluster.start_node("n2")
    cluster.everywhere({"n1": "active", "n2": "active"}, 15.0, "two are seated")
    cluster.start_node("n3")
    cluster.nodes["n2"].send(signal.SIGSTOP)
    cluster.everywhere({"n1": "active", "n2": "unreachable", "n3": "refused"}, 15.0, "one of each kind")

    page, complaints = look_at(f"http://{cluster.address('m1')}:{HTTP_PORT}/", tmp_path / "browser")
    assert complaints == []
    assert "connection" not in page.seen
    assert (page.seen["group"], page.seen["who"]) == ("krakend", "as manager m1 sees it")
    assert (page.seen["managers"], page.seen["active"]) == ("2 of 2", "1 of 2")
    assert (page.seen["seats"], page.seen["refused"]) == ("2 of 2", "1")
    assert "1 node is unreachable" in page.seen["troubles"]
    assert "1 node waits for a seat" in page.seen["troubles"]
    assert "well" not in page.seen

    shown = [(row[0].split()[0], row[1].strip(), row[6].strip()) for row in page.rows["nodes"]]
    assert shown == [("n2", "unreachable", "held"), ("n3", "refused", "no"), ("n1", "active", "yes")]
    assert all(re.search(r"krakend_[0-9a-f-]{36}", row[0]) for row in page.rows["nodes"])
    assert [(row[0].split(), row[1].strip()) for row in page.rows["members"]] == [
        (["m1", "this", "manager"], "alive"),
        (["m2"], "alive"),
    ]
    assert [[cell.strip() for cell in row] for row in page.rows["limits"]] == [
        ["public", "9 in 90 s", "4.5 in 90 s"]
    ]


def test_a_page_without_nodes_says_how_one_joins(cluster: Cluster, tmp_path: Path) -> None:
    cluster.start_managers(1)
    page, complaints = look_at(f"http://{cluster.address('m1')}:{HTTP_PORT}/", tmp_path / "browser")
    assert complaints == []
    assert page.seen["well"] == "All is well."
    assert page.rows["nodes"] == []
    assert page.seen["seed"] == f"seed: {cluster.address('m1')}:7000"
    assert page.seen["source"] == "no cap is set"
