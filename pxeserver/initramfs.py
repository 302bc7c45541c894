"""Initial RAM file systems: a cpio archive ("newc", kernel: initramfs buffer format) that is the same for
the same files.
"""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import IO

ALIGN = 4
COMPRESSORS = {
    "zstd": ("zstd", "-12", "-T0", "-q", "-c"),
    "xz": ("xz", "--check=crc32", "-9", "-T0", "-c"),
    "lz4": ("lz4", "-l", "-9", "-c"),
}
"""Command lines that read the archive and write what the kernel can unpack (xz with crc32, lz4 in its
legacy format).
"""


def write_cpio(root: Path, out: IO[bytes]) -> None:
    """Write the tree below `root`: sorted, owned by root, without times. Sockets and devices are left out."""
    number = 0
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            mode, data = 0o120777, os.fsencode(path.readlink())
        elif stat.S_ISDIR(status.st_mode):
            mode, data = 0o040755, b""
        elif stat.S_ISREG(status.st_mode):
            mode, data = 0o100755 if status.st_mode & 0o111 else 0o100644, path.read_bytes()
        else:
            continue
        number += 1
        _member(out, os.fsencode(path.relative_to(root)), mode, data, number)
    _member(out, b"TRAILER!!!", 0, b"", 0)


def _member(out: IO[bytes], name: bytes, mode: int, data: bytes, number: int) -> None:
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = (number, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name + b"\0"
    out.write(head + bytes(-len(head) % ALIGN))
    out.write(data + bytes(-len(data) % ALIGN))


def pack(root: Path, target: Path, compressor: str = "zstd") -> None:
    """Pack a tree into a compressed initramfs; it appears at `target` when it is whole."""
    fresh = target.with_name(f".{target.name}.new")
    words = COMPRESSORS[compressor]
    with fresh.open("wb") as out, subprocess.Popen(words, stdin=subprocess.PIPE, stdout=out) as program:
        if program.stdin is not None:
            write_cpio(root, program.stdin)
            program.stdin.close()
    if program.returncode:
        raise OSError(f"{words[0]} failed with {program.returncode}")
    fresh.replace(target)
