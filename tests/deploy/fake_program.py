"""Stands in for managers and nodes where only the demo is tested.

A manager lists those whose processes live, and with a file `lie` beside its configuration another maximum.
The variable FAKE makes one process misbehave: `n2 fails` ends at once, `n1 lingers` leaves a process behind.
"""

import json
import os
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(sys.argv[2]).parent


def lives(folder: Path) -> bool:
    try:
        return (
            Path("/proc", (folder / "pid").read_text(), "stat").read_text().rsplit(")")[1].split()[0] != "Z"
        )
    except OSError:
        return False


def documents() -> dict[str, Any]:
    nodes = [folder for folder in sorted(FOLDER.parent.glob("n?")) if lives(folder)]
    members = [folder for folder in sorted(FOLDER.parent.glob("m?")) if lives(folder)]
    claim = {"state": "active", "why": "said hello", "manager": "m1", "seat": True, "incarnation": 1}
    return {
        "/api/v1/nodes": {"nodes": [{"id": node.name, "name": node.name, **claim} for node in nodes]},
        "/api/v1/members": {
            "members": [{"name": m.name, "state": "alive", "address": m.name} for m in members]
        },
        "/api/v1/subscription": {
            "max_nodes": 3 if (FOLDER / "lie").exists() else None,
            "used": len(nodes),
            "serial": 0,
        },
    }


class Api(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(documents()[self.path]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    config = yaml.safe_load(Path(sys.argv[2]).read_text())
    told = os.environ.get("FAKE", "")
    if told == f"{FOLDER.name} fails":
        sys.exit("no such thing")
    (FOLDER / "pid").write_text(str(os.getpid()))
    if told == f"{FOLDER.name} lingers":
        subprocess.Popen(["sleep", "600"])
    print(f"▶ {FOLDER.name} listens", flush=True)
    if "http_port" in config:
        ThreadingHTTPServer((config["bind"], config["http_port"]), Api).serve_forever()
    while True:
        time.sleep(600)
