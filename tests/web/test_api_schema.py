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
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pxeserver import admin
from pxeserver.api.access.passwords import Passwords
from pxeserver.postinstall.agents import AgentsStage
from pxeserver.postinstall.stage import ClustersStage

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "access"))

from admin_plane import running

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)
EXAMPLES = 8
"""Requests of one operation."""
LEFT_OUT = {
    "POST /api/v1/restore",  # would take the users away that the others log in as
    "POST /api/v1/restore/empty",
    "POST /api/v1/imports",  # asks hosts on the network for files
    "GET /api/v1/events",  # streams that never end
    "GET /api/v1/clusters/{name}/watch",
    "GET /api/v1/live/events",
}
"""What the administrator does not ask; nobody asks all of it."""
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
        return {"agents": agents, "clusters": stage.orders}

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


schema = schemathesis.pytest.from_fixture("document")


def _label(case):
    return f"{case.operation.method.upper()} {case.operation.path}"


def _about_what_is_there(case):
    """Every other request is about the things that there are."""
    if case.path_parameters and len(repr(case.path_parameters)) % 2:
        case.path_parameters = dict.fromkeys(case.path_parameters, "x")


@schema.parametrize()
@_SETTINGS
def test_as_an_administrator(case):
    if _label(case) in LEFT_OUT or case.operation.path.endswith("/stream"):
        return
    _about_what_is_there(case)
    headers = {"Authorization": f"Bearer {TOKEN['secret']}"}
    case.call_and_validate(headers=headers, checks=CHECKS, timeout=20)


@schema.parametrize()
@_SETTINGS
def test_by_nobody(case):
    _about_what_is_there(case)
    case.headers.pop("Authorization", None)
    case.cookies.clear()
    answer = case.call(timeout=20)
    case.validate_response(answer, checks=CHECKS)
    if case.operation.definition.raw.get("security") != []:
        assert answer.status_code == 401, (_label(case), answer.status_code)
