"""What a boot script costs over HTTP, from request to answer, in calls of Python functions."""

from __future__ import annotations

import pytest

from benchmarks.appliance import script_query
from benchmarks.decide import SERVER, machine
from benchmarks.micro.world import MemoryPlane, python_calls
from pxeserver.servers.http import BootHttp
from pxeserver.servers.http_body import Body
from pxeserver.servers.http_message import Request, Response, head_of
from pxeserver.servers.http_parse import find_head, parse_head
from pxeserver.servers.plane import OpenFile

PEER = "10.70.64.4"
LIMITS = {"first": 157, "again": 60, "health": 22}
"""As in test_call_counts.py: what it took when the limit was set, with a tenth to spare."""


def no_manifest(sha256: str) -> OpenFile:
    """There are no files."""
    raise FileNotFoundError(sha256)


def calls(what: str) -> int:
    """Calls for one request: a machine's script with its facts for the first time or again, or /healthz."""
    plane = MemoryPlane(10)
    http = BootHttp(plane, no_manifest)
    no_body = Body(0, http.limits)

    def ask(number: int) -> None:
        target = "/healthz" if what == "health" else targets[number]
        data = f"GET {target} HTTP/1.1\r\nHost: {SERVER}\r\nUser-Agent: iPXE/1.0\r\n\r\n".encode()
        head = parse_head(data, 0, find_head(data, 0))
        request = Request(head.method, head.target, head.fields, PEER, lambda: f"http://{SERVER}", no_body)
        answer = http.answer(request)
        assert isinstance(answer, Response)
        assert answer.status == 200
        assert head_of(answer, head.minor, keep=True)

    targets = {}
    for number in (3, 4):
        boot = plane.attempts.begin(machine(number, ipxe=True), plane.now(), firmware=False)
        plane.attempts.bind_address(boot, PEER)
        targets[number] = f"/a/{boot.id}/boot.ipxe?{script_query(number)}"
    ask(4)  # what is read once for all of them is no machine's cost
    if what == "again":
        ask(3)
    return python_calls(lambda: ask(3))


@pytest.mark.parametrize("what", LIMITS)
def test_no_answer_has_become_dearer(what: str) -> None:
    count = calls(what)
    assert count <= LIMITS[what], f"{what}: {count} calls, allowed are {LIMITS[what]}"
