#!/usr/bin/env python3
"""Stands in for KrakenD CE, whose binary cannot be had here: it does what its documentation and source say.

`run -c FILE` serves, `check [-t] [-n] [-l] -c FILE` looks at a file. Only INT and TERM are handled, both
gracefully; a HUP ends it. Its `/__stats` are as old as `"stats_age"` seconds say (60 in the original).
Every request that a limit lets through is answered with the name of this process.
"""

import argparse
import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ROUTER = "qos/ratelimit/router"


class Bucket:
    """A token bucket as in github.com/krakend/krakend-ratelimit: full at the start."""

    def __init__(self, rate: float, capacity: float) -> None:
        self.rate, self.capacity, self.tokens, self.at = rate, capacity, capacity, time.monotonic()

    def allows(self) -> bool:
        now = time.monotonic()
        self.tokens = min(self.capacity, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


def seconds(every: str) -> float:
    return float(every.removesuffix("ms")) / 1000 if every.endswith("ms") else float(every.removesuffix("s"))


def read(file: str) -> dict[str, Any]:
    try:
        with open(file) as stream:
            parsed = json.load(stream)
    except (OSError, ValueError) as error:
        sys.exit(f"ERROR parsing the configuration file: {error}")
    if not isinstance(parsed, dict) or parsed.get("version") != 3:
        sys.exit("ERROR parsing the configuration file: unsupported version (want: 3)")
    for endpoint in parsed.get("endpoints", []):
        if not endpoint.get("endpoint", "").startswith("/"):
            sys.exit("ERROR parsing the configuration file: an endpoint must begin with a slash")
    return parsed


class Gateway:
    def __init__(self, config: dict[str, Any]) -> None:
        self.lock = threading.Lock()
        self.counters: dict[str, int] = {}
        self.shown: tuple[float, dict[str, int]] = (time.monotonic(), {})
        self.stats_age = config.get("stats_age", 60.0)
        self.endpoints = {endpoint["endpoint"]: endpoint for endpoint in config.get("endpoints", [])}
        self.buckets = {}
        for path, endpoint in self.endpoints.items():
            limit = endpoint.get("extra_config", {}).get(ROUTER, {})
            if rate := limit.get("max_rate"):
                capacity = limit.get("capacity", max(1, rate))
                self.buckets[path] = Bucket(rate / seconds(limit.get("every", "1s")), capacity)

    def answer(self, path: str) -> tuple[int, bytes]:
        if path == "/__health":
            return 200, b'{"status":"ok"}'
        with self.lock:
            if path == "/__stats":
                if time.monotonic() - self.shown[0] >= self.stats_age:
                    self.shown = (time.monotonic(), dict(self.counters))
                return 200, json.dumps({"Counters": self.shown[1]}).encode()
            if path not in self.endpoints:
                return 404, b""
            status = 200 if path not in self.buckets or self.buckets[path].allows() else 503
            name = f"krakend.router.response.{path}.status.{status}.count"
            self.counters[name] = self.counters.get(name, 0) + 1
        if status == 200:
            time.sleep(self.endpoints[path].get("takes", 0.0))
        return status, str(os.getpid()).encode()


def serve(config: dict[str, Any]) -> ThreadingHTTPServer:
    gateway = Gateway(config)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = gateway.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False
        allow_reuse_address = True
        request_queue_size = 128

    return Server((config.get("listen_ip", "127.0.0.1"), config["port"]), Handler)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("run", "check"))
    parser.add_argument("-c", dest="config", required=True)
    parser.add_argument("-t", action="store_true")
    parser.add_argument("-n", action="store_true")
    parser.add_argument("-l", action="store_true")
    options = parser.parse_args()
    config = read(options.config)
    if options.what == "check":
        if options.t:
            try:
                serve(config).server_close()
            except OSError as error:
                sys.exit(f"ERROR testing the configuration file: listen: {error.strerror}")
        print("Syntax OK!")
        return
    if crash := config.get("crashes"):
        sys.exit(f"panic: {crash}")
    server = serve(config)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    print(f"[KRAKEND] Listening on port: {config['port']}", flush=True)
    while not stop.wait(0.1):
        pass
    server.shutdown()
    server.server_close()  # waits for the last request


if __name__ == "__main__":
    main()
