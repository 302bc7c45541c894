"""The units under a real systemd: hardened as they are, machines boot, and whatever dies or stalls comes
back.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_under_test import ADDRESS, LOADERS, Machine, Server, eventually

from pxeserver import install

if sys.version_info[:2] != (3, 11):
    pytest.skip("lends its libraries to Debian 12's Python 3.11", allow_module_level=True)

from systemd_host import SystemdHost

pytestmark = [pytest.mark.net, pytest.mark.long, pytest.mark.timeout(900)]
UNITS = ("pxeserver-worker", "pxeserver-control")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The namespaces of a server and its machines; the server itself is systemd's here."""
    made = Server(tmp_path_factory.mktemp("place"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def host(place: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemdHost]:
    """A host with the product installed and started."""
    made = SystemdHost(tmp_path_factory.mktemp("host"), place.space)
    try:
        made.put_product()
        (made.root / install.CONFIG).write_text("[loaders]\nfetch = false\n[dhcp]\nprobe = false\n")
        own = made.root / install.STATE / "loaders/own"
        own.mkdir(parents=True)
        for name, content in LOADERS.items():
            (own / name).write_bytes(content)
        made.power_on()
        made.run("chown", "-R", "pxeserver:pxeserver", f"/{install.STATE}")
        made.run("systemctl", "enable", "--now", *install.SOCKETS)
        made.run("systemctl", "enable", "pxeserver.target", *(f"{unit}.service" for unit in UNITS))
        made.run("systemctl", "start", "pxeserver.target")
        yield made
    finally:
        made.close()


@pytest.fixture
def machine(place: Server, host: SystemdHost) -> Machine:
    """A machine beside the host, which is offered its loader by now."""
    made = place.machine()
    eventually(made.discover, 30, "no offer")
    return made


def main_pid(host: SystemdHost, unit: str) -> str:
    return host.run("systemctl", "show", "-P", "MainPID", unit).strip()


def test_a_machine_boots_from_the_hardened_services(
    machine: Machine, host: SystemdHost, tmp_path: Path
) -> None:
    assert machine.tftp(machine.offered(), tmp_path / "got") == LOADERS["snponly.efi"]
    assert machine.script().startswith("#!ipxe")
    listed = ("/opt/pxeserver/venv/bin/python", "-m", "pxeserver", "boot", "list")
    eventually(lambda: machine.mac in host.run(*listed), 10, "attempt not listed")
    for unit in UNITS:
        assert host.run("systemctl", "is-active", unit).strip() == "active"
        assert host.run("systemctl", "show", "-P", "User", unit).strip() == "pxeserver"
    assert f"serving eth0 {ADDRESS}/24" in host.run("systemctl", "show", "-P", "StatusText", UNITS[0])


@pytest.mark.parametrize("unit", UNITS)
def test_a_killed_service_is_back(machine: Machine, host: SystemdHost, unit: str) -> None:
    before = main_pid(host, unit)
    host.run("systemctl", "kill", "--signal=KILL", unit)
    machine.offered(5.0)
    eventually(lambda: main_pid(host, unit) not in (before, "0"), 10, "not started again")


@pytest.mark.parametrize("unit", UNITS)
def test_a_stalled_service_is_replaced_by_its_watchdog(
    machine: Machine, host: SystemdHost, unit: str
) -> None:
    eventually(lambda: host.run("systemctl", "is-active", unit).strip() == "active", 20, "not active")
    before = main_pid(host, unit)
    host.run("systemctl", "kill", "--signal=STOP", unit)
    eventually(lambda: main_pid(host, unit) not in (before, "0"), 30, "not replaced")
    machine.offered(10.0)


def test_sockets_outlive_their_service(machine: Machine, host: SystemdHost) -> None:
    host.run("systemctl", "stop", f"{UNITS[0]}.service")
    # The request itself waits in the socket, and starts the service.
    assert machine.offered(10.0).endswith("snponly.efi")


ASK = """
import sys
from pathlib import Path
from pxeserver.buildrequest import NoBuilder, Request, ask
try:
    ask(Path("/run/pxeserver/builder.sock"), Request("discovery"), print)
except NoBuilder as why:
    print("failed:", why)
"""


def test_the_builder_is_started_by_who_asks_and_sees_nothing_of_the_server(host: SystemdHost) -> None:
    state = host.root / install.STATE
    eventually((state / "db.sqlite3").exists, 20, "no database")
    words = ("runuser", "-u", "pxeserver", "--", "/opt/pxeserver/venv/bin/python", "-c", ASK)
    told = eventually(lambda: host.run(*words), 30, "no answer")
    # There is no mirror here, and no keyring: it gets as far as apt, or says that there is none.
    assert "step=update" in told
    assert "failed: discovery image:" in told
    folder = state / "loaders/discovery"
    assert (folder / "work").is_dir()
    assert folder.stat().st_uid == int(host.run("id", "-u", "pxeserver-builder"))
    pid = main_pid(host, "pxeserver-builder")
    seen = host.run("nsenter", "-t", pid, "-m", "find", "/var/lib/pxeserver", "-maxdepth", "2")
    assert sorted(seen.split()) == [
        "/var/lib/pxeserver",
        "/var/lib/pxeserver/loaders",
        "/var/lib/pxeserver/loaders/cluster-node",
        "/var/lib/pxeserver/loaders/discovery",
    ]
    status = host.run("cat", f"/proc/{pid}/status")
    assert "NoNewPrivs:\t1" in status
    assert "CapBnd:\t0000000000000000" in status
    # Nobody else may ask.
    nobody = ("runuser", "-u", "nobody", "--", "/opt/pxeserver/venv/bin/python", "-c", ASK)
    assert "Permission denied" in host.run(*nobody)


def test_removing_leaves_the_data(host: SystemdHost) -> None:
    host.run(
        "systemctl",
        "disable",
        "--now",
        "pxeserver.target",
        *(f"{u}.service" for u in UNITS),
        *install.SOCKETS,
    )
    install.uninstall(host.root)
    host.run("systemctl", "daemon-reload")
    assert "pxeserver" not in host.run("systemctl", "list-units", "--all", "--no-legend", "pxeserver*")
    assert (host.root / install.STATE / "db.sqlite3").exists()
