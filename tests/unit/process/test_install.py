"""What installing, upgrading and removing do to releases, whatever fails; systemd itself is in tests/net."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pxeserver import install, installstate
from pxeserver.storage.journal_files import OsFiles


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The programs that were run: none really is, and `venv` leaves a folder. Words in `ran` that are there
    before, as "fail pip", let a program fail.
    """
    words: list[str] = []

    def run(*command: str) -> None:
        line = " ".join(command)
        words.append(line)
        if "-m venv" in line:
            (Path(command[-1]) / "bin").mkdir(parents=True)
        if any(word.startswith("fail ") and word[5:] in line for word in words):
            raise installstate.InstallFailed(f"`{line}` failed")

    monkeypatch.setattr(install, "_run", run)
    return words


def upgrade(root: Path, version: str, at: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(install.time, "strftime", lambda *_: at)
    return install.install(root, wheel=Path(f"/d/pxeserver-{version}-py3-none-any.whl"))


def releases(root: Path) -> list[str]:
    return sorted(path.name for path in (root / install.OPT / "releases").iterdir())


def in_use(root: Path) -> str:
    return (root / install.OPT / "venv").readlink().name


def test_the_release_in_use_and_the_one_before_stay(
    tmp_path: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # By name 0.10.0 comes before 0.9.0.
    for number, version in enumerate(("0.8.0", "0.9.0", "0.10.0"), 1):
        done = upgrade(tmp_path, version, f"20260101-00000{number}", monkeypatch)
    assert releases(tmp_path) == ["0.10.0-20260101-000003", "0.9.0-20260101-000002"]
    assert in_use(tmp_path) == "0.10.0-20260101-000003"
    assert any(line.startswith("removed ") and "0.8.0" in line for line in done)
    assert (tmp_path / install.COMMAND).readlink() == Path("/opt/pxeserver/venv/bin/pxeserver")


def test_a_release_that_cannot_be_made_changes_nothing(
    tmp_path: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(tmp_path, "1.0.0", "20260101-000001", monkeypatch)
    unit = tmp_path / install.UNITS / "pxeserver-worker.service"
    unit.write_text("the old release's\n")
    ran.append("fail pip install")
    with pytest.raises(installstate.InstallFailed, match="pip install"):
        upgrade(tmp_path, "1.1.0", "20260101-000002", monkeypatch)
    assert releases(tmp_path) == [in_use(tmp_path)] == ["1.0.0-20260101-000001"]
    assert unit.read_text() == "the old release's\n"


def test_no_upgrade_without_a_copy_of_the_database(
    tmp_path: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(tmp_path, "1.0.0", "20260101-000001", monkeypatch)
    (tmp_path / install.STATE).mkdir(parents=True)
    (tmp_path / install.STATE / "db.sqlite3").write_bytes(b"no database" * 100)
    with pytest.raises(installstate.InstallFailed, match="nothing was changed"):
        upgrade(tmp_path, "1.1.0", "20260101-000002", monkeypatch)
    assert releases(tmp_path) == [in_use(tmp_path)] == ["1.0.0-20260101-000001"]


def test_a_failed_start_names_the_way_back(ran: list[str]) -> None:
    ran.append("fail restart")
    old, copy = Path("/opt/pxeserver/releases/old"), Path("/var/lib/pxeserver/backups/b.sqlite3")
    with pytest.raises(installstate.InstallFailed) as told:
        install._switch_on([], old, copy)
    assert str(old) in str(told.value)
    assert str(copy) in str(told.value)


def test_only_sockets_that_changed_are_opened_anew(ran: list[str]) -> None:
    install._switch_on([], None, None)
    assert "systemctl restart " + " ".join(install.SERVICES) in ran
    ran.clear()
    install._switch_on(["pxeserver-http.socket"], None, None)
    # In one command, or a request in another socket starts the service between the two.
    assert "systemctl restart pxeserver-http.socket " + " ".join(install.SERVICES) in ran


@pytest.mark.parametrize(("user", "booted", "says"), [(1000, True, "sudo"), (0, False, "--root FOLDER")])
def test_the_wrong_place_is_told_before_anything_is_built(
    user: int,
    booted: bool,
    says: str,
    tmp_path: Path,
    ran: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(os, "umask", lambda _: 0)
    monkeypatch.setattr(install, "_BOOTED", tmp_path if booted else tmp_path / "none")
    assert install.main(["install"]) == 1
    assert says in capsys.readouterr().err
    assert ran == []


def test_the_copy_of_a_database_has_its_owner_and_no_reader(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "db.sqlite3")) as database:
        database.execute("create table t (x)")
    copy = installstate.back_up_database(tmp_path)
    assert copy is not None
    assert copy.stat().st_mode & 0o777 == 0o600


def kept_by_hand(folder: Path) -> Path:
    """The state directory of a server that was started by hand."""
    for name in ("journal", "images/blobs/ab"):
        (folder / name).mkdir(parents=True)
    (folder / "images/blobs/ab/abcd").write_bytes(b"kernel")
    (folder / "journal/00001.segment").write_bytes(b"promises")
    with closing(sqlite3.connect(folder / "db.sqlite3")) as database, database:
        database.execute("CREATE TABLE x (y)")
    return folder


def test_what_a_server_started_by_hand_kept_comes_along_whole(tmp_path: Path, ran: list[str]) -> None:
    source, root = kept_by_hand(tmp_path / "state"), tmp_path / "root"
    done = install.install(root, state_from=source)
    assert f"state copied from {source}" in done
    for path in source.rglob("*"):
        copy = root / install.STATE / path.relative_to(source)
        assert copy.is_dir() if path.is_dir() else copy.read_bytes() == path.read_bytes()
    with pytest.raises(installstate.InstallFailed, match="has a database already"):
        install.install(root, state_from=source)


def test_what_is_in_use_or_no_state_is_not_taken(tmp_path: Path, ran: list[str]) -> None:
    source, root = kept_by_hand(tmp_path / "state"), tmp_path / "root"
    handle = OsFiles().lock(source / "journal/lock")
    try:
        with pytest.raises(installstate.InstallFailed, match="end it first"):
            install.install(root, state_from=source)
    finally:
        os.close(handle)
    with pytest.raises(installstate.InstallFailed, match="is no state directory"):
        install.install(root, state_from=tmp_path / "nowhere")
    assert not root.exists()


def test_the_services_own_what_root_s_server_kept(tmp_path: Path) -> None:
    state = kept_by_hand(tmp_path / "state")
    (step,) = installstate.given_to_services(state)
    assert step[0] == "chown" and step[-1] == str(state)
    os.chown(state / "db.sqlite3", 4711, 4711)
    assert installstate.given_to_services(state) == []


def test_no_install_beside_a_server_started_by_hand(
    tmp_path: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install.os, "geteuid", lambda: 0)
    monkeypatch.setattr(install, "_BOOTED", tmp_path)
    monkeypatch.setattr(install, "in_use", lambda _: True)
    install.check_host("/")  # an upgrade: the service is what uses it
    ran.append("fail is-active")
    with pytest.raises(installstate.InstallFailed, match="started by hand"):
        install.check_host("/")
