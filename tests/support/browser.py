"""Pages in a real browser without a screen: what people would see, and what the page does behind their backs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NEEDED = "HMEG_TESTS_NEED_BROWSER"
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """The machine's own Chromium; nothing is downloaded. Without one the test is skipped, or fails if NEEDED is set."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        reason = f"none of {', '.join(_NAMES)} is on this machine"
        if os.environ.get(NEEDED) == "1":
            pytest.fail(f"{NEEDED}=1, but {reason}")
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_OPTIONS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """An open page and what it did: lines on its console, errors, addresses it asked for beyond itself."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    @property
    def broken_pictures(self) -> int:
        """How many pictures did not load."""
        script = "[...document.images].filter(i => !i.complete || !i.naturalWidth).length"
        return int(self.page.evaluate(script))

    @property
    def nameless_pictures(self) -> int:
        """How many pictures have no alternative text."""
        return int(self.page.evaluate("[...document.images].filter(i => !i.alt.trim()).length"))


@contextmanager
def visit(browser: Browser, path: Path, width: int = 1280, scheme: str = "light") -> Iterator[Visit]:
    """Opens the file at ``path`` in a window of that width, in "light" or "dark" colours."""
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    seen = Visit(context.new_page())
    own = path.resolve().as_uri()
    seen.page.on("console", lambda message: seen.complaints.append(message.text))
    seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    seen.page.on(
        "request",
        lambda request: seen.requests.append(request.url) if not request.url.startswith(("data:", own)) else None,
    )
    seen.page.goto(own)
    seen.page.wait_for_load_state("load")
    yield seen
    context.close()
