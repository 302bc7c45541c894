"""One manager that keeps its state and two workers, one of which keeps nothing and starts from the network:
it claims at each of its starts, and what it had is made good from the others while somebody watches.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from living import FILE, NAME, UNIT, Living, undisturbed, works
from nodes_under_test import SOURCE

sys.path.insert(0, str(Path(__file__).parents[1] / "net"))

from server_under_test import LOADERS, Machine

from pxeserver.lab.nodes import SERVER
from pxeserver.lab.process import run

pytestmark = [pytest.mark.net, pytest.mark.long, pytest.mark.timeout(600)]

ONE = FILE.replace("managers = 3", "managers = 1").replace("[members]", "ephemeral = true\n[members]", 1)
NODES = ("n1", "n2", "n3")
MAC = "52:54:00:77:00:03"
MANY = 400
SERVICE = """\
[Unit]
After=network.target
[Service]
ExecStart=/usr/bin/python3 -m pxeserver.agent.join run
Environment=PYTHONPATH=/src PYTHONUNBUFFERED=1
Restart=always
RestartSec=200ms
"""


class Diskless:
    """The node n3: it boots by hand from the server, and its state lies in memory."""

    def __init__(self, life: Living) -> None:
        self.life, self.node = life, life["n3"]
        line = life.server.ask("node", "join-command", "n1")["line"]
        found = re.search(r"--ca ([0-9a-f]{64})", line)
        assert found is not None
        self._pin = found.group(1)
        # One that was given to it: what the kernel made up itself, udev makes anew in the system that starts.
        self.node.space.ip("link", "set", "dev", "eth0", "address", MAC)
        self._machine = Machine(self.node.space, MAC, uuid.UUID(int=0x77003))
        self._memory = self.node.work / "disk" / "var/lib/docker"
        life.server.command("node", "add", "n3", "--mac", MAC)

    def power_on(self) -> str:
        """Boot it, as firmware and iPXE do, into a system that holds the boot's words; the boot's id."""
        self._machine.offered(20)
        url = self._machine.offered(20, ipxe=True)
        self._machine.script()
        attempt = url.rsplit("/a/", 1)[1].split("/")[0]
        etc = self.node.work / "up" / "etc"
        wanted = etc / "systemd/system/multi-user.target.wants"
        wanted.mkdir(parents=True)
        words = {"server": f"{SERVER}:8444", "ca": self._pin, "attempt": attempt}
        (etc / "pxeserver-agent.json").write_text(json.dumps(words))
        (etc / f"systemd/system/{UNIT}.service").write_text(SERVICE)
        (wanted / f"{UNIT}.service").symlink_to(f"../{UNIT}.service")
        self._memory.mkdir(parents=True)
        run("mount", "-t", "tmpfs", "tmpfs", str(self._memory))
        self.node.power_on()
        return attempt

    def lose_power(self) -> None:
        """Switch it off: nothing of it is left."""
        self.node.power_cut()
        with suppress(Exception):
            run("umount", str(self._memory))
        self.node.forget()


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Living]:
    """Three nodes; n3 is off."""
    with Living(tmp_path_factory.mktemp("life"), loaders=LOADERS) as living:
        for name in ("n1", "n2"):
            living[name].power_on()
        living.join("n1", "n2")
        yield living


@pytest.fixture(scope="module")
def diskless(life: Living) -> Iterator[Diskless]:
    """n3."""
    made = Diskless(life)
    yield made
    made.lose_power()


def role(life: Living) -> dict[str, str]:
    """What each member is."""
    return {node["name"]: node["role"] for node in life.status()["nodes"]}


def test_it_stands_with_one_manager(life: Living, diskless: Diskless) -> None:
    said = life.bring(target=life.cluster_file(text=ONE))
    assert "n3" in said
    diskless.power_on()
    life.stands(240)
    assert role(life) == {"n1": "manager", "n2": "worker", "n3": "worker"}
    assert life.server.get("/nodes/n3/agent")["facts"]["diskless"] is True
    works(life, *NODES)
    undisturbed(life)


def test_a_member_that_was_away_is_seen_to_heal(life: Living) -> None:
    life["n2"].power_cut()
    write_many(life, "n1", "away")
    life.until(lambda: waits(life)[0] > 0, 90, "nobody has seen that something waits")
    assert waits(life)[1] == ["n2"]
    assert re.search(
        r"volume shared: \d+ entries wait to be healed on n2", life.order("cluster", "status", NAME)
    )
    life["n2"].power_on()
    seen = healed(life, 180)
    life.stands(180)
    assert count(life, "n2", "away") == MANY
    print(f"\nentries that wait, as a watcher was told: {seen}")


def test_a_worker_that_loses_everything_comes_back_and_is_filled(life: Living, diskless: Diskless) -> None:
    write_many(life, "n1", "kept")
    before = identity(life)
    diskless.lose_power()
    life.stands(120, "away")
    write_many(life, "n1", "late")
    life.until(lambda: waits(life)[1] == ["n3"], 90, "nobody has seen that something waits")
    begun = time.monotonic()
    diskless.power_on()
    life.until(lambda: identity(life) not in (before, ""), 60, "it has not claimed")
    seen = healed(life, 240)
    life.stands(240)
    print(f"\nit stood again {time.monotonic() - begun:.0f} s after power-on; a watcher was told {seen}")
    assert (count(life, "n3", "kept"), count(life, "n3", "late")) == (MANY, MANY)
    assert not life.server.get("/nodes/n3/agent")["frozen"]
    rows = life["n1"].run("docker", "node", "ls", "--format", "{{.Hostname}} {{.Status}}").splitlines()
    assert sorted(row.split()[0] for row in rows) == list(NODES), "its old place in the Swarm is given up"
    works(life, *NODES)
    undisturbed(life)


def write_many(life: Living, name: str, what: str) -> None:
    """Write many small files into a folder of the volume."""
    loop = f"mkdir -p /srv/shared/{what}; for i in $(seq {MANY}); do echo $i > /srv/shared/{what}/$i; done"
    life[name].run("sh", "-c", loop, timeout=180)


def count(life: Living, name: str, what: str) -> int:
    """How many of them lie on a member's own brick, whole."""
    find = f"find /srv/brick -path '*/{what}/*' -type f -size +0 | grep -v glusterfs | wc -l"
    return int(life[name].run("sh", "-c", find))


def identity(life: Living) -> str:
    """What n3's agent's key is told by."""
    return str(life.server.get("/nodes/n3/agent")["code"])


def waits(life: Living) -> tuple[int, list[str]]:
    """How many entries wait to be healed, and on whom, as the status tells it."""
    healing = life.status().get("healing") or {"entries": 0, "behind": []}
    return healing["entries"], healing["behind"]


def healed(life: Living, seconds: float) -> list[int]:
    """Watch until nothing waits any more after something has; the numbers that `cluster watch` told."""
    environ = {
        **os.environ,
        "PYTHONPATH": str(SOURCE),
        "PXESERVER_SOCKET": str(life.server.run_dir / "api.sock"),
    }
    words = [sys.executable, "-m", "pxeserver", "cluster", "watch", NAME, "-o", "json"]
    log = life.files / "watch.json"

    def told() -> list[int]:
        events = [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line[-1:] == "\n"]
        found = [h["entries"] for e in events if (h := (e.get("status") or e).get("healing"))]
        return [n for n, before in zip(found, [None, *found], strict=False) if n != before]

    with log.open("w") as output, subprocess.Popen(words, env=environ, stdout=output) as watcher:
        try:
            what = "it does not heal"
            life.until(lambda: (seen := told()) and max(seen) > 0 and seen[-1] == 0, seconds, what)
        finally:
            watcher.terminate()
    return told()
