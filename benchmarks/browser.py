"""Debian's Chromium on the server's own host: how many bytes a page takes, and when it can be seen."""

from __future__ import annotations

import shlex
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pxeserver.lab.netns import Namespace

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
PAINTED = """() => new Promise((done) => {
  const tell = () => {
    const paint = performance.getEntriesByName('first-contentful-paint')[0];
    if (!paint) return setTimeout(tell, 10);
    const [way] = performance.getEntriesByType('navigation');
    const loaded = way.domContentLoadedEventEnd / 1e3;
    done({paint: paint.startTime / 1e3, answer: way.responseEnd / 1e3, loaded});
  };
  tell();
})"""
WATCH = """() => {
  window.took = [];
  let began;
  document.body.addEventListener('htmx:beforeRequest', () => { began = performance.now(); });
  document.body.addEventListener('htmx:afterSwap', () => requestAnimationFrame(() => setTimeout(() =>
    window.took.push((performance.now() - began) / 1e3))));
}"""


class Browser:
    """A browser in the namespace of a server; a context manager that ends it."""

    def __init__(self, place: Namespace, home: str) -> None:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - the other rows need no browser

        self._home = home
        self._folder = tempfile.TemporaryDirectory()
        wrapper = Path(self._folder.name) / "chromium"
        wrapper.write_text(f'#!/bin/sh\nexec {shlex.join(place.argv(CHROMIUM))} "$@"\n')
        wrapper.chmod(0o755)
        self._driver = sync_playwright().start()
        self._browser = self._driver.chromium.launch(executable_path=str(wrapper), args=ARGUMENTS)
        self._context = self._browser.new_context(viewport={"width": 1440, "height": 900})
        self._page = self._context.new_page()

    def log_in(self, name: str, password: str) -> None:
        """Log in."""
        self._page.goto(f"{self._home}/login")
        self._page.fill("input[name=name]", name)
        self._page.fill("input[name=password]", password)
        self._page.click("main button")
        self._page.wait_for_url(f"{self._home}/")

    def opened(self, path: str, times: int) -> dict[str, float]:
        """Open a page: medians of seconds to the first paint, to the end of the answer and until it is ready,
        its stylesheets and scripts being in the cache as they are from the second page on; and the bytes that
        come over the line with an empty cache, compressed: all of them, and those of the page itself.
        """
        size = self._sizes(path)
        self._page.goto(self._home + path)
        found = []
        for _ in range(times):
            self._page.goto(self._home + path)
            found.append(self._page.evaluate(PAINTED))
        return {key: statistics.median(one[key] for one in found) for key in found[0]} | size

    def _sizes(self, path: str) -> dict[str, float]:
        session = self._context.new_cdp_session(self._page)
        session.send("Network.enable")
        session.send("Network.clearBrowserCache")
        taken: dict[str, float] = {}
        session.on(
            "Network.loadingFinished", lambda e: taken.update({e["requestId"]: e["encodedDataLength"]})
        )
        document: list[str] = []
        session.on(
            "Network.requestWillBeSent",
            lambda e: document.append(e["requestId"]) if e.get("type") == "Document" else None,
        )
        self._page.goto(self._home + path, wait_until="load")
        self._page.wait_for_timeout(300)
        session.detach()
        return {"compressed": sum(taken.values()), "page": sum(taken.get(one, 0) for one in document)}

    def searched(self, path: str, field: str, texts: Sequence[str]) -> dict[str, Any]:
        """Search for one text after the other; seconds from the request (which goes out 150 ms after the last
        letter) until the rows are painted.
        """
        self._page.goto(self._home + path)
        self._page.evaluate(WATCH)
        for number, text in enumerate(texts, 1):
            self._page.fill(field, text)
            self._page.wait_for_function("(n) => window.took.length >= n", arg=number)
        took = sorted(self._page.evaluate("window.took"))
        return {"median": statistics.median(took), "greatest": took[-1], "times": len(took)}

    def close(self) -> None:
        """End it."""
        self._browser.close()
        self._driver.stop()
        self._folder.cleanup()
