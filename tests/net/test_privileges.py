"""Giving root away: what is left, and the way to files in a folder that the new user may not enter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.net, pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give away")]
SOURCE = Path(__file__).parents[2]


def as_nobody(code: str, *paths: Path, way: bool = True) -> dict[str, Any]:
    """Run `code` after everything was given away; it fills `found`. With `way`, `paths` are made
    reachable before.
    """
    listed = [str(path) for path in paths]
    prepare = f"mounts.open_way(mounts.needed(*map(Path, {listed})), 'nobody');" if way else ""
    program = (
        "import json, os; from pathlib import Path; from pxeserver import mounts, privileges; found = {};"
        f"{prepare} privileges.settle('nobody', keep=frozenset({{privileges.CAP_NET_BIND_SERVICE}}));"
        f"exec({code!r}); print(json.dumps(found))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A folder that only root may enter, with a folder of ours and a secret beside it."""
    for parent in (tmp_path, *tmp_path.parents):
        if not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o001)
    folder = tmp_path / "closed"
    (folder / "deep/ours").mkdir(parents=True)
    (folder / "deep/ours/file").write_text("content")
    (folder / "secret").write_text("secret")
    folder.chmod(0o700)
    return folder


READ = """
try:
    found["text"] = (Path({path!r}) / "file").read_text()
except OSError as error:
    found["text"] = error.strerror
"""


def test_without_a_way_the_file_is_out_of_reach(closed: Path) -> None:
    assert as_nobody(READ.format(path=str(closed / "deep/ours")), way=False)["text"] == "Permission denied"


def test_the_way_leads_to_what_is_needed_and_to_nothing_else(closed: Path) -> None:
    ours = closed / "deep/ours"
    code = READ.format(path=str(ours)) + f"\nfound['beside'] = os.listdir({str(closed)!r})"
    found = as_nobody(code, ours)
    assert found == {"text": "content", "beside": ["deep"]}
    assert (closed / "secret").exists()  # the view was the child's alone


def test_a_folder_that_is_itself_closed_is_named(closed: Path) -> None:
    program = (
        "from pathlib import Path; from pxeserver import mounts\n"
        f"try: mounts.open_way([Path({str(closed)!r})], 'nobody')\nexcept mounts.NoWay as e: print(e)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"may not enter {closed}" in done.stdout
    assert "chmod" in done.stdout


LOOK = """
lines = Path("/proc/self/status").read_text().splitlines()
status = dict(line.split(":\\t", 1) for line in lines if ":\\t" in line)
names = ("Uid", "Gid", "CapEff", "CapPrm", "CapBnd", "CapAmb", "NoNewPrivs")
found |= {name: status[name].split() for name in names}
found["groups"] = os.getgroups()
found["umask"] = os.umask(0)
try:
    os.setuid(0)
except PermissionError:
    found["back"] = False
found["shadow"] = os.access("/etc/shadow", os.R_OK)
"""


def test_nothing_of_root_is_left() -> None:
    found = as_nobody(LOOK)
    assert "0" not in found["Uid"] + found["Gid"]
    assert found["CapEff"] == found["CapPrm"] == found["CapBnd"] == [f"{1 << 10:016x}"]
    assert found["CapAmb"] == ["0" * 16]
    assert found["NoNewPrivs"] == ["1"]
    assert 0 not in found["groups"]
    assert found["umask"] == 0o077
    assert found["back"] is False
    assert found["shadow"] is False
