"""Fixtures of the tests in a browser: Debian's Chromium, a site with made-up machines, a real server.

`page` fails its test on a console error, on a request to another host and on a report of the content security
policy, unless the test takes them out of `page.faults` as expected.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "net"))

from made_up import MadeUp, made_up
from server_under_test import Server, eventually

HERE = Path(__file__).parent
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--force-color-profile=srgb"]
PICTURES = Path(os.environ.get("PXESERVER_PICTURES", HERE.parents[1] / ".cache" / "pictures"))
ADMIN = "http://127.0.0.1:8080"
PATIENCE = 120_000
"""Milliseconds: a busy machine shares two processors among virtual machines and browsers."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is of the web."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.web)


@dataclass
class Watched:
    """A page that is watched: `faults` has what went wrong in the browser, in words."""

    page: Any
    home: str
    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.page, name)

    def go(self, path: str = "/") -> Any:
        """Open a page of the site."""
        answer = self.page.goto(self.home + path)
        assert answer is not None and answer.status < 500, (path, answer and answer.status)
        return answer

    def picture(self, name: str, *, whole: bool = False) -> Path:
        """Keep what is to be seen as a picture."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        path = PICTURES / f"{name}.png"
        self.page.screenshot(path=str(path), full_page=whole)
        return path

    def accessible(self) -> None:
        """Nothing that axe finds (WCAG 2.2 A and AA)."""
        from axe_playwright_python.sync_playwright import Axe

        options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
        found = Axe().run(self.page, options=options)
        lines = [
            f"{v['id']}: {v['help']}: " + "; ".join(n["html"][:160] for n in v["nodes"][:3])
            for v in found.response["violations"]
        ]
        assert not lines, "\n".join(lines)


def watch(context: Any, home: str) -> Watched:
    """A new page of this context, watched from its first request on."""
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    watched = Watched(page, home)
    host = urlsplit(home).netloc

    def console(message: Any) -> None:
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            watched.faults.append(f"console: {message.text}")

    def request(asked: Any) -> None:
        watched.requests.append(asked.url)
        parts = urlsplit(asked.url)
        if parts.scheme not in ("data", "blob", "about") and parts.netloc != host:
            watched.faults.append(f"another host: {asked.url}")

    def dialog(opened: Any) -> None:
        watched.faults.append(f"dialog: {opened.message}")
        opened.dismiss()

    page.on("console", console)
    page.on("pageerror", lambda error: watched.faults.append(f"error: {error}"))
    page.on("request", request)
    page.on("dialog", dialog)
    page.on("crash", lambda: watched.faults.append("the page crashed"))
    page.expose_function("reportPolicy", lambda text: watched.faults.append(f"policy: {text}"))
    page.add_init_script(
        "addEventListener('securitypolicyviolation', (e) =>"
        " reportPolicy(`${e.effectiveDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber}`))"
    )
    return watched


@pytest.fixture(scope="session")
def playwright() -> Iterator[Any]:
    """Playwright's driver."""
    if not Path(CHROMIUM).exists():
        pytest.skip("needs Debian's chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="session")
def browser(playwright: Any) -> Iterator[Any]:
    """Chromium in this network namespace."""
    started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
    yield started
    started.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[MadeUp]:
    """The pages with machines that the test makes up, without login."""
    with made_up(tmp_path) as made:
        yield made


Opener = Callable[..., Watched]


@pytest.fixture
def open_page(browser: Any, site: MadeUp) -> Iterator[Opener]:
    """Open a watched page of `site`: open_page(width=360, dark=True, scripts=False, locale="de")."""
    contexts, pages = [], []

    def opened(
        *,
        width: int = 1440,
        height: int = 900,
        dark: bool = False,
        scripts: bool = True,
        locale: str = "en",
        **more: Any,
    ) -> Watched:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
            locale=locale,
            **more,
        )
        contexts.append(context)
        pages.append(watch(context, site.url))
        return pages[-1]

    yield opened
    _close(contexts, pages)


def _close(contexts: list[Any], pages: list[Watched]) -> None:
    """Close them; nothing may have gone wrong on any of them."""
    faults = [fault for page in pages for fault in page.faults]
    for context in contexts:
        context.close()
    assert not faults, faults


@pytest.fixture
def page(open_page: Opener) -> Watched:
    """A wide, light page."""
    return open_page()


# -------------------------------------------------------------------------------- the real thing


@pytest.fixture
def page_of(browser: Any) -> Iterator[Callable[[str], Watched]]:
    """A watched page of a server that this host reaches: page_of("http://localhost:8080")."""
    contexts, pages = [], []

    def opened(home: str) -> Watched:
        contexts.append(browser.new_context(viewport={"width": 1440, "height": 900}, locale="en"))
        pages.append(watch(contexts[-1], home))
        return pages[-1]

    yield opened
    _close(contexts, pages)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A real server in a namespace, started, with its admin plane; machines on a cable beside it."""
    if os.geteuid() != 0:
        pytest.skip("needs root for network namespaces")
    made = Server(tmp_path)
    try:
        made.start(wait=False).wait_for_text("  next ", PATIENCE / 1000)
        eventually(lambda: made.space.call(_reached), 60, "the admin plane did not answer")
        yield made
    finally:
        made.close()


def _reached() -> bool:
    import urllib.request

    with urllib.request.urlopen(f"{ADMIN}/login", timeout=2) as answer:
        return bool(answer.status == 200)


@pytest.fixture
def server_page(playwright: Any, server: Server, tmp_path: Path) -> Iterator[Watched]:
    """A browser on the server's own host, logged in as demo."""
    wrapper = tmp_path / "chromium-in-namespace"
    command = shlex.join(server.space.argv(CHROMIUM))
    wrapper.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    wrapper.chmod(0o755)
    started = playwright.chromium.launch(executable_path=str(wrapper), args=ARGUMENTS)
    try:
        watched = watch(started.new_context(viewport={"width": 1440, "height": 900}), ADMIN)
        watched.go("/login")
        watched.fill("input[name=name]", "demo")
        watched.fill("input[name=password]", "demo")
        watched.click("main button")
        watched.wait_for_url(f"{ADMIN}/")
        yield watched
        assert not watched.faults, watched.faults
    finally:
        started.close()
