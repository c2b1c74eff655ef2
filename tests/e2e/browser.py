"""Debian's Chromium, driven by Playwright; it asks nothing of the outside."""

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

_FLAGS = ("--no-sandbox", "--disable-quic", "--disable-background-networking", "--no-proxy-server")


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A headless browser; the one of `playwright install` is never used."""
    program = shutil.which("chromium")
    assert program is not None
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        try:
            yield chromium
        finally:
            chromium.close()


@contextlib.contextmanager
def page_of(browser: Browser, **options: Any) -> Iterator[tuple[Page, list[str]]]:
    """A page, and what the browser complains about on it: errors, warnings, what the CSP refuses."""
    context = browser.new_context(**options)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.set_default_timeout(20_000)
    try:
        yield page, complaints
    finally:
        context.close()
