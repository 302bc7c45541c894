"""The image store on a file system that is really full: of bytes, and of inodes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.net

PROGRAM = """
import os, sys
from pathlib import Path
from pxeserver.imagestore.blobs import NoSpace
from pxeserver.imagestore.store import Store

root = Path(sys.argv[1]) / "images"
store = Store(root)
small = store.add_bytes(b"small", "small", "file")
names = lambda: sorted(str(p) for p in root.rglob("*") if p.is_file())
before = names()
for n in range(int(sys.argv[2])):
    try:
        store.add_bytes(os.urandom(int(sys.argv[3])), f"big{n}", "disk")
    except NoSpace as exc:
        print("refused:", "no room left" in str(exc))
        break
    before = names()
print("clean:", names() == before, "readable:", store.open(small).size == 5)
store.discard_unused({small.sha256}, min_age=-1)
print("again:", store.add_bytes(b"after", "after", "file").size)
"""


@pytest.mark.parametrize(
    ("options", "files", "size"), [("size=4m", 1, 6 << 20), ("size=4m", 9, 1 << 20), ("nr_inodes=20", 99, 10)]
)
def test_a_full_disk_refuses_cleanly_and_recovers(
    tmp_path: Path, options: str, files: int, size: int
) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    # A mount namespace of its own: nothing is left to unmount, whatever happens.
    script = 'mount -t tmpfs -o "$1" none "$2" && exec "$3" -c "$4" "$2" "$5" "$6"'
    arguments = [options, str(tmp_path), sys.executable, PROGRAM, str(files), str(size)]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.stdout.splitlines() == ["refused: True", "clean: True readable: True", "again: 5"], (
        done.stderr
    )
