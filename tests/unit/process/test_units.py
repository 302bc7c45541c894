"""The systemd units: hardened enough, complete, and installed where they belong."""

import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from pxeserver import install, resources, sockets

SYSTEMD = resources.folder("systemd")
needs_analyze = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")


def exposure(unit: Path) -> float:
    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said.stdout)
    assert found, said.stdout + said.stderr
    return float(found.group(1))


@needs_analyze
@pytest.mark.parametrize("name", ["worker", "control"])
def test_exposure_is_low(name: str) -> None:
    assert exposure(SYSTEMD / f"pxeserver-{name}.service") <= 1.8


@needs_analyze
def test_the_measure_can_fail(tmp_path: Path) -> None:
    open_unit = tmp_path / "open.service"
    text = (SYSTEMD / "pxeserver-worker.service").read_text()
    open_unit.write_text(re.sub(r"(?m)^(Protect|Restrict|SystemCall|NoNew).*\n", "", text))
    assert exposure(open_unit) > 4


@needs_analyze
def test_systemd_understands_every_line() -> None:
    units = [str(p) for p in SYSTEMD.iterdir() if p.suffix != ".conf"]
    said = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    complaints = [
        line for line in said.stderr.splitlines() if "pxeserver" in line and "is not executable" not in line
    ]
    assert complaints == []


def test_every_socket_of_the_server_has_its_unit() -> None:
    names = [re.search(r"(?m)^FileDescriptorName=(\w+)$", p.read_text()) for p in SYSTEMD.glob("*.socket")]
    assert sorted(n.group(1) for n in names if n) == sorted(sockets.NAMES)


@needs_analyze
def test_installing_below_a_root_and_removing(tmp_path: Path) -> None:
    state = tmp_path / install.STATE
    state.mkdir(parents=True)
    with closing(sqlite3.connect(state / "db.sqlite3")) as database:
        database.execute("create table t (x)")
    install.install(tmp_path)
    backup = next((state / "backups").iterdir())
    with closing(sqlite3.connect(backup)) as copy:
        assert copy.execute("select name from sqlite_master").fetchall() == [("t",)]
    assert (tmp_path / install.UNITS / "pxeserver-worker.service").exists()
    assert "[server]" in (tmp_path / install.CONFIG).read_text()
    (tmp_path / install.CONFIG).write_text("# mine\n")
    install.install(tmp_path)
    assert (tmp_path / install.CONFIG).read_text() == "# mine\n"
    install.uninstall(tmp_path)
    assert [p for p in tmp_path.rglob("*pxeserver*") if p.is_file() and "var" not in p.parts] == []
    assert (state / "db.sqlite3").exists()
    install.uninstall(tmp_path, purge=True)
    assert not state.exists()


@needs_analyze
def test_sysusers_and_tmpfiles_are_valid(tmp_path: Path) -> None:
    install.install(tmp_path)
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (tmp_path / "etc/group").write_text("root:x:0:\n")
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}"], check=True, capture_output=True)
    assert "pxeserver:" in (tmp_path / "etc/passwd").read_text()
