"""The page of real managers, in a real browser."""

import json
import signal
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from manager.tokens import digest
from tests.e2e.browser import browser, page_of
from tests.e2e.cluster import HTTP_PORT, Cluster, fetched
from tests.e2e.simulated import simulated_nodes

pytestmark = pytest.mark.needs("chromium")

QUICK = "nodes: {heartbeat: 1s, grace: 600s, rejoin_window: 600s, retry_after: 600s}\nstats: {step: 1s}\n"
VIEWS = ("overview", "nodes", "backends", "subscription", "group", "limits", "configuration", "events")
SOON = 20_000.0
"""Milliseconds; the page itself needs one or two seconds."""


def url(cluster: Cluster, view: str = "") -> str:
    return f"http://{cluster.address('m1')}:{HTTP_PORT}/#/{view}"


def push(cluster: Cluster, content: bytes) -> None:
    """A configuration for all nginx."""
    where = url(cluster).replace("#/", "api/v1/config/nginx")
    binary = {"Content-Type": "application/octet-stream"}
    fetched(urllib.request.Request(where, content, binary, method="PUT"), 10.0)


def pause(cluster: Cluster) -> None:
    """The rollout of what was pushed."""
    where = url(cluster).replace("#/", "api/v1/rollouts/nginx")
    json_ = {"Content-Type": "application/json"}
    fetched(urllib.request.Request(where, b'{"action": "pause"}', json_, method="POST"), 10.0)


def row(page: Page, name: str) -> Any:
    return page.locator("#nodes tr", has_text=name)


def test_what_happens_in_the_group_is_on_the_page_while_it_happens(cluster: Cluster) -> None:
    limits = "limits: {public: {max_rate: 9, every: 90s}}"
    cluster.start_managers(3, config=f"subscription: {{max_nodes: 3}}\n{limits}\n{QUICK}")
    for name in ("n1", "n2", "n3"):
        cluster.start_node(name)
    cluster.everywhere(dict.fromkeys(("n1", "n2", "n3"), "active"), 20.0, "three are seated")
    with browser() as chromium, page_of(chromium) as (page, complaints):
        page.goto(url(cluster))
        expect(page.locator("#well")).to_be_visible(timeout=SOON)
        expect(page.locator("#active")).to_have_text("3 of 3", timeout=SOON)
        expect(page.locator("#managers")).to_have_text("3 of 3")
        expect(page.locator("#seats")).to_have_text("3 of 3")
        for view in VIEWS:
            page.goto(url(cluster, view))
            expect(page.locator(f'nav a[href="#/{view}"]')).to_have_attribute("aria-current", "page")
        expect(page.locator("#events li", has_text="n1").first).to_contain_text("active", timeout=SOON)
        page.goto(url(cluster, "configuration"))
        expect(page.locator("main")).to_contain_text("No configuration was pushed yet", timeout=SOON)
        for content in (b"events {}\nhttp {\n}\n", b"events {}\nhttp {\n  gzip on;\n}\n"):
            push(cluster, content)
        expect(page.locator("main")).to_contain_text("version 2", timeout=SOON)
        expect(page.locator("main")).to_contain_text("0 of 0 nodes", timeout=SOON)
        page.get_by_role("button", name="Show what differs").click()
        expect(page.locator(".diff .added")).to_have_text("+   gzip on;", timeout=SOON)
        expect(page.locator(".diff .gone")).to_have_count(0)
        page.goto(url(cluster, "limits"))
        expect(page.get_by_role("region", name="Limits", exact=True).locator("tbody tr")).to_contain_text(
            "9 in 90 s"
        )
        expect(page.get_by_role("region", name="Shares and requests")).to_contain_text("n3", timeout=SOON)
        page.goto(url(cluster, "subscription"))
        page.locator("summary").click()
        expect(page.get_by_role("region", name="Seats by day", exact=True)).to_contain_text("3", timeout=SOON)

        page.goto(url(cluster, "nodes"))
        cluster.nodes["n1"].kill()
        expect(row(page, "n1")).to_contain_text("removed", timeout=SOON)
        cluster.nodes["n2"].send(signal.SIGSTOP)
        expect(row(page, "n2")).to_contain_text("unreachable", timeout=SOON)
        page.get_by_role("link", name="n2", exact=True).click()
        expect(page.locator(".timeline")).to_contain_text("silent for", timeout=SOON)

        page.goto(url(cluster, "group"))
        expect(page.locator(".matrix .alive")).to_have_count(6, timeout=SOON)
        expect(page.locator(".matrix")).to_contain_text("ms", timeout=SOON)
        cluster.managers["m3"].kill()
        expect(page.locator("#partial")).to_have_text(
            "This manager sees only 2 of 3 managers. What only the other one knows is not on this page.",
            timeout=SOON,
        )
        expect(page.locator(".matrix")).to_contain_text("no answer", timeout=SOON)
        assert complaints == []

        cluster.managers["m1"].kill()
        expect(page.locator("#connection")).to_contain_text(
            "connection to this manager is gone", timeout=SOON
        )
        cluster.start_manager("m1", config=QUICK)
        expect(page.locator("#connection")).to_be_hidden(timeout=SOON)
        page.goto(url(cluster, "nodes"))
        expect(row(page, "n3")).to_contain_text("active", timeout=SOON)


def test_a_page_without_nodes_says_how_one_joins(cluster: Cluster) -> None:
    cluster.start_managers(1)
    with browser() as chromium, page_of(chromium) as (page, complaints):
        page.goto(url(cluster))
        expect(page.locator("#well")).to_have_text("All is well.", timeout=SOON)
        expect(page.locator("#seed")).to_have_text(f"seed: {cluster.address('m1')}:7000")
        assert complaints == []


def test_every_view_is_labelled_fits_a_phone_and_is_reached_by_keyboard(cluster: Cluster) -> None:
    strict = "group: {founders: [m1, m2]}\nsubscription: {max_nodes: 5, policy: strict}\n"
    cluster.start_managers(2, config=f"{strict}limits: {{a: {{max_rate: 9}}}}\n{QUICK}")
    names = [f"n{at}" for at in range(1, 7)]
    seeds = [f"{cluster.address(name)}:7000" for name in cluster.managers]
    options = {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"}
    with (
        simulated_nodes(seeds, names),
        browser() as chromium,
        page_of(chromium, **options) as (page, complaints),
    ):
        page.goto(url(cluster))
        expect(page.locator("#active")).to_have_text("5 of 5", timeout=SOON)
        push(cluster, b"events {}\n")
        id_ = cluster.node("m1", "n1")["id"]
        for view in (*VIEWS, f"nodes/{id_}"):
            page.goto(url(cluster, view))
            expect(page.locator("main h2")).to_have_count(1)
            page.wait_for_timeout(500)
            assert page.evaluate(UNLABELLED) == [], view
            assert amiss(page) == [], view
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, view
        expect(page.locator(".plot canvas").first).to_be_visible(timeout=SOON)
        expect(page.locator("main")).to_contain_text("10.0.8.12:8080", timeout=SOON)
        configuration = page.get_by_role("region", name="Configuration of its gateway")
        expect(configuration).to_contain_text("version 1", timeout=SOON)
        expect(configuration).to_contain_text("a file of another origin")

        page.goto(url(cluster, "backends"))
        verdict = "10.0.8.12:8080 fails for 5 of 5 nodes: look at the backend."
        expect(page.locator("main [role=status]")).to_contain_text(verdict, timeout=SOON)
        expect(page.locator("main [role=status]")).to_contain_text(
            "10.0.8.13:8080 fails for n4 and not for others"
        )
        expect(page.locator(".matrix .dead")).to_have_count(6)
        page.goto(url(cluster))
        expect(page.locator("#p95")).to_contain_text("ms", timeout=SOON)
        expect(page.locator("#failed")).to_contain_text("%")
        pause(cluster)
        trouble = "The rollout of version 1 for nginx is paused."
        expect(page.locator("#troubles")).to_contain_text(trouble, timeout=SOON)

        page.goto(url(cluster, "group"))
        founders = page.get_by_role("region", name="Founders").locator("tbody tr")
        expect(founders).to_have_count(2, timeout=SOON)
        expect(founders.first).to_contain_text("founded")
        cluster.managers["m2"].send(signal.SIGSTOP)
        expect(founders.last).to_contain_text("out of reach", timeout=SOON)
        expect(founders.last).to_contain_text("from", timeout=SOON)
        cluster.managers["m2"].send(signal.SIGCONT)
        expect(founders.last).not_to_contain_text("out of reach", timeout=SOON)

        page.goto(url(cluster))
        page.reload()
        expect(page.locator("#active")).to_be_visible(timeout=SOON)
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        for _ in ("Overview", "Nodes", "Backends", "Subscription"):
            page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Subscription", exact=True)).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("main h2")).to_have_text("Subscription")
        expect(page.locator("main")).to_be_focused()
        assert complaints == []


WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
AXE = """tags => axe.run({ runOnly: tags }).then(({ violations }) => violations.flatMap(
    ({ id, nodes }) => nodes.map((one) => `${id}: ${one.html} ${one.failureSummary}`)))"""


def amiss(page: Page) -> list[str]:
    """What axe-core, which is not ours, finds against WCAG 2.2 AA."""
    if not page.evaluate("'axe' in window"):
        page.evaluate((Path(__file__).parent / "axe" / "axe.min.js").read_text())
    found: list[str] = page.evaluate(AXE, WCAG)
    return found


UNLABELLED = """() => [...document.querySelectorAll("a, button, input, select, [role=region]")]
    .filter((one) => one.checkVisibility()
        && !(one.textContent.trim() || one.ariaLabel || one.labels?.length))
    .map((one) => one.outerHTML)"""


def test_five_thousand_nodes_are_filtered_sorted_and_scrolled_smoothly(cluster: Cluster) -> None:
    cluster.start_managers(1, config=QUICK)
    answer = json.dumps({"nodes": [_listed(at) for at in range(5000)], "next": None})

    def many(route: Route) -> None:
        route.fulfill(body=answer, content_type="application/json")

    with browser() as chromium, page_of(chromium) as (page, complaints):
        page.route("**/api/v1/nodes?*", many)
        page.goto(url(cluster, "nodes"))
        expect(page.locator("main")).to_contain_text("5000 nodes", timeout=SOON)
        assert page.locator("#nodes tr").count() < 60
        for script in (SORT, SCROLL, FILTER):
            took = page.evaluate(script)
            # A frame or a few on an idle machine; the tests run beside others.
            assert took < 1500, (script, took)
        expect(page.locator("main")).to_contain_text("1 of 5000 nodes")
        expect(page.locator("#nodes tr")).to_have_count(1)
        assert complaints == []


_SETTLED = "await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
SCROLL = f"""async () => {{
    const list = document.querySelector(".tall"), start = performance.now();
    for (const part of [0.2, 0.9, 0.5, 1]) {{ list.scrollTop = list.scrollHeight * part; {_SETTLED}; }}
    if (!document.querySelector("#nodes").textContent.includes("n4999")) throw "the last row is not in sight";
    return (performance.now() - start) / 4;
}}"""
SORT = f"""async () => {{
    const start = performance.now();
    document.querySelector(".rows thead button").click(); {_SETTLED};
    return performance.now() - start;
}}"""
FILTER = f"""async () => {{
    const start = performance.now(), field = document.querySelector("#filter");
    field.value = "n4321"; field.dispatchEvent(new Event("input")); {_SETTLED};
    return performance.now() - start;
}}"""


def _listed(at: int) -> dict[str, Any]:
    return {
        "id": f"krakend_{at:08x}-0000-4000-8000-000000000000",
        "name": f"n{at:04}",
        "state": ("active", "active", "unreachable", "down")[at % 4],
        "over_limit": False,
        "since": "2026-11-24T13:37:00.000Z",
        "why": "said hello to m1",
        "manager": f"m{at % 3 + 1}",
        "address": f"10.0.{at // 250}.{at % 250}",
        "seat": at % 4 != 3,
        "incarnation": 1,
        "gateway": "nginx: running",
        "token": "",
        "labels": {},
        "limits": {},
    }


def test_a_page_behind_tokens_asks_for_one_and_managers_still_answer_each_other(cluster: Cluster) -> None:
    token = "kcm_of_this_test"
    tokens = f"http: {{tokens: {{alice: {{scope: viewer, sha256: {digest(token)}}}}}}}\n"
    cluster.start_managers(2, config=f"group: {{secret: hush}}\n{tokens}{QUICK}")
    assert cluster.get("m1", "stats")["managers"] == {"asked": 2, "answered": 2}
    # This host itself needs no token; what came through a proxy does.
    with browser() as chromium, page_of(chromium, extra_http_headers={"Via": "a proxy"}) as (page, _):
        page.goto(url(cluster))
        page.get_by_label("Token").fill("kcm_wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#refused")).to_contain_text("not known here", timeout=SOON)
        page.get_by_label("Token").fill(token)
        page.keyboard.press("Enter")
        expect(page.locator("#managers")).to_have_text("2 of 2", timeout=SOON)
        expect(page.locator("#log-in")).to_be_hidden()
    logs = "".join(process.text for process in cluster.managers.values())
    assert token not in logs
    assert "hush" not in logs
