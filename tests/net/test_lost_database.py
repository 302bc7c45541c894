"""The database is lost for good: machines boot as their nodes say, and nothing is forgotten unasked."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from server_under_test import Machine, Server, eventually

pytestmark = [pytest.mark.net, pytest.mark.timeout(120)]


@pytest.fixture
def node(server: Server) -> Machine:
    """A machine that is a node with a profile of its own, and has booted."""
    server.start()
    machine = server.machine()
    script = server.folder / "own.ipxe"
    script.write_text("#!ipxe\necho the own profile\n")
    server.cli("profile", "add", "own", "--kind", "script", "--script", str(script))
    server.cli("node", "add", "n1", "--mac", machine.mac, "--uuid", str(machine.uuid))
    server.cli("node", "set", "n1", "profile=own")
    eventually(lambda: "the own profile" in machine.script(), 5, "not the node's profile")
    return machine


def lose_database(server: Server) -> None:
    """Delete the file while nobody has it open, and let the control process start without it."""
    pid = server.pid("control")
    assert pid
    os.kill(pid, signal.SIGSTOP)
    for file in server.state.glob("db.sqlite3*"):
        file.unlink()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: (server.pid("control") or pid) != pid, 10, "control process not back")
    eventually(lambda: "lost" in server.log and (server.run_dir / "api.sock").exists(), 20, "not noticed")


def text(server: Server, *words: str) -> str:
    """What a command says, with its white space folded."""
    done = server.cli(*words, check=False)
    return " ".join((done.stdout + done.stderr).split())


def test_machines_boot_as_their_nodes_say_until_a_backup_is_restored(
    server: Server, node: Machine, tmp_path: Path
) -> None:
    server.cli("backup", str(tmp_path / "saved"))
    lose_database(server)
    assert "the own profile" in node.script()
    told = text(server, "status")
    assert "degraded" in told
    assert "does not know all of the 1 nodes" in told
    assert "pxeserver restore FILE" in told
    assert "pxeserver restore --empty" in told
    assert "pxeserver restore FILE" in text(server, "node", "add", "n2")
    server.kill("worker")
    eventually(lambda: "the own profile" in node.script(), 10, "the new worker has forgotten the node")
    server.cli("restore", str(tmp_path / "saved"), "--yes")
    assert "n1" in server.cli("node", "list").stdout
    eventually(lambda: server.cli("status", check=False).returncode == 0, 10, "still degraded")
    assert "the own profile" in node.script()


def test_going_on_empty_is_a_command(server: Server, node: Machine) -> None:
    lose_database(server)
    server.cli("restore", "--empty", "--yes")
    eventually(lambda: "the own profile" not in node.script(), 15, "the node is still served")
    eventually(lambda: node.mac in text(server, "boot", "list"), 10, "boots are not recorded")
    server.kill("control")
    eventually(lambda: server.cli("status", check=False).returncode == 0, 20, "asked once more")


def test_what_happened_after_the_backup_comes_from_the_worker(
    server: Server, node: Machine, tmp_path: Path
) -> None:
    server.cli("profile", "add", "disk", "--kind", "local")
    server.cli("node", "boot-once", "n1", "--profile", "disk")
    server.cli("backup", str(tmp_path / "saved"))
    assert "the own profile" not in node.script()
    eventually(lambda: shown(server)["boot_once"] is None, 5, "boot-once is not taken over")
    lose_database(server)
    server.cli("restore", str(tmp_path / "saved"), "--yes")
    eventually(lambda: shown(server)["boot_once"] is None, 10, "the order that was used stands again")
    assert "the own profile" in node.script()


def shown(server: Server) -> dict[str, Any]:
    """The node as the API tells it."""
    told: dict[str, Any] = json.loads(server.cli("node", "show", "n1", "-o", "json").stdout)
    return told
