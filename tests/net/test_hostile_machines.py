"""What hostile machines say goes through listener, channel and database to the screen, and is harmless."""

from __future__ import annotations

import json
import random
import socket
import sys
import time
import urllib.error
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
from server_under_test import ADDRESS, Machine, Server, eventually

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "inventory"))

from inventory_mutants import INJECTIONS, injected, inventory, mutant

pytestmark = pytest.mark.net

OBEYED = set("\x1b\x07\x00\x9b\x9d\x90\r\u202e\u2066\u2028\u200f")
"""Characters that a terminal obeys or that turn its text around."""


def post(machine: Machine, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
    """POST raw bytes; the status and the answer, where it is JSON."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {ADDRESS}\r\nContent-Type: application/json\r\nConnection: close\r\n"
    )

    def ask() -> bytes:
        with socket.create_connection((ADDRESS, 80), timeout=10) as line:
            line.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
            with suppress(OSError):  # it may be refused before all of it was sent
                line.sendall(body)
            answer = b""
            while part := line.recv(65536):
                answer += part
            return answer

    raw = machine.space.call(ask)
    words, _, rest = raw.partition(b"\r\n\r\n")
    try:
        told = json.loads(rest)
    except ValueError:
        told = {}
    return int(words.split()[1]), told if isinstance(told, dict) else {}


def wear(server: Server, machine: Machine) -> None:
    """Give the machines' card this machine's MAC address: the server compares it with the attempt's."""
    server.machines.ip("link", "set", "dev", "eth0", "address", machine.mac)
    server.space.ip("neighbour", "flush", "dev", "eth0")


def attempt_of(machine: Machine) -> str:
    """Boot up to the script; the path of the attempt."""
    machine.script()
    return "/" + "/".join(machine.offered(ipxe=True).split("/")[3:5])


def shown(server: Server, *lines: tuple[str, ...]) -> str:
    """What people see of these commands, errors too."""
    return "".join(
        done.stdout + done.stderr for words in lines for done in (server.cli(*words, check=False),)
    )


def test_mutated_and_oversized_inventories(server: Server) -> None:
    server.start()
    machine = server.machine()
    path = f"{attempt_of(machine)}/inventory"
    assert post(machine, path, json.dumps(inventory()).encode())[1]["ok"] is True
    worker, control = (psutil.Process(server.pid(child)) for child in ("worker", "control"))
    before = worker.memory_info().rss + control.memory_info().rss
    rng, outcomes = random.Random(7), {}
    for _ in range(150):
        status, told = post(machine, path, mutant(rng))
        assert status in (200, 400), (status, told)
        assert status == 400 or told["ok"] or told["why"].isprintable(), told
        outcomes[status, told.get("ok")] = outcomes.get((status, told.get("ok")), 0) + 1
    assert {(200, True), (200, False), (400, None)} <= set(outcomes), outcomes
    huge = json.dumps({**inventory(), "agent": "x" * (1 << 21)}).encode()
    assert post(machine, path, huge)[0] == 413
    assert post(machine, path, b"[" * 900_000)[0] == 400
    crowd = json.dumps({**inventory(), "disks": inventory()["disks"] * 300}).encode()
    refused = post(machine, path, crowd)[1]
    assert (refused["ok"], refused["why"].split(":")[0]) == (False, "disks")
    grown = worker.memory_info().rss + control.memory_info().rss - before
    assert grown < 80 << 20, f"{grown >> 20} MiB"
    assert (server.pid("worker"), server.pid("control")) == (worker.pid, control.pid)
    assert "Traceback" not in server.log
    assert post(machine, path, json.dumps(inventory()).encode())[1]["ok"] is True


@pytest.mark.timeout(200)
def test_injected_texts_end_harmless(shared: Server) -> None:
    machines = [shared.machine(16 + number) for number in range(len(INJECTIONS))]
    boots = [injects(shared, *pair) for pair in zip(machines, INJECTIONS, strict=True)]
    lists = [("node", "list"), ("boot", "list"), ("audit", "list"), ("node", "list", "--unknown")]
    singles = [("node", "show", f"hostile-{machine.mac[-2:]}") for machine in machines]
    singles += [("boot", "show", boot) for boot in boots]
    first = singles[0]
    eventually(lambda: "booted" in shown(shared, singles[-1]), 5, "the report is not in the timeline")
    text = shown(shared, *lists, *singles, (*first, "-o", "json"), (*first, "-o", "yaml"))
    assert all(machine.mac in text for machine in machines)
    assert not OBEYED & set(text), sorted(map(ascii, OBEYED & set(text)))
    assert not any(line.startswith("fake: line") for line in text.splitlines())
    assert not OBEYED & set(shared.log), "the log is read in terminals, too"
    assert "Traceback" not in text + shared.log


def injects(server: Server, machine: Machine, text: str) -> str:
    """A machine says the text wherever it can, becomes a node, and asks again; returns its boot."""
    wear(server, machine)
    machine.offered()
    url = machine.offered(ipxe=True)
    said = quote(text.encode("utf-8", "surrogatepass"))
    facts = "&".join(f"{key}={said}" for key in ("serial", "vendor", "product"))
    query = f"uuid={machine.uuid}&mac={machine.mac}&{facts}&platform=efi&arch=x86_64"
    harmless_script(machine.http(f"{url}?{query}"))
    path = "/" + "/".join(url.split("/")[3:5])
    status, told = post(machine, f"{path}/inventory", json.dumps(injected(text)).encode())
    assert (status, told.get("ok")) == (200, True), told
    post(machine, f"{path}/report", json.dumps({"event": "booted", "reason": text, "name": text}).encode())
    server.cli("node", "approve", told["code"], f"hostile-{machine.mac[-2:]}")
    harmless_script(machine.http(f"{url}?{query}"))
    return path.rpartition("/")[2]


def harmless_script(script: str) -> None:
    """Nothing of the text is a command of iPXE's, or read by it as one of its values."""
    assert script.startswith("#!ipxe") and not OBEYED & set(script)
    first_words = {line.split()[0] for line in script.splitlines() if line.split()}
    assert not first_words & {"shell", "fake:"}, script
    assert "${uuid} $(" not in script, script


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One server for all texts."""
    made = Server(tmp_path_factory.mktemp("hostile"))
    try:
        made.start()
        yield made
    finally:
        made.close()


def test_a_flood_of_reports_is_answered(shared: Server) -> None:
    """A machine that posts without pause is served, and others are not kept waiting."""
    machine, other = shared.machine(1), shared.machine(2)
    wear(shared, machine)
    path = f"{attempt_of(machine)}/inventory"
    body = json.dumps(inventory()).encode()
    began = time.monotonic()
    assert all(post(machine, path, body)[1]["ok"] for _ in range(40))
    assert other.script().startswith("#!ipxe")
    assert time.monotonic() - began < 30
    with pytest.raises(urllib.error.HTTPError):
        machine.http("/a/aaaaaaaaaa/inventory", {"format": 1})
