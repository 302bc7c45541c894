"""A system that an installer has put on a disk: it claims in the installer's last step, and when it starts
for the first time, without any of our words on its kernel command line, it is its node.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from debian_mirror import Mirror
from server_under_test import ADDRESS, Server, eventually

from pxeserver.lab import container
from pxeserver.lab.process import run

pytestmark = [pytest.mark.net, pytest.mark.long]


@contextmanager
def installing(target: Path, words: str) -> Iterator[None]:
    """The installed system's folder as an installer has it: with the running kernel's /proc, whose command
    line is the installer's, in a mount namespace's place of its own.
    """
    line = target.parent / "cmdline"
    line.write_text(words + "\n")
    run("mount", "-t", "proc", "proc", str(target / "proc"))
    try:
        run("mount", "--bind", str(line), str(target / "proc/cmdline"))
        run("mount", "-t", "sysfs", "sysfs", str(target / "sys"))
        run("mount", "--bind", "/dev/null", str(target / "dev/null"))
        yield
    finally:
        for name in ("dev/null", "sys", "proc/cmdline", "proc"):
            subprocess.run(["umount", str(target / name)], check=False, capture_output=True)


def last_step(server: Server, target: Path, *more: str) -> tuple[int, str]:
    """Run the script in the installed system, as `in-target` does; exit code and what it said."""
    words = server.machines.argv("chroot", str(target), "sh", "/root/join.sh", *more)
    environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False, timeout=300)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("suite", ["bookworm"])
def test_an_installed_system_joins_in_the_installer_s_last_step(
    server: Server, tmp_path: Path, suite: str
) -> None:
    target = tmp_path / "c" / "root"
    target.parent.mkdir()
    run("cp", "-a", str(container.make_tree(container.PLAIN, suite=suite)), str(target))
    server.start()
    mirror = Mirror(server.space, ADDRESS)
    (target / "etc/apt/apt.conf.d/01proxy").write_text(mirror.config)
    (target / "root/join.sh").write_text(server.cli("node", "join-script").stdout)
    pin = json.loads(server.cli("node", "join-command", "other", "-o", "json").stdout)["line"]
    pin = pin.split("--ca ")[1].split()[0]
    machine = server.machine()
    server.cli("node", "add", "n1", "--mac", machine.mac)
    machine.offered()
    url = machine.offered(ipxe=True)
    machine.script()
    own = url.rsplit("/", 1)[0]
    words = f"auto=true pxeserver.url={own} pxeserver.agent={ADDRESS}:8444 pxeserver.ca={pin} --- quiet"
    system = container.Container("n1", server.machines, tmp_path / "c")
    try:
        with installing(target, words.replace(pin, "0" * 64)):
            code, said = last_step(server, target)
            assert code
            assert "is not the server" in said
        with installing(target, words):
            code, said = last_step(server, target, "--wait", "4")
            assert code
            assert "this node is not armed" in said
            server.cli("node", "arm", "n1")
            code, said = last_step(server, target)
            assert (code, "this machine is node n1" in said) == (0, True), said
            code, said = last_step(server, target)
            assert code == 0, f"a second run of the same installation is harmless: {said}"
        config = json.loads((target / "etc/pxeserver-agent.json").read_text())
        assert config == {"server": f"{ADDRESS}:8444", "ca": pin}
        assert (target / "var/lib/pxeserver-agent/agent.json").stat().st_mode & 0o777 == 0o600

        # Its first start from the disk is another boot, of which its kernel is told nothing.
        machine.offered()
        system.power_on()
        eventually(lambda: "in touch" in system.journal("pxeserver-agent.service"), 30, "not in touch")
        assert system.run("systemctl", "is-enabled", "pxeserver-agent").strip() == "enabled"
        shown = server.cli("node", "show", "n1")
        assert "heard" in shown.stdout
        assert "frozen" not in shown.stdout + shown.stderr

        # A server that forgets it is not asked with a boot that is over.
        server.cli("node", "thaw", "n1", "--forget", "--yes")
        forgotten = "paste the line of `pxeserver node join-command`"
        eventually(lambda: forgotten in system.journal("pxeserver-agent.service"), 60, "it does not say so")
    finally:
        print(system.journal("pxeserver-agent.service") if system.running else "off")
        system.power_cut()
        mirror.close()
