"""The process model with real processes: whatever is killed or broken, machines boot."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from server_under_test import ADDRESS, LOADERS, Machine, Server, eventually

pytestmark = pytest.mark.net


def boots(machine: Machine) -> str:
    """Boot a machine up to its script, whatever the state of the server was a moment ago."""
    return eventually(machine.script, 5, f"{machine.mac} got no script")


def test_a_boot_from_discover_to_the_list_of_attempts(server: Server, tmp_path: Path) -> None:
    server.start()
    machine = server.machine()
    loader = machine.offered()
    assert loader.endswith("/snponly.efi")
    assert machine.tftp(loader, tmp_path / "got") == LOADERS["snponly.efi"]
    url = machine.offered(ipxe=True)
    assert url.startswith(f"http://{ADDRESS}/a/")
    assert machine.http(url).startswith("#!ipxe")
    assert "menu" in boots(machine)
    bios = server.machine(2, arch=0)
    assert bios.offered().endswith("/undionly.kpxe")
    listed = eventually(
        lambda: found if machine.mac in (found := server.cli("boot", "list").stdout) else "", 5, "no attempt"
    )
    assert bios.mac in listed


def test_the_start_up_lines_say_what_matters(server: Server) -> None:
    server.start()
    for wanted in (
        rf"serving +eth0 {ADDRESS}/24: the only one that is up",
        r"ports +DHCP 67 and 4011, TFTP 69, HTTP 80",
        r"unknown +menu: the default",
        r"now +a new machine would get: menu",
        r"loaders +for bios, x64",
        r"API +\S+/api.sock",
        r"next +\S+ boot watch",
    ):
        assert re.search(wanted, server.log), f"{wanted} not in\n{server.log}"
    command = re.search(r"next +(\S+) boot watch", server.log)[1]
    assert shutil.which(command), "what it names can be run here, by its name or by its path"


def test_ctrl_c_ends_everything_within_two_seconds(server: Server) -> None:
    process = server.start()
    pids = server.pids("worker") + server.pids("control")
    machine = server.machine()
    url = f"http://{ADDRESS}/{machine.offered()}"
    slow = ["curl", "-sS", "--limit-rate", "20k", "-o", str(server.folder / "half"), url]
    tftp = [
        "curl",
        "-sS",
        "--limit-rate",
        "20k",
        "-o",
        str(server.folder / "half2"),
        url.replace("http", "tftp"),
    ]
    for number, words in enumerate((slow, tftp)):
        server.machines.start(words, server.folder / f"slow{number}.log")
    eventually((server.folder / "half").exists, 5, "no transfer")
    began = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    eventually(lambda: process.returncode is not None, 5, "did not end")
    assert time.monotonic() - began < 2
    assert process.returncode == 0
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert "Traceback" not in server.log


def test_killing_the_parent_leaves_no_orphans(server: Server) -> None:
    process = server.start()
    pids = server.pids("worker") + server.pids("control")
    process.kill()
    eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids), 4, "orphans")


def test_machines_boot_while_the_control_process_is_dead(server: Server) -> None:
    server.start()
    pid = eventually(lambda: server.pid("control"), 5, "no control process")
    os.kill(pid, signal.SIGSTOP)  # worse than dead: nothing replaces it, and its connection stays open
    try:
        assert "menu" in boots(server.machine())
    finally:
        os.kill(pid, signal.SIGKILL)
    assert "menu" in boots(server.machine(2))
    eventually(lambda: (server.pid("control") or pid) != pid, 10, "control process not back")
    eventually(lambda: server.cli("status", check=False).returncode == 0, 15, "API not back")
    third = server.machine(3)
    boots(third)
    eventually(lambda: third.mac in server.cli("boot", "list").stdout, 10, "attempt not listed")


@pytest.mark.parametrize("harm", ["locked", "deleted", "corrupt"])
def test_machines_boot_while_the_database_is(server: Server, harm: str) -> None:
    server.start()
    boots(server.machine())
    path = server.state / "db.sqlite3"
    eventually(path.exists, 5, "no database")
    with closing(sqlite3.connect(path)) as other:
        if harm == "locked":
            other.isolation_level = None
            other.execute("BEGIN EXCLUSIVE")
        elif harm == "deleted":
            for file in server.state.glob("db.sqlite3*"):
                file.unlink()
        else:
            path.write_bytes(os.urandom(path.stat().st_size))
        assert "menu" in boots(server.machine(2))
        server.kill("control")
        server.kill("worker")
        assert "menu" in boots(server.machine(3))


def test_the_worker_is_back_within_two_seconds_also_without_control(server: Server) -> None:
    server.start()
    boots(server.machine())
    make_unstartable(server)
    for number in range(2, 5):
        eventually(server.machine(number + 10).discover, 5, "does not serve")
        server.kill("worker")
        began = time.monotonic()
        server.machine(number).offered(2.0)
        assert time.monotonic() - began < 2


def make_unstartable(server: Server) -> None:
    """Let the control process die for good: something that cannot be opened lies in the database's place."""
    server.kill("control")
    for file in server.state.glob("db.sqlite3*"):
        file.unlink()
    (server.state / "db.sqlite3").mkdir()


def test_an_installed_machine_gets_its_disk_without_control_and_after_a_kill(server: Server) -> None:
    server.start()
    machine = server.machine()
    script = server.folder / "setup.ipxe"
    script.write_text("#!ipxe\necho installing\n")
    server.cli("profile", "add", "setup", "--kind", "script", "--install", "--script", str(script))
    server.cli("node", "add", "n1", "--mac", machine.mac, "--uuid", str(machine.uuid))
    server.cli("node", "set", "n1", "profile=setup")
    attempt = attempt_of(machine.offered(ipxe=True))
    disk = {
        "name": "vda",
        "path": "/dev/vda",
        "serial": "D1",
        "size": 1 << 33,
        "signatures": ["ext4"],
        "model": "disk",
    }
    machine.http(f"/a/{attempt}/inventory", {"format": 1, "disks": [disk]})
    server.cli("node", "install", "n1")
    server.cli("node", "consent", "n1", "D1", "--yes")
    text = eventually(lambda: s if "installing" in (s := machine.script()) else "", 5, "no installer")
    machine.http(f"/a/{attempt_of(text)}/report", {"event": "installed"})
    make_unstartable(server)
    server.kill("worker")
    text = boots(machine)
    assert "installing" not in text
    assert "local disk" in text


def attempt_of(text: str) -> str:
    """The attempt's id in a URL or a script."""
    found = re.search(r"(?:/a/|# attempt )([a-z2-7]{10})", text)
    assert found, text
    return found.group(1)


def test_children_have_given_root_away(server: Server) -> None:
    server.start()
    for child, allowed in (("worker", 1 << 10), ("control", 0)):
        status = Path(f"/proc/{server.pid(child)}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert "0" not in fields["Uid"].split()
        assert int(fields["CapEff"], 16) & ~allowed == 0
        assert int(fields["CapBnd"], 16) & ~allowed == 0
        assert fields["NoNewPrivs"] == "1"
        assert fields["Umask"] == "0077"


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this kernel has no autogroups")
def test_booting_machines_come_first_on_a_core_that_both_want(server: Server) -> None:
    server.start()
    for child, niceness, session in (("worker", -5, -2), ("control", 5, 8)):
        pid = server.pid(child)
        assert pid is not None
        assert os.getpriority(os.PRIO_PROCESS, pid) == niceness
        assert Path(f"/proc/{pid}/autogroup").read_text().split()[-1] == str(session)


def test_a_taken_port_names_its_holder(server: Server) -> None:
    hold = "import socket,time; s=socket.create_server(('', 80)); print('held', flush=True); time.sleep(60)"
    with server.space.start([sys.executable, "-c", hold], server.folder / "holder.log") as holder:
        holder.wait_for_text("held")
        process = server.start(wait=False)
        eventually(lambda: process.returncode is not None, 15, "did not end")
    assert process.returncode == 1
    assert re.search(rf"TCP port 80 \(http\) is taken by \S+ \(pid {holder.pid}\)", server.log)
    assert "Traceback" not in server.log


def test_a_second_server_is_refused(server: Server) -> None:
    server.start()
    first = server.process
    second = server.start(wait=False)
    eventually(lambda: second.returncode is not None, 15, "did not end")
    assert second.returncode == 1
    assert "another pxeserver" in server.log
    server.process = first
    assert "menu" in boots(server.machine())


def test_a_second_server_on_the_same_data_is_refused_also_with_other_sockets(server: Server) -> None:
    server.start()
    first, server.run_dir = server.process, server.folder / "other"
    second = server.start("--http-port", "8099", wait=False)
    eventually(lambda: second.returncode is not None, 15, "did not end")
    assert second.returncode == 1
    assert f"another pxeserver keeps its data in {server.state}" in server.log
    server.process = first


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--interface", "eth9"), "no interface eth9"),
        (("--unknown", "nonsense"), "nonsense"),
        (("--config", "/nonexistent.toml"), "no such file"),
    ],
)
def test_a_faulty_configuration_is_exit_code_two(server: Server, words: tuple[str, ...], said: str) -> None:
    process = server.start(*words, wait=False)
    eventually(lambda: process.returncode is not None, 15, "did not end")
    assert process.returncode == 2
    assert said in server.log
    assert "Traceback" not in server.log


def test_a_link_that_changes_its_address_is_served_anew(server: Server) -> None:
    server.start()
    boots(server.machine())
    server.space.ip("address", "add", "10.67.0.2/24", "dev", "eth0")
    server.space.ip("address", "del", f"{ADDRESS}/24", "dev", "eth0")
    moved = "http://10.67.0.2/a/"
    eventually(lambda: server.machine(2).offered(1.0, ipxe=True).startswith(moved), 5, "old address offered")


def test_a_machine_offers_again_after_the_link_was_down(server: Server) -> None:
    server.start()
    server.space.ip("link", "set", "eth0", "down")
    server.space.ip("link", "set", "eth0", "up")
    server.machine().offered(5.0)


def test_without_root_it_says_what_it_needs(server: Server) -> None:
    words = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--bounding-set=-all",
        "--inh-caps=-all",
    ]
    code = "from pxeserver.sockets import *; bind(Want('http', 'tcp', '0.0.0.0', 80))"
    source = Path(__file__).parents[2]
    if not os.access(sys.prefix, os.X_OK) or not shared(Path(sys.base_prefix)):
        pytest.skip("this interpreter is root's own")
    done = subprocess.run(
        server.space.argv(*words, sys.executable, "-c", code),
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "no permission to open port 80" in done.stderr


def shared(path: Path) -> bool:
    """Whether everybody may enter this folder."""
    return all(place.stat().st_mode & 0o001 for place in (path, *path.parents))


def test_another_boot_server_makes_the_default_policy_step_back(server: Server) -> None:
    words = [
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--user=root",
        "--port=0",
        "--interface=eth0",
    ]
    words += ["--bind-dynamic", "--dhcp-range=10.66.0.100,10.66.0.150", "--dhcp-boot=pxelinux.0", "--no-ping"]
    words += [
        f"--dhcp-leasefile={server.folder}/leases",
        f"--pid-file={server.folder}/pid",
        "--log-facility=-",
    ]
    server.environ["PXESERVER_DHCP__PROBE"] = "true"
    with server.machines.start(words, server.folder / "dnsmasq.log") as other:
        other.wait_for_text("DHCP, IP range")
        server.start()
        assert re.search(
            r"unknown +observe: another boot server answers \(10\.66\.0\.50 on eth0", server.log
        ), server.log
        assert "addresses come from 10.66.0.50" in server.log
        machine = server.machine()
        assert "pxelinux" in (machine.discover() or "")
        eventually(lambda: machine.mac in server.cli("node", "list", "--unknown").stdout, 5, "not recorded")
        server.cli("policy", "set", "--unknown", "menu")
        eventually(lambda: offers_both(machine), 5, "not both offers")


def offers_both(machine: Machine) -> bool:
    """Whether the machine hears the other boot server and ours."""
    text = " ".join(machine.offers())
    return "snponly.efi" in text and "pxelinux.0" in text
