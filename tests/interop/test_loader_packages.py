"""The boot loaders out of Debian's real packages: from the newest stable, and where that cannot be reached
from the machine's own release. Needs a network, as the first start of a server does.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pxeserver.imagestore.store import Store
from pxeserver.loaders import FILES, ensure_loaders

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

NOBODY = "http://127.0.0.1:9/debian"
"""Nobody listens on the discard port: a mirror that is refused at once."""


def release() -> str:
    """The machine's own release: its version number."""
    lines = Path("/etc/os-release").read_text().splitlines()
    return next(line.partition("=")[2].strip('"') for line in lines if line.startswith("VERSION_ID="))


def test_the_newest_and_where_it_is_away_those_of_this_release_until_it_is_back(tmp_path: Path) -> None:
    store, cache, said = Store(tmp_path / "store"), tmp_path / "cache", list[str]()
    older = ensure_loaders(store, cache, said.append, mirror=NOBODY)
    assert any("fallback" in line and NOBODY in line for line in said), said
    own = subprocess.run(["apt-cache", "policy", "ipxe"], capture_output=True, text=True, check=True)
    assert {one.version for one in older} <= {line.split()[-1] for line in own.stdout.splitlines()}
    if release() == "12":
        assert {one.arch for one in older} == {0, 7, 9, 16}, "Debian 12's iPXE has no arm64"
        assert all("20190125" in one.version for one in older)
    newest = ensure_loaders(store, cache, said.append)
    assert {one.arch for one in newest} == {arch for some in FILES.values() for arch in some}
    assert all(version > "1.21" for version in {one.version for one in newest})
    (x64,) = {one.file.sha256 for one in newest if one.arch == 7}
    blob = store.open(x64)
    assert os.pread(blob.fd, 2, 0) == b"MZ", "a program for UEFI"
    blob.close()
    asked = len(said)
    assert ensure_loaders(store, cache, said.append) == newest
    assert len(said) == asked, "the next start needs no network"
    store.close()
