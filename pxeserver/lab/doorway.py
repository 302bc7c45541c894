"""A way from this host's browsers to the web admin of a server in a namespace: only through this host's
loopback, and with a link that logs in once.

The server sees connections from its own loopback, so the well-known login of a fresh installation does
everything; whoever is on this host could log in with it anyway.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from pxeserver.lab.process import LabError

T = TypeVar("T")
PAGES = ("127.0.0.1", 8080)
"""Where the server serves its pages on its own loopback."""
_PATIENCE = 20.0
_BLOCK = 1 << 16


class Place(Protocol):
    """A namespace (netns.py)."""

    def call(self, work: Callable[[], T]) -> T:
        """Call it inside."""


class Doorway:
    """Passes connections on from a port of 127.0.0.1 to `there` inside of `place`; `link` logs in as demo,
    once, and goes on to `page`.
    """

    def __init__(self, place: Place, page: str = "/boots", there: tuple[str, int] = PAGES) -> None:
        self._place, self._page, self._there = place, page, there
        self._key = secrets.token_urlsafe(16)
        doorway = self

        class Visit(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError, LabError):
                    doorway._visit(self.request)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Visit, bind_and_activate=True)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self.link = f"http://localhost:{self.port}/demo/{self._key}"
        threading.Thread(target=self._server.serve_forever, name="doorway", daemon=True).start()

    def close(self) -> None:
        """Let nobody in any more."""
        self._server.shutdown()
        self._server.server_close()

    def _visit(self, browser: socket.socket) -> None:
        first = browser.recv(_BLOCK)
        while first and b"\r\n\r\n" not in first and len(first) < _BLOCK:
            more = browser.recv(_BLOCK)
            if not more:
                break
            first += more
        if first.startswith(b"GET /demo/"):
            browser.sendall(self._let_in(first.split()[1].decode("ascii", "replace")))
        elif first:
            self._pass_on(browser, first)

    def _let_in(self, path: str) -> bytes:
        """The answer to the link: a session the first time, the login page ever after."""
        key, self._key = self._key, ""
        if not key or not secrets.compare_digest(path.removeprefix("/demo/").encode(), key.encode()):
            self._key = key
            return _moved("/login")
        try:
            cookie = self._place.call(self._log_in)
        except (OSError, LabError):
            self._key = key
            return _moved("/login")
        return _moved(self._page, f"Set-Cookie: {cookie}\r\n")

    def _log_in(self) -> str:
        connection = http.client.HTTPConnection(*self._there, timeout=_PATIENCE)
        body = json.dumps({"name": "demo", "password": "demo"})
        headers = {"Content-Type": "application/json", "Host": f"localhost:{self.port}"}
        try:
            connection.request("POST", "/api/v1/session", body, headers)
            answer = connection.getresponse()
            answer.read()
        finally:
            connection.close()
        cookie = answer.getheader("Set-Cookie")
        if answer.status != 200 or cookie is None:
            raise LabError(f"the server did not let demo in: {answer.status}")
        return cookie

    def _pass_on(self, browser: socket.socket, first: bytes) -> None:
        with self._place.call(self._connect) as server:
            server.sendall(first)
            back = threading.Thread(target=_pump, args=(server, browser), daemon=True)
            back.start()
            _pump(browser, server)
            back.join()

    def _connect(self) -> socket.socket:
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                return socket.create_connection(self._there, timeout=None)
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)  # it starts


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Pass bytes on until one of the ends is gone."""
    with contextlib.suppress(OSError):
        while block := source.recv(_BLOCK):
            target.sendall(block)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _moved(where: str, more: str = "") -> bytes:
    head = f"HTTP/1.1 303 See Other\r\nLocation: {where}\r\n{more}Cache-Control: no-store\r\n"
    return f"{head}Content-Length: 0\r\nConnection: close\r\n\r\n".encode("latin-1")


def open_browser(link: str, environ: Any = os.environ) -> bool:
    """Open a link in a browser where there is a screen to show it on; as the person who called sudo: browsers
    refuse to be root's. Returns whether one was started.
    """
    if not (environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")):
        return False
    person = environ.get("SUDO_USER", "")
    words = ["runuser", "-u", person, "--"] if person and person != "root" else []
    try:
        subprocess.Popen(
            [*words, "xdg-open", link],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return False
    return True
