"""The join command's line, pasted into plain Debian systems that have nothing of ours and never saw the boot
server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from debian_mirror import Mirror
from server_under_test import ADDRESS, Server, eventually

from pxeserver.lab import container
from pxeserver.lab.process import LabError

pytestmark = [pytest.mark.net, pytest.mark.long]

PACKAGES = ("docker.io", "openvswitch-switch", "glusterfs-server", "keepalived")
STEP = """
import json, sys
sys.path.insert(0, sys.argv[1])
from pxeserver.agent.join.steps.identity import Identity
from pxeserver.agent.join.steps.packages import Packages

want = json.loads(sys.argv[3])
step = {"packages": Packages, "identity": Identity}[want.pop("step")]()
if sys.argv[2] == "check":
    print(json.dumps([drift.what for drift in step.check(want)]))
elif sys.argv[2] == "undo":
    step.undo(want, print)
else:
    print(json.dumps(step.apply(want, lambda line: print(line, file=sys.stderr))))
"""


def packages(machine: container.Container) -> set[str]:
    """Names of the packages that are installed."""
    rows = machine.run("dpkg-query", "-W", "-f", "${db:Status-Want} ${Package}\n").splitlines()
    gone = machine.run("sh", "-c", "dpkg -l | awk '/^.c/ {print $2}'").split()
    return {row.split()[1] for row in rows if row.startswith("install ")} - set(gone)


def step(machine: container.Container, verb: str, name: str, want: dict[str, Any]) -> Any:
    """Run a step of the agent that is installed there; what it answers."""
    program = "/usr/local/lib/pxeserver-agent/agent.pyz"
    words = ("python3", "-c", STEP, program, verb, json.dumps({**want, "step": name}))
    said = machine.run(*words, timeout=900)
    return json.loads(said.splitlines()[-1]) if verb != "undo" else None


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_a_plain_debian_joins_by_one_line(server: Server, tmp_path: Path, suite: str) -> None:
    tree = container.make_tree(container.PLAIN, suite=suite)
    server.start()
    mirror = Mirror(server.space, ADDRESS)
    line = json.loads(server.cli("node", "join-command", "plain", "-o", "json").stdout)["line"]
    assert "\n" not in line
    with container.Container("plain", server.machines, tmp_path / "c", tree) as machine:
        try:
            machine.power_on()
            machine.run("sh", "-c", f"echo '{mirror.config.strip()}' >/etc/apt/apt.conf.d/01proxy")
            said = machine.run("sh", "-c", line, timeout=300)
            assert "this machine is node plain" in said, said
            assert machine.run("systemctl", "is-active", "pxeserver-agent.service").strip() == "active"
            assert machine.run("systemctl", "is-enabled", "pxeserver-agent.service").strip() == "enabled"
            shown = eventually(lambda: "heard" in server.cli("node", "show", "plain").stdout, 10, "not heard")
            assert shown
            # A file that is another than the line says is not run.
            other = line.replace(line.split('echo "')[1][:8], "00000000", 1)
            with pytest.raises(LabError, match="FAILED"):
                machine.run("sh", "-c", other)
            # Switched off and on again it is the same node, without claiming anew.
            machine.power_cut()
            machine.power_on()
            eventually(
                lambda: machine.journal("pxeserver-agent.service").count("in touch") == 2, 30, "not back"
            )
            assert machine.journal("pxeserver-agent.service").count("this machine is node") == 1
        finally:
            print(machine.journal("pxeserver-agent.service") if machine.running else "off")
            mirror.close()


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_packages_come_from_debian_and_go_again(server: Server, tmp_path: Path, suite: str) -> None:
    tree = container.make_tree(container.PLAIN, suite=suite)
    server.start()
    mirror = Mirror(server.space, ADDRESS)
    line = json.loads(server.cli("node", "join-command", "plain", "-o", "json").stdout)["line"]
    with container.Container("plain", server.machines, tmp_path / "c", tree) as machine:
        try:
            machine.power_on()
            machine.run("sh", "-c", f"echo '{mirror.config.strip()}' >/etc/apt/apt.conf.d/01proxy")
            machine.run("sh", "-c", line, timeout=300)
            before = packages(machine)
            gluster = "11111111-2222-3333-4444-555555555555"
            me = {"hostname": "plain", "machine_id": None, "hosts": {"plain": "10.66.0.50"}}
            who = {**me, "gluster_uuid": gluster}
            told = step(machine, "apply", "identity", who)
            assert step(machine, "check", "identity", who) == [] and len(told["machine_id"]) == 32
            want = {"release": suite, "packages": dict.fromkeys(PACKAGES)}
            assert len(step(machine, "check", "packages", want)) == len(PACKAGES)
            versions = step(machine, "apply", "packages", want)["versions"]
            assert set(versions) == set(PACKAGES)
            assert step(machine, "check", "packages", want) == []
            running = machine.run("ps", "-eo", "comm")
            for name in ("dockerd", "ovs-vswitchd", "glusterd", "keepalived"):
                assert name not in running
            assert machine.run("sh", "-c", "find / -xdev -name gsyncd -type f") == ""
            # glusterd starts under the UUID that was written before it was there, at its own newest version.
            machine.run("systemctl", "start", "glusterd", timeout=90)
            info = machine.run("cat", "/var/lib/glusterd/glusterd.info")
            assert f"UUID={gluster}" in info
            assert f"operating-version={versions['glusterfs-server'].split('.')[0]}0000" in info
            machine.run("systemctl", "stop", "glusterd", timeout=90)
            step(machine, "undo", "packages", want)
            # Essential in trixie, and brought as somebody's dependency: it stays, with what it needs.
            assert packages(machine) - before <= {"e2fsprogs", "libext2fs2t64", "libss2", "logsave"}
            assert before <= packages(machine)
        finally:
            mirror.close()


CLUSTER = """
name = "lab"
[members]
nodes = ["plain"]
managers = 1
[[switch]]
name = "switch-1"
uplink = true
"""


def test_agent_and_server_are_killed_in_the_middle_of_a_step(server: Server, tmp_path: Path) -> None:
    tree = container.make_tree(container.PLAIN, suite="bookworm")
    server.start()
    mirror = Mirror(server.space, ADDRESS)
    line = json.loads(server.cli("node", "join-command", "plain", "-o", "json").stdout)["line"]
    file = tmp_path / "lab.toml"
    file.write_text(CLUSTER)
    with container.Container("plain", server.machines, tmp_path / "c", tree) as machine:
        try:
            machine.power_on()
            machine.run("sh", "-c", f"echo '{mirror.config.strip()}' >/etc/apt/apt.conf.d/01proxy")
            machine.run("sh", "-c", line, timeout=300)
            server.cli("cluster", "apply", str(file), "--yes")
            eventually(lambda: "apt-get" in machine.run("ps", "-eo", "args"), 30, "no packages step")
            pid = machine.run("systemctl", "show", "-P", "MainPID", "pxeserver-agent").strip()
            machine.run("kill", "-9", pid)
            server.kill("control")
            eventually(
                lambda: "7 of 7 steps done" in server.cli("cluster", "status", "lab", check=False).stdout,
                240,
                "not done",
            )
            # The installation that went on alone was waited for: nothing of it started by itself.
            assert "waiting for another installation" in machine.journal("pxeserver-agent.service", 300)
            assert machine.run("sh", "-c", "ls /usr/sbin/policy-rc.d 2>/dev/null || true") == ""
        finally:
            print(machine.journal("pxeserver-agent.service", 100) if machine.running else "off")
            mirror.close()
