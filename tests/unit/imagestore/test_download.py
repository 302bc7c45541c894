"""Downloads: taken up again where they broke, bounded, and kept away from what is not theirs to fetch."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pxeserver.imagestore import download as download_module
from pxeserver.imagestore.blobs import ImportFailed
from pxeserver.imagestore.download import Limits, check_address
from pxeserver.imagestore.store import Store

CONTENT = os.urandom(1_500_000)
SHA = hashlib.sha256(CONTENT).hexdigest()
LOCAL = Limits(allow_local=True, pause_seconds=0.001, silence_seconds=2, attempts=3)

Behaviour = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Does what the test says."""

    protocol_version = "HTTP/1.1"
    server: Mirror

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers.get("Range"))
        self.server.targets.append(self.path)
        steps = self.server.steps
        (steps.pop(0) if len(steps) > 1 else steps[0])(self)

    def log_message(self, *args: object) -> None:
        """Silent."""

    def give(
        self,
        content: bytes = CONTENT,
        *,
        etag: str | None = '"v1"',
        stop: int | None = None,
        honour: bool = True,
        announce: bool = True,
    ) -> None:
        """Serve it, from where Range says, and break off after `stop` bytes."""
        start, status = 0, 200
        wanted = self.headers.get("Range")
        if wanted and honour and self.headers.get("If-Range") == etag:
            start, status = int(wanted.removeprefix("bytes=").removesuffix("-")), 206
        self.send_response(status)
        if announce:
            self.send_header("Content-Length", str(len(content) - start))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if etag:
            self.send_header("ETag", etag)
        self.end_headers()
        self.wfile.write(content[start:] if stop is None else content[start : start + stop])
        self.wfile.flush()
        if stop is not None or not announce:
            self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def redirect(self, target: str, status: int = 302) -> None:
        """Send it elsewhere."""
        self.send_response(status)
        self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        self.end_headers()


class Mirror(ThreadingHTTPServer):
    """A server on loopback whose answers follow a list; the last one repeats."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.steps: list[Behaviour] = [Handler.give]
        self.ranges: list[str | None] = []
        self.targets: list[str] = []

    def url(self, path: str = "/image.img") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def handle_error(self, *args: object) -> None:
        """A client that breaks off is part of the tests."""


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    """The server, in a thread."""
    server = Mirror()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    opened = Store(tmp_path / "images")
    yield opened
    assert list(opened.blobs.tmp.iterdir()) == []
    opened.close()


def test_a_download_with_its_checksum(store: Store, mirror: Mirror) -> None:
    told: list[tuple[int, int | None]] = []
    ref = store.add_url(
        mirror.url("/a%20b?x=1"),
        "i.img",
        "disk",
        SHA,
        lambda done, total: told.append((done, total)),
        limits=LOCAL,
    )
    assert (ref.sha256, ref.size) == (SHA, len(CONTENT))
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert mirror.targets == ["/a%20b?x=1"]


def test_without_a_checksum_the_result_reports_it(store: Store, mirror: Mirror) -> None:
    assert store.add_url(mirror.url(), "i.img", "disk", limits=LOCAL).sha256 == SHA


def test_a_broken_connection_goes_on_where_it_stopped(store: Store, mirror: Mirror) -> None:
    mirror.steps = [lambda h: h.give(stop=500_000), lambda h: h.give(stop=300_000), Handler.give]
    assert store.add_url(mirror.url(), "i.img", "disk", SHA, limits=LOCAL).sha256 == SHA
    assert mirror.ranges == [None, "bytes=500000-", "bytes=800000-"]


@pytest.mark.parametrize("etag", ['W/"v1"', None])
def test_without_a_strong_validator_it_starts_anew(store: Store, mirror: Mirror, etag: str | None) -> None:
    mirror.steps = [lambda h: h.give(stop=500_000, etag=etag), lambda h: h.give(etag=etag)]
    assert store.add_url(mirror.url(), "i.img", "disk", SHA, limits=LOCAL).sha256 == SHA
    assert mirror.ranges == [None, None]


def test_another_version_is_never_spliced_on(store: Store, mirror: Mirror) -> None:
    old = os.urandom(len(CONTENT))
    mirror.steps = [lambda h: h.give(old, stop=500_000), lambda h: h.give(etag='"v2"')]
    assert store.add_url(mirror.url(), "i.img", "disk", limits=LOCAL).sha256 == SHA
    assert mirror.ranges[1] == "bytes=500000-"


def test_a_server_that_goes_on_elsewhere_is_not_believed(store: Store, mirror: Mirror) -> None:
    def lying(handler: Handler) -> None:
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}")
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        handler.wfile.write(CONTENT)

    mirror.steps = [lambda h: h.give(stop=500_000), lying, Handler.give]
    assert store.add_url(mirror.url(), "i.img", "disk", SHA, limits=LOCAL).sha256 == SHA


def test_it_gives_up_after_some_breaks_without_progress(store: Store, mirror: Mirror) -> None:
    mirror.steps = [lambda h: h.give(stop=0)]
    with pytest.raises(ImportFailed, match="broke off after 0 bytes"):
        store.add_url(mirror.url(), "i.img", "disk", limits=LOCAL)
    assert len(mirror.ranges) == 3


def test_a_server_that_is_busy_is_asked_again(store: Store, mirror: Mirror) -> None:
    mirror.steps = [lambda h: h.send_error(503), Handler.give]
    assert store.add_url(mirror.url(), "i.img", "disk", limits=LOCAL).sha256 == SHA


def test_no_such_file_is_said_at_once(store: Store, mirror: Mirror) -> None:
    mirror.steps = [lambda h: h.send_error(404)]
    with pytest.raises(ImportFailed, match="HTTP 404"):
        store.add_url(mirror.url(), "i.img", "disk", limits=LOCAL)
    assert len(mirror.ranges) == 1


def test_the_wrong_content_is_refused(store: Store, mirror: Mirror) -> None:
    with pytest.raises(ImportFailed, match="expected " + "0" * 64):
        store.add_url(mirror.url(), "i.img", "disk", "0" * 64, limits=LOCAL)


@pytest.mark.parametrize("announce", [True, False])
def test_too_large(store: Store, mirror: Mirror, announce: bool) -> None:
    mirror.steps = [lambda h: h.give(announce=announce)]
    with pytest.raises(ImportFailed, match="limit of 1000000"):
        store.add_url(mirror.url(), "i.img", "disk", limits=Limits(max_bytes=1_000_000, allow_local=True))


def test_too_slow(store: Store, mirror: Mirror) -> None:
    limits = Limits(max_seconds=0, allow_local=True)
    with pytest.raises(ImportFailed, match="not finished after 0 s"):
        store.add_url(mirror.url(), "i.img", "disk", limits=limits)


def test_a_silent_server_counts_as_broken(store: Store, mirror: Mirror) -> None:
    gate = threading.Event()
    mirror.steps = [lambda h: gate.wait(5) and None]
    limits = Limits(allow_local=True, silence_seconds=0.1, attempts=2, pause_seconds=0.001)
    try:
        with pytest.raises(ImportFailed, match="broke off"):
            store.add_url(mirror.url(), "i.img", "disk", limits=limits)
    finally:
        gate.set()


def test_a_compressed_answer_is_refused(store: Store, mirror: Mirror) -> None:
    def squeezed(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    mirror.steps = [squeezed]
    with pytest.raises(ImportFailed, match="compressed"):
        store.add_url(mirror.url(), "i.img", "disk", limits=LOCAL)


def test_redirects_are_followed_and_counted(store: Store, mirror: Mirror) -> None:
    mirror.steps = [
        lambda h: h.redirect("/elsewhere"),
        lambda h: h.redirect(mirror.url("/b"), 308),
        Handler.give,
    ]
    assert store.add_url(mirror.url(), "i.img", "disk", limits=LOCAL).sha256 == SHA
    assert mirror.targets == ["/image.img", "/elsewhere", "/b"]
    mirror.steps = [lambda h: h.redirect("/again")]
    with pytest.raises(ImportFailed, match="redirects"):
        store.add_url(mirror.url(), "i.img", "disk", limits=LOCAL)


@pytest.mark.parametrize(
    "target",
    ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x/", "//", "http://", "http://user:pw@127.0.0.1/"],
)
def test_redirects_to_other_schemes_are_refused(store: Store, mirror: Mirror, target: str) -> None:
    mirror.steps = [lambda h: h.redirect(target)]
    with pytest.raises(ImportFailed):
        store.add_url(mirror.url(), "i.img", "disk", limits=LOCAL)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.org/x",
        "/etc/passwd",
        "",
        "http://",
        "http:///x",
        "http://example.org:99999/",
        "http://example.org:x/",
        "http://user:secret@example.org/",
        "http://example.org/a b",
        "http://example.org/\r\nX: y",
        "http://exämple.org/",
        "http://[::1/",
        "javascript:alert(1)",
    ],
)
def test_what_is_no_url_to_fetch(store: Store, url: str) -> None:
    with pytest.raises(ImportFailed) as caught:
        store.add_url(url, "i.img", "disk", limits=LOCAL)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "0.0.0.0", "127.1", "2130706433"]
)
def test_this_host_and_its_link_are_not_fetched_from(store: Store, mirror: Mirror, host: str) -> None:
    with pytest.raises(ImportFailed, match=r"not fetched from|no host's address|broke off"):
        store.add_url(
            f"http://{host}:{mirror.server_address[1]}/",
            "i.img",
            "disk",
            limits=Limits(attempts=1, silence_seconds=1),
        )
    assert mirror.targets == []


def test_a_name_that_resolves_to_this_host_is_refused(
    store: Store, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = mirror.server_address[1]
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
    monkeypatch.setattr(download_module.socket, "getaddrinfo", lambda *_, **__: answer)
    with pytest.raises(ImportFailed, match="not fetched from"):
        store.add_url(f"http://mirror.example:{port}/x", "i.img", "disk", limits=Limits(attempts=1))
    assert mirror.targets == []


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "::ffff:127.0.0.1",
        "169.254.1.1",
        "fe80::1",
        "fe80::1%eth0",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
        "240.0.0.1",
        "255.255.255.255",
    ],
)
def test_addresses_that_are_refused(address: str) -> None:
    with pytest.raises(ImportFailed):
        check_address(address, "host", Limits())


@pytest.mark.parametrize("address", ["10.0.0.1", "192.168.1.1", "9.9.9.9", "2620:fe::fe", "fd00::1"])
def test_addresses_that_are_fine(address: str) -> None:
    check_address(address, "host", Limits())
