"""What a monitoring system reads of a real server, over the admin plane, with a token."""

import json
import re
import urllib.error
import urllib.request

import pytest
from server_under_test import LOADERS, Server, eventually

pytestmark = pytest.mark.net

PLANE = "http://127.0.0.1:8080"


@pytest.fixture
def server(tmp_path):
    made = Server(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.close()


def read(server, path, token=""):
    """(status, text) of a path, asked on the server's own host."""
    request = urllib.request.Request(PLANE + path)
    if token:
        request.add_header("Authorization", f"Bearer {token}")

    def ask():
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    return server.space.call(ask)


def figures(server, token):
    """{name and labels: value}"""
    status, text = read(server, "/metrics", token)
    assert status == 200, text
    return {name: float(value) for name, value in re.findall(r"^([^#\s]\S*) (\S+)$", text, re.M)}


def test_a_boot_is_counted_in_both_processes(server, tmp_path):
    made = server.cli("token", "add", "demo", "scrape", "--scope", "server:read", "-o", "json").stdout
    token = json.loads(made)["secret"]
    eventually(lambda: read(server, "/readyz")[0] == 200, 20, "it did not become ready")
    machine = server.machine()
    machine.script()
    machine.tftp("snponly.efi", tmp_path / "loader")

    def counted():
        found = figures(server, token)
        assert found["pxeserver_http_requests_total"] >= 1
        assert found["pxeserver_tftp_bytes_total"] >= len(LOADERS["snponly.efi"])
        assert found['pxeserver_tftp_transfers_total{result="sent"}'] >= 1
        assert found['pxeserver_resident_bytes{process="worker"}'] > 10 << 20
        assert found['pxeserver_resident_bytes{process="control"}'] > 10 << 20
        assert found['pxeserver_events_total{kind="script-sent"}'] >= 1
        assert found['pxeserver_boot_seconds_count{until="script"}'] == 1
        return found

    found = eventually(counted, 15, "the boot is not in the figures")
    assert found["pxeserver_worker_up"] == found["pxeserver_database_up"] == 1
    assert read(server, "/healthz") == (200, "ok\n")
    assert read(server, "/metrics")[0] == 401
