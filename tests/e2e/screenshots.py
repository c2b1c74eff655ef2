"""`make screenshots`: the page of a living group, at two sizes, as README shows it.

python -m tests.e2e.screenshots FOLDER
"""

import signal
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser

from tests.e2e.browser import browser, page_of
from tests.e2e.cluster import HTTP_PORT, Cluster, wait_for
from tests.e2e.simulated import simulated_nodes

SIZES = {"wide": {"width": 1280, "height": 800}, "narrow": {"width": 390, "height": 844}}
VIEWS = ("overview", "nodes", "node", "backends", "subscription", "group")
CONFIG = """\
subscription: {max_nodes: 27}
limits: {public: {max_rate: 900, every: 1s}, search: {max_rate: 120, every: 1m}}
nodes: {heartbeat: 1s, grace: 600s}
stats: {window: 10m, step: 1s}
"""


def take(folder: Path) -> None:
    """Start three managers with some nodes, let a little happen, and write a picture of each view."""
    with tempfile.TemporaryDirectory() as place:
        cluster = Cluster(Path(place))
        try:
            cluster.start_managers(3, config=CONFIG)
            seeds = [f"{cluster.address(name)}:7000" for name in cluster.managers]
            names = [f"edge-{place}-{at}" for place in ("berlin", "madrid", "oslo") for at in range(1, 9)]
            with simulated_nodes(seeds, names):
                wait_for(lambda: len(cluster.states("m1")) == len(names), 30.0, "all are in")
                for name in ("n1", "n2", "n3"):
                    cluster.start_node(name)
                wait_for(lambda: len(cluster.states("m1")) == len(names) + 3, 30.0, "real nodes are in")
                time.sleep(30)
                cluster.nodes["n1"].kill()
                cluster.nodes["n2"].send(signal.SIGSTOP)
                cluster.start_node("n4")
                cluster.start_node("n5")
                wait_for(lambda: cluster.states("m1")["n2"] == "unreachable", 30.0, "one is unreachable")
                time.sleep(20)
                with browser() as chromium:
                    for size in SIZES:
                        _shoot(chromium, cluster, folder, size)
        finally:
            cluster.close()


def _shoot(chromium: Browser, cluster: Cluster, folder: Path, size: str) -> None:
    root = f"http://{cluster.address('m1')}:{HTTP_PORT}/"
    id_ = cluster.node("m1", "edge-oslo-1")["id"]
    scheme = "light" if size == "wide" else "dark"
    with page_of(chromium, viewport=SIZES[size], color_scheme=scheme) as (page, complaints):
        page.goto(root)
        page.wait_for_selector(".tiles .value")
        for view in VIEWS:
            address = f"#/nodes/{id_}" if view == "node" else f"#/{view}"
            page.evaluate("hash => { location.hash = hash; }", address)
            page.wait_for_selector("main h2")
            time.sleep(4)
            path = folder / f"{view}-{size}.png"
            page.screenshot(path=path)
            # A quarter of the size, and no difference to the eye.
            with Image.open(path) as picture:
                picture.quantize(128).save(path, optimize=True)
        assert complaints == [], complaints


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    take(target)
