"""The lab's way to the web admin: a link that logs in once, everything else passed on as it is."""

import http.client
import http.server
import threading
from contextlib import closing

import pytest

from pxeserver.lab.doorway import Doorway, open_browser


class Here:
    """A namespace that is this one."""

    def call(self, work):
        return work()


class Pages(http.server.BaseHTTPRequestHandler):
    """A server that lets demo in."""

    def do_GET(self):
        self._answer(200, f"{self.path} {self.headers['Host']}".encode())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        known = self.path == "/api/v1/session" and b'"demo"' in body
        self._answer(self.server.status if known else 404, b"{}", known)

    def _answer(self, status, body, cookie=False):
        self.send_response(status)
        if cookie:
            self.send_header("Set-Cookie", "s=secret; HttpOnly; SameSite=Strict")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def pages():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    server.status = 200
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def doorway(pages):
    with closing(Doorway(Here(), there=pages.server_address)) as made:
        yield made


def get(doorway, path):
    connection = http.client.HTTPConnection("localhost", doorway.port, timeout=5)
    connection.request("GET", path)
    answer = connection.getresponse()
    told = (
        answer.status,
        answer.getheader("Location"),
        answer.getheader("Set-Cookie"),
        answer.read().decode(),
    )
    connection.close()
    return told


def test_the_link_logs_in_once(doorway):
    path = "/" + doorway.link.split("/", 3)[3]
    assert get(doorway, path)[:3] == (303, "/boots", "s=secret; HttpOnly; SameSite=Strict")
    assert get(doorway, path)[:3] == (303, "/login", None)


def test_another_link_does_not_log_in_and_does_not_use_it_up(doorway):
    path = "/" + doorway.link.split("/", 3)[3]
    for wrong in ("/demo/", "/demo/x", path + "x", path[:-1]):
        assert get(doorway, wrong)[:3] == (303, "/login", None)
    assert get(doorway, path)[0:2] == (303, "/boots")


def test_a_server_that_refuses_leaves_the_login_page(doorway, pages):
    pages.status = 401
    assert get(doorway, "/" + doorway.link.split("/", 3)[3])[:3] == (303, "/login", None)


def test_everything_else_is_passed_on_as_it_is(doorway):
    status, _, _, body = get(doorway, "/nodes?q=a")
    assert (status, body) == (200, f"/nodes?q=a localhost:{doorway.port}")


def test_only_this_host_comes_in(doorway):
    assert doorway._server.server_address[0] == "127.0.0.1"


def test_no_browser_without_a_screen():
    assert open_browser("http://localhost/", {}) is False
