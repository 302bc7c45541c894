"""`make install`, an upgrade of a running server, `make uninstall`: on a Debian 12 that systemd runs."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from server_under_test import LOADERS, Machine, Server, eventually

from pxeserver import install
from pxeserver.resources import FOLDERS
from pxeserver.storage import schema

if sys.version_info[:2] != (3, 11):
    pytest.skip("the host's packages have to be for Debian 12's Python 3.11", allow_module_level=True)

from systemd_host import PACKAGES, SOURCE, SystemdHost

pytestmark = [pytest.mark.net, pytest.mark.long, pytest.mark.timeout(1500)]
UNITS = ("pxeserver-worker", "pxeserver-control")
PARTS = ("pxeserver", *FOLDERS, "Makefile", "pyproject.toml", "README.md", "LICENSE")
NEW = "99.0.0"
MIGRATION = f'''
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{schema.head()}"


def upgrade():
    op.create_table("upgraded", sa.Column("nodes", sa.Integer()))
    op.execute("INSERT INTO upgraded SELECT count(*) FROM nodes")
'''
LONGEST_GAP = 20.0
"""Seconds without an answer that firmware gets over: it asks after 0, 4, 12 and 28 s."""


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
    """A host with the source tree at /src, a package index at /wheels, and nothing installed."""
    wanted = re.search(r"(?m)^APT_RUN := (.*)$", (SOURCE / "Makefile").read_text().replace("\\\n", ""))
    assert wanted
    packages = [*PACKAGES, "make", *wanted.group(1).split()]
    made = SystemdHost(tmp_path_factory.mktemp("host"), place.space, packages)
    try:
        copy_source(made.root / "src")
        fetch_wheels(made.root / "wheels")
        (made.root / "etc/pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")
        config = made.root / install.CONFIG
        config.parent.mkdir()
        config.write_text("[loaders]\nfetch = false\n[dhcp]\nprobe = false\n")
        own = made.root / install.STATE / "loaders/own"
        own.mkdir(parents=True)
        for name, content in LOADERS.items():
            (own / name).write_bytes(content)
        made.power_on()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def machine(place: Server) -> Machine:
    """One machine for all tests: its UUID is the node's."""
    return place.machine()


def copy_source(target: Path) -> None:
    target.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "_data")
    for name in PARTS:
        if (SOURCE / name).is_dir():
            shutil.copytree(SOURCE / name, target / name, ignore=ignored)
        else:
            shutil.copy(SOURCE / name, target / name)


def fetch_wheels(target: Path) -> None:
    """What the host would fetch from the package index."""
    project = tomllib.loads((SOURCE / "pyproject.toml").read_text())
    names = [*project["project"]["dependencies"], *project["build-system"]["requires"], "editables"]
    words = ("pip", "download", "--quiet", "--only-binary", ":all:", "--dest", str(target), *names)
    subprocess.run([sys.executable, "-m", *words], check=True)


def make_it_newer(source: Path) -> None:
    """Another version, a migration more, and a socket that is opened differently."""
    old = re.compile(r'(?m)^(version|__version__) = ".*"$')
    for path in (source / "pyproject.toml", source / "pxeserver/__init__.py"):
        text, count = old.subn(rf'\1 = "{NEW}"', path.read_text())
        assert count == 1, path
        path.write_text(text)
    (source / "pxeserver/storage/migrations/versions/9999_one_more.py").write_text(MIGRATION)
    unit = source / "systemd/pxeserver-http.socket"
    unit.write_text(unit.read_text().replace("Backlog=1024", "Backlog=777"))


def make(host: SystemdHost, what: str) -> str:
    """Run make as the root of a strict site does."""
    return host.run("sh", "-c", f"umask 077; HOME=/root make --no-print-directory -C /src {what} 2>&1")


def pxeserver(host: SystemdHost, *words: str) -> str:
    return host.run(f"/{install.COMMAND}", *words)


def releases(host: SystemdHost) -> list[str]:
    return sorted(path.name for path in (host.root / install.OPT / "releases").iterdir())


def runs_from(host: SystemdHost, unit: str) -> set[str]:
    """The releases whose libraries the service has loaded."""
    pid = host.run("systemctl", "show", "-P", "MainPID", unit).strip()
    return set(re.findall(r"/opt/pxeserver/releases/([^/]+)/", host.run("cat", f"/proc/{pid}/maps")))


def opened(host: SystemdHost, name: str) -> str:
    """When systemd opened this socket."""
    return host.run("systemctl", "show", "-P", "ActiveEnterTimestampMonotonic", f"pxeserver-{name}.socket")


def rows(database: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(statement).fetchall()


@contextmanager
def asking_all_the_time(machine: Machine) -> Iterator[list[float]]:
    """The moments at which the machine was offered its loader, while the block runs."""
    answered = [time.monotonic()]
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.2):
            if machine.discover(timeout=1.0):
                answered.append(time.monotonic())

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answered
    finally:
        over.set()
        thread.join()
        answered.append(time.monotonic())


def test_who_cannot_install_is_told_what_to_do(host: SystemdHost) -> None:
    host.run("sh", "-c", "cd /src; python3 -m venv /tmp/v; /tmp/v/bin/python -m pip -q install -e .")
    ask = "cd /src; /tmp/v/bin/python -m pxeserver.install install 2>&1; echo code $?"
    assert host.run("runuser", "-u", "nobody", "--", "sh", "-c", ask).splitlines() == [
        "pxeserver: installing needs root: run it with sudo",
        "code 1",
    ]
    elsewhere = f"mount -t tmpfs none /run; {ask}"
    said, code = host.run("unshare", "--mount", "sh", "-c", elsewhere).splitlines()
    assert code == "code 1"
    assert said.startswith("pxeserver: systemd does not run this machine: `make run` starts")
    assert not (host.root / install.OPT).exists()


def test_make_install_installs_and_starts(machine: Machine, host: SystemdHost) -> None:
    said = make(host, "install")
    assert "installed /etc/systemd/system/pxeserver-worker.service" in said
    assert "services started" in said
    assert "database copied" not in said
    for unit in (*UNITS, "pxeserver.target", *install.SOCKETS):
        assert host.run("systemctl", "is-active", unit).strip() == "active", unit
        assert host.run("systemctl", "is-enabled", unit).strip() == "enabled", unit
    eventually(machine.discover, 30, "no offer")
    assert machine.script().startswith("#!ipxe")


def test_an_upgrade_of_a_running_server(machine: Machine, host: SystemdHost) -> None:
    (host.root / "root/own.ipxe").write_text("#!ipxe\necho this is n1\nshell\n")
    pxeserver(host, "profile", "add", "own", "--kind", "script", "--script", "/root/own.ipxe")
    pxeserver(
        host, "node", "add", "n1", "--mac", machine.mac, "--uuid", str(machine.uuid), "--profile", "own"
    )
    eventually(lambda: "this is n1" in machine.script(), 20, "the worker does not know the node")
    (old,) = releases(host)
    assert runs_from(host, UNITS[0]) == runs_from(host, UNITS[1]) == {old}

    before = {name: opened(host, name) for name in ("http", "dhcp")}
    make_it_newer(host.root / "src")
    with asking_all_the_time(machine) as answered:
        said = make(host, "install")
        new = next(name for name in releases(host) if name != old)
        eventually(lambda: answered[-1] > time.monotonic() - 1, 30, "no offer after the upgrade")
    gap = max(b - a for a, b in pairwise(answered))
    print(f"{len(answered)} offers, longest gap {gap:.1f} s\n{said}")
    assert gap < LONGEST_GAP

    assert new.startswith(f"{NEW}-")
    assert runs_from(host, UNITS[0]) == runs_from(host, UNITS[1]) == {new}
    assert NEW in pxeserver(host, "--version")
    assert [opened(host, name) == at for name, at in before.items()] == [False, True]
    state = host.root / install.STATE
    assert rows(state / "db.sqlite3", "SELECT nodes FROM upgraded") == [(1,)]
    named = re.search(r"database copied to /(\S+)", said)
    assert named
    (by_server,) = (state / "backups").glob(f"before-upgrade-from-{schema.head()}-*.sqlite3")
    for backup in (host.root / named.group(1), by_server):
        assert rows(backup, "PRAGMA integrity_check") == [("ok",)]
        assert rows(backup, "SELECT version_num FROM alembic_version") == [(schema.head(),)]
        assert rows(backup, "SELECT name FROM nodes") == [("n1",)]
        assert rows(backup, "SELECT name FROM sqlite_master WHERE name = 'upgraded'") == []
        assert backup.stat().st_mode & 0o777 == 0o600
        assert backup.stat().st_uid == state.stat().st_uid
    assert "n1" in pxeserver(host, "node", "list")
    assert "this is n1" in machine.script()


def test_going_back_to_the_release_before_and_forward_again(machine: Machine, host: SystemdHost) -> None:
    new, old = sorted(releases(host), key=lambda name: not name.startswith(NEW))
    host.run("ln", "-sfn", f"/opt/pxeserver/releases/{old}", "/opt/pxeserver/venv")
    host.run("systemctl", "restart", *UNITS)
    # The database is too new for it; machines boot by what the worker knows until the copy is back.
    eventually(lambda: "this is n1" in machine.script(), 30, "it does not boot without the database")
    logged = ("journalctl", "--no-pager", "-o", "cat", "-u", UNITS[1])
    eventually(lambda: "reason=too-new" in host.run(*logged), 30, "it took the newer database")
    (copy,) = (host.root / install.STATE / "backups").glob(f"before-upgrade-from-{schema.head()}-*.sqlite3")
    pxeserver(host, "restore", f"/{copy.relative_to(host.root)}", "--yes")
    assert "n1" in pxeserver(host, "node", "list")

    assert f"removed /opt/pxeserver/releases/{new}" in make(host, "install")
    shutil.rmtree(host.root / install.OPT / "releases" / old)
    host.run("systemctl", "restart", *UNITS)
    eventually(lambda: "this is n1" in machine.script(), 30, "it needed the old release")
    assert "n1" in pxeserver(host, "node", "list")


def test_uninstalling_leaves_the_data(host: SystemdHost) -> None:
    said = make(host, "uninstall")
    assert "kept /var/lib/pxeserver" in said
    listed = host.run("systemctl", "list-units", "--all", "--no-legend", "pxeserver*")
    assert "pxeserver" not in listed + host.run(
        "systemctl", "list-unit-files", "--no-legend", "pxeserver*", check=False
    )
    for gone in (install.OPT, install.COMMAND, install.SYSUSERS, install.TMPFILES):
        assert not (host.root / gone).exists(), gone
    assert rows(host.root / install.STATE / "db.sqlite3", "SELECT name FROM nodes") == [("n1",)]
    assert (host.root / install.CONFIG).exists()


def test_installing_again_finds_the_data_and_purging_removes_it(host: SystemdHost) -> None:
    make(host, "install")
    assert "n1" in pxeserver(host, "node", "list")
    make(host, "uninstall ARGS=--purge")
    left = host.run("find", "/etc", "/var", "/opt", "/usr/local", "/run", "-name", "*pxeserver*").split()
    assert left == []
    assert "pxeserver" in host.run("getent", "passwd", "pxeserver"), "the user stays: files may be its own"
    assert make(host, "uninstall") == "nothing is installed\n"
