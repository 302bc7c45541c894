"""Paths of the boot plane, for TFTP and HTTP: the table, and what is no path of ours."""

from __future__ import annotations

import pytest

from pxeserver.boot.attempts import Attempt, Stage
from pxeserver.boot.catalog import Catalog
from pxeserver.boot.decision import FileChoice, file
from pxeserver.boot.model import FileRef, Ignore, Image, Loader, Machine

SHA = "ab" * 32
KERNEL = FileRef("vmlinuz", SHA, 5, "kernel")
CATALOG = Catalog(
    images={"live": Image("live", (KERNEL, FileRef("notes.manifest", "cd" * 32, 1)))},
    loaders={7: Loader(7, FileRef("snponly.efi", "ef" * 32, 9, "loader"))},
)
BASE, ATTEMPT = "http://10.0.0.2", "abcdefghij"
MINE = Attempt(ATTEMPT, "52:54:00:00:00:01", Machine("52:54:00:00:00:01"), 0.0, 0.0)
OTHER = "zzzzzzzzz7"


@pytest.mark.parametrize(
    ("path", "attempt", "role", "name", "stage"),
    [
        ("snponly.efi", MINE, "loader", "snponly.efi", Stage.LOADER),
        ("/snponly.efi", None, "loader", "snponly.efi", Stage.LOADER),
        (f"a/{ATTEMPT}/snponly.efi", None, "loader", "snponly.efi", Stage.LOADER),
        (f"//a//{ATTEMPT}//snponly.efi", None, "loader", "snponly.efi", Stage.LOADER),
        (f"a/{ATTEMPT}/f/live/vmlinuz", None, "file", "vmlinuz", Stage.FILES),
        (f"a/{ATTEMPT}/f/live/vmlinuz.manifest", None, "manifest", "vmlinuz", Stage.DHCP),
        (f"a/{ATTEMPT}/f/live/notes.manifest", None, "file", "notes.manifest", Stage.FILES),
        (f"b/{SHA}", None, "file", "vmlinuz", Stage.FILES),
        (f"b/{SHA}/manifest", MINE, "manifest", "vmlinuz", Stage.DHCP),
    ],
)
def test_published_files(path: str, attempt: Attempt | None, role: str, name: str, stage: Stage) -> None:
    found = file(path, attempt, BASE, CATALOG)
    assert isinstance(found, FileChoice)
    assert found.file is not None
    assert (found.role.value, found.file.name, found.stage) == (role, name, stage)
    expected = ATTEMPT if attempt or path.lstrip("/").startswith("a/") else ""
    assert found.attempt == expected


@pytest.mark.parametrize("name", ["boot.ipxe", "autoexec.ipxe"])
def test_scripts_come_back_with_the_facts(name: str) -> None:
    for path, attempt in ((name, MINE), (f"/a/{ATTEMPT}/{name}", None)):
        found = file(path, attempt, BASE, CATALOG)
        assert isinstance(found, FileChoice)
        assert f"{BASE}/a/{ATTEMPT}/boot.ipxe?uuid=${{uuid}}&" in found.text
        assert found.stage is Stage.LOADER  # the machine has not been told what it boots


def test_the_id_in_the_path_goes_before_the_address() -> None:
    found = file(f"a/{OTHER}/boot.ipxe", MINE, BASE, CATALOG)
    assert isinstance(found, FileChoice)
    assert found.attempt == OTHER


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "not-found"),
        ("/", "not-found"),
        ("boot.ipxe", "unknown-attempt"),
        ("a/SHORT/snponly.efi", "unknown-attempt"),
        (f"a/{ATTEMPT}", "not-found"),
        (f"a/{ATTEMPT}/f/live/gone", "not-found"),
        (f"a/{ATTEMPT}/f/gone/vmlinuz", "not-found"),
        (f"a/{ATTEMPT}/../snponly.efi", "access-denied"),
        ("../../etc/passwd", "access-denied"),
        ("..\\..\\boot.ini", "access-denied"),
        ("snponly.efi\0.txt", "access-denied"),
        ("/etc/passwd", "not-found"),
        (f"b/{SHA[:-1]}", "not-found"),
        (f"b/{SHA.upper()}", "not-found"),
        ("b/" + "0" * 64, "not-found"),
        ("pxelinux.cfg/default", "not-found"),
        ("grub/grub.cfg", "not-found"),
        ("vmlinuz", "not-found"),
    ],
)
def test_everything_else(path: str, reason: str) -> None:
    found = file(path, None, BASE, CATALOG)
    assert isinstance(found, Ignore)
    assert found.reason.value == reason
