"""The join command's line, pasted into plain Debian systems that have nothing of ours and never saw the boot
server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from debian_mirror import Mirror
from server_under_test import ADDRESS, Server, eventually

from pxeserver.lab import container
from pxeserver.lab.process import LabError

pytestmark = [pytest.mark.net, pytest.mark.long]


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
            eventually(lambda: "in touch" in machine.journal("pxeserver-agent.service"), 30, "not back")
            assert "this machine is node" not in machine.run(
                "journalctl", "-b", "-u", "pxeserver-agent.service", "--no-pager"
            )
        finally:
            print(machine.journal("pxeserver-agent.service") if machine.running else "off")
            mirror.close()
