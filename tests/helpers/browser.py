"""Debian's Chromium on a real hive: one browser, pages that note what they must not do.

Everything that a page asks for, logs as an error, or is refused by the content security policy is
kept, so that each test can say at its end that nothing of it happened.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from fluxhive.protocol.sign_in import SignInLink
from tests.helpers.cli_hive import CliHive

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "fluxhive/server/static/dashboard/index.html"
AXE = ROOT / "web/node_modules/axe-core/axe.min.js"
#: Nothing of Google's is asked on the side, and root may run it.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 20_000
#: Runs in every page before its own scripts.
_NOTE_REFUSALS = """
window.refused = [];
addEventListener('securitypolicyviolation', (e) => window.refused.push(
  `${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber}`));
"""
#: Levels of axe-core that count, as WCAG 2.2 AA tests them.
_SERIOUS = ("serious", "critical")


def chromium() -> str | None:
    """Where Chromium is; None: it is not installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def browser() -> Iterator[Browser]:
    """A Chromium of its own."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        try:
            yield opened
        finally:
            opened.close()


class Visit:
    """A person at a browser, with one page."""

    def __init__(
        self, opened: Browser, hive: CliHive, *, url: str | None = None, **settings: Any
    ) -> None:
        self.hive = hive
        self.url = url or hive.transport.base_url
        self.context: BrowserContext = opened.new_context(
            base_url=self.url, viewport={"width": 1280, "height": 800}, **settings
        )
        self.context.set_default_timeout(PATIENCE_MS)
        self.context.add_init_script(_NOTE_REFUSALS)
        #: What the page logged as an error, or threw.
        self.errors: list[str] = []
        self.asked_of: set[str] = set()
        self.page: Page = self.context.new_page()
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.asked_of.add(urlsplit(request.url).netloc))

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location['url']})")

    def sign_in(self) -> None:
        """By a link, as `fluxhive up` prints it."""
        link = self.hive.transport.call("POST", "/api/v1/auth/link", SignInLink).link
        self.page.goto(f"{self.url}/sign-in#{link.partition('#')[2]}")
        self.page.get_by_role("heading", name="Overview").wait_for(state="attached")
        self.stands()

    def stands(self) -> None:
        """Waits for the page's own script: what is seen before it (frame.ts) hears no keys."""
        self.page.get_by_role("status").first.wait_for()

    def faults(self) -> list[str]:
        """What axe-core finds serious on the page as it is now: rule, place, and why."""
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{each['id']}: {node['target']} {node['failureSummary']}"
            for each in found["violations"]
            if each["impact"] in _SERIOUS
            for node in each["nodes"]
        ]

    def check_clean(self) -> None:
        """Nothing was refused by the policy, logged as an error, or asked of another host."""
        refused = self.page.evaluate("window.refused")
        elsewhere = self.asked_of - {urlsplit(self.url).netloc, ""}
        assert not refused, f"refused by the policy: {refused}"
        assert not self.errors, f"logged as errors: {self.errors}"
        assert not elsewhere, f"other hosts were asked: {elsewhere}"

    def close(self) -> None:
        """The page and its cookies are gone."""
        self.context.close()
