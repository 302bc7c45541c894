"""The admin plane of the real server: from its own host, from the network, through a proxy on the host."""

from __future__ import annotations

import json
import re
from http.cookies import SimpleCookie
from typing import Any

import pytest
from server_under_test import ADDRESS, Server

from pxeserver.lab.netns import Namespace

pytestmark = pytest.mark.net

TLS, HERE = f"https://{ADDRESS}:8443", "http://127.0.0.1:8080"
GOOD = "correct horse battery"
GROUP = {"name": "g", "selector": "label", "match": "a=b"}


class Curl:
    """A browser in a namespace: curl with a cookie and the session's token."""

    def __init__(self, space: Namespace, base: str, *headers: str) -> None:
        self.space, self.base, self.headers = space, base, headers
        self.cookie = self.csrf = ""

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """(status, body) of an API call."""
        words = ["curl", "-sk", "-i", "--max-time", "20", "-X", method]
        given = [*self.headers, *([f"Cookie: {self.cookie}"] if self.cookie else [])]
        given += [f"X-CSRF-Token: {self.csrf}"] if self.csrf else []
        if body is not None:
            given.append("Content-Type: application/json")
            words += ["--data", json.dumps(body)]
        for header in given:
            words += ["-H", header]
        told = self.space.run(*words, f"{self.base}/api/v1{path}").replace("\r\n", "\n")
        head, _, text = told.partition("\n\n")
        for line in head.splitlines():
            if line.lower().startswith("set-cookie:"):
                (morsel,) = SimpleCookie(line.partition(":")[2].strip()).values()
                self.cookie = f"{morsel.key}={morsel.value}"
        data = json.loads(text) if text.startswith(("{", "[")) else text
        if isinstance(data, dict) and data.get("csrf"):
            self.csrf = data["csrf"]
        return int(head.split()[1]), data

    def log_in(self, password: str = "demo") -> dict[str, Any]:
        """Log in as demo."""
        status, view = self.call("POST", "/session", {"name": "demo", "password": password})
        assert status == 200, view
        return dict(view)


def test_from_here_and_from_the_network(server: Server) -> None:
    server.start()
    lines = server.log
    code = re.search(r"  code +([0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}) ", lines)
    shown = re.search(r"  shows +certificate SHA-256 ([0-9A-F:]{95})", lines)
    assert code and shown, lines
    assert shown[1] in server.cli("status", check=False).stdout

    local, lan = Curl(server.space, HERE), Curl(server.machines, TLS)
    assert local.log_in()["may_change"] is True
    assert local.call("POST", "/groups", GROUP)[0] == 201
    assert lan.log_in()["may_change"] is False
    assert lan.call("GET", "/nodes")[0] == 200
    assert lan.call("DELETE", "/groups/g")[0] == 403
    assert lan.call("GET", "/users")[0] == 403
    proxied = Curl(server.space, HERE, "X-Forwarded-For: 10.66.0.50")
    assert proxied.log_in()["may_change"] is False
    own = Curl(server.space, TLS)  # the same host, by its address on the network: not loopback
    assert own.log_in()["may_change"] is False
    assert Curl(server.space, "https://127.0.0.1:8443").log_in()["may_change"] is True

    assert lan.call("PUT", "/session/password", {"old": "demo", "new": GOOD, "code": "1"})[0] == 403
    body = {"old": "demo", "new": GOOD, "code": code[1]}
    assert lan.call("PUT", "/session/password", body)[1]["may_change"] is True
    for old in (local, proxied, own):
        assert old.call("GET", "/nodes")[0] == 401
    assert lan.call("DELETE", "/groups/g")[0] == 204
    assert server.cli("user", "list", "-o", "json").stdout.count('"demo": false') == 1


def test_what_only_the_loopback_has_and_who_may_connect(server: Server) -> None:
    server.start()
    refused = server.machines.run(
        "sh", "-c", f"curl -s --max-time 3 http://{ADDRESS}:8080/login >/dev/null; echo $?"
    )
    assert refused.strip() == "7", "plain HTTP is for the server's own host"
    trusted = server.machines.run(
        "sh",
        "-c",
        f"f=$(mktemp); curl -sk {TLS}/api/v1/ca.pem >$f;"
        f" curl -s --cacert $f {TLS}/login | grep -c form; rm $f",
    )
    assert int(trusted) >= 1
    for version, works in (("1.1", False), ("1.2", True), ("1.3", True)):
        words = f"curl -sk --tlsv{version} --tls-max {version} --max-time 5 -o /dev/null {TLS}/login; echo $?"
        assert (server.machines.run("sh", "-c", words).strip() == "0") is works, version
    rebound = f"curl -sk -o /dev/null -w '%{{http_code}}' -H 'Host: evil.example' {TLS}/login"
    assert server.machines.run("sh", "-c", rebound) == "421"


def test_machines_boot_without_it(server: Server) -> None:
    server.environ["PXESERVER_ADMIN__ENABLED"] = "false"
    server.start()
    assert "\n  web " not in server.log
    assert server.machine().offered()
