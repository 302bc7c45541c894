"""sd_notify, both ends."""

import socket
from pathlib import Path

import pytest

from pxeserver.notify import notify, parse, watchdog_interval


def test_fields_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "n"))
        sock.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
        notify(READY="1", STATUS="serving eth0=x")
        assert parse(sock.recv(4096)) == {"READY": "1", "STATUS": "serving eth0=x"}


def test_a_text_of_several_lines_is_one_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "n"))
        sock.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
        notify(STATUS="failed: one\nREADY=1")
        assert parse(sock.recv(4096)) == {"STATUS": "failed: one READY=1"}


def test_an_abstract_address_works(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0pxeserver-test-notify")
        sock.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", "@pxeserver-test-notify")
        notify(WATCHDOG="1")
        assert parse(sock.recv(4096)) == {"WATCHDOG": "1"}


def test_nobody_listening_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "absent"))
    notify(READY="1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify(READY="1")


@pytest.mark.parametrize(("value", "seconds"), [("30000000", 10.0), ("", None), ("0", None), ("x", None)])
def test_watchdog_interval(value: str, seconds: float | None) -> None:
    assert watchdog_interval({"WATCHDOG_USEC": value}) == seconds
