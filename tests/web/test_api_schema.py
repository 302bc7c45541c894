"""The API against its own document, asked with made-up requests: no 5xx, and every answer as declared.

Once as an administrator, once by nobody: then whatever is not public answers 401.
"""

import asyncio
import socket
import sys
import threading
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pxeserver import admin
from pxeserver.api.access.passwords import Passwords
from pxeserver.api.access.who import Role
from pxeserver.api.application import DOCUMENT, PREFIX, ROUTES
from pxeserver.notices import Post, Targets
from pxeserver.postinstall.agents import AgentsStage
from pxeserver.postinstall.stage import ClustersStage
from pxeserver.storage.secretbox import SecretBox

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "access"))

from admin_plane import running

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)
EXAMPLES = 5
"""Requests of one operation, in each way of making them up."""
SERVED = (*ROUTES, DOCUMENT)
LEFT_OUT = {
    "POST /restore",  # would take the users away that the others log in as
    "POST /restore/empty",
    "POST /imports",  # asks hosts on the network for files
    "POST /notifications/{name}/test",  # and tells them
}
STREAMS = ("application/x-ndjson", "text/event-stream")
"""Those that are asked for by GET never end."""
TOKEN: dict[str, str] = {}
_SETTINGS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def _rooms(folder):
    def more(hall, authority):
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        stage = ClustersStage.build(hall, folder, lambda: "http://127.0.0.1:80")
        agents = AgentsStage.build(authority, hall, sock, port=8444, clusters=stage.clusters)
        notices = Post(Targets(hall, SecretBox()), server="made-up")
        return {"agents": agents, "clusters": stage.orders, "notices": notices}

    return more


async def _things(plane):
    """One of each, named x: half of the requests are about these."""
    local = plane.local()
    await local.ok("POST", "/nodes", {"nodes": [{"name": "x", "macs": ["52:54:00:00:00:01"]}]})
    await local.ok("POST", "/profiles", {"name": "x", "kind": "local"})
    await local.ok("POST", "/groups", {"name": "x", "selector": "label", "match": "a=b"})
    await local.ok("POST", "/users", {"name": "x", "password": "correct horse battery"})
    await local.ok("POST", "/users", {"name": "tester-of-the-api", "role": "admin"})
    TOKEN["secret"] = await plane.token("tester-of-the-api", scopes=["*:write"])


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The admin plane in a thread of its own; its address."""
    folder = tmp_path_factory.mktemp("plane")
    ready, found = threading.Event(), {}

    async def serve():
        admin.Passwords = lambda: Passwords(memory_kib=8, passes=1)
        async with running(folder, more=_rooms(folder)) as plane:
            await _things(plane)
            found.update(url=plane.http, loop=asyncio.get_running_loop(), stop=asyncio.Event())
            ready.set()
            await found["stop"].wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    try:
        assert ready.wait(60)
        yield found["url"]
        found["loop"].call_soon_threadsafe(found["stop"].set)
        thread.join(20)
    finally:
        admin.Passwords = Passwords


@pytest.fixture(scope="module")
def document(served):
    headers = {"Authorization": f"Bearer {TOKEN['secret']}"}
    return schemathesis.openapi.from_url(f"{served}/api/v1/openapi.json", headers=headers, timeout=120)


def _about_what_is_there(case):
    """Every other request is about the things that there are."""
    if case.path_parameters and len(repr(case.path_parameters)) % 2:
        case.path_parameters = dict.fromkeys(case.path_parameters, "x")


def _ask(document, route, check):
    """Made-up requests of one operation: such as fit its schema, and such as do not."""
    operation = document[PREFIX + route.path][route.method]
    modes = [GenerationMode.POSITIVE]
    if route.body is not None or route.query is not None:
        modes.append(GenerationMode.NEGATIVE)
    for mode in modes:

        @_SETTINGS
        @given(case=operation.as_strategy(generation_mode=mode))
        def one(case):
            _about_what_is_there(case)
            check(case)

        one()


def _named(route):
    return f"{route.method} {route.path}"


ASKED = [r for r in SERVED if _named(r) not in LEFT_OUT and not (r.method == "GET" and r.media in STREAMS)]


@pytest.mark.parametrize("route", ASKED, ids=_named)
def test_as_an_administrator(document, route):
    headers = {"Authorization": f"Bearer {TOKEN['secret']}"}
    _ask(document, route, lambda case: case.call_and_validate(headers=headers, checks=CHECKS, timeout=30))


@pytest.mark.parametrize("route", SERVED, ids=_named)
def test_by_nobody(document, route):
    def check(case):
        answer = case.call(timeout=30)
        case.validate_response(answer, checks=CHECKS)
        if route.need.role > Role.NOBODY:
            assert answer.status_code == 401, answer.status_code

    _ask(document, route, check)
