"""A Debian system as one squashfs file: packages by mmdebstrap into a tar archive, then a filter over that
archive which leaves things out and adds our own.

Nothing is ever unpacked as a tree here, so owners and modes come out right whoever runs it.
"""

from __future__ import annotations

import fnmatch
import os
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

Progress = Callable[[str], None]
_LAST_LINES = 5
_UNREAD = ("usr/share/man/*", "usr/share/locale/*", "usr/share/info/*", "usr/share/lintian/*")
"""Left out while packages are unpacked. The copyright files of usr/share/doc stay."""


class RootFailed(Exception):  # noqa: N818 - what happened, in the words shown to a person
    """A program that makes the system failed; the text holds its last words."""


def debootstrap(sources: Path, suite: str, packages: Sequence[str], target: Path, progress: Progress) -> None:
    """Make `target`, a tar.zst of a minimal `suite` with `packages`, by the apt sources in `sources`. The
    folder of `target` is worked in.

    As root it is made in a chroot, else in whatever mode mmdebstrap finds possible. RootFailed.
    """
    fresh = target.with_name(f"new-{target.name}")
    words = ["mmdebstrap", "--variant=minbase", "--mode=auto", "--format=tar", "--skip=output/dev"]
    words += ['--aptopt=Apt::Install-Recommends "false"', '--aptopt=Acquire::Languages "none"']
    words += ["--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-include=/usr/share/doc/*/copyright"]
    words += [f"--dpkgopt=path-exclude=/{path}" for path in _UNREAD]
    words += [f"--include={','.join(packages)}", suite, str(fresh), str(sources)]
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="mmdebstrap-") as scratch:
        Path(scratch).chmod(0o755)  # apt's own user works in there
        _follow(words, {**os.environ, "TMPDIR": scratch}, progress)
    fresh.replace(target)


def _follow(words: Sequence[str], environment: dict[str, str], progress: Progress) -> None:
    """Run a program to its end and pass its lines on; RootFailed with its last ones."""
    try:
        program = subprocess.Popen(
            words,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            umask=0o022,  # ours would make folders that nobody else can enter
        )
    except FileNotFoundError as missing:
        raise RootFailed(f"{words[0]} is not installed") from missing
    last: list[str] = []
    with program:
        for line in program.stdout or ():
            text = line.strip()
            last = [*last[-_LAST_LINES:], text]
            if text.startswith(("I: ", "W: ", "E: ")):
                progress(text[3:])
    if program.returncode:
        raise RootFailed(f"{words[0]} failed: {'; '.join(last)}")


class Filter:
    """What of the packages is left out: paths by shell patterns, and the links that start `disabled`
    units.
    """

    def __init__(self, dropped: Sequence[str], disabled: Sequence[str]) -> None:
        self._dropped = re.compile("|".join(fnmatch.translate(pattern) for pattern in dropped) or r"\Z\A")
        self._disabled = frozenset(disabled)

    def keeps(self, path: str) -> bool:
        """Whether `path` (without a leading slash) stays."""
        folder, _, name = path.rpartition("/")
        if folder.endswith(".wants") and folder.startswith("etc/systemd/") and name in self._disabled:
            return False
        return not self._dropped.match(path)


def squash(base: Path, added: Path, kept: Filter, target: Path, level: int) -> None:
    """Make the squashfs `target` of a tar.zst, without what `kept` leaves out, and of the tree `added`, whose
    files come in the place of those of the same path. RootFailed.
    """
    words = ["mksquashfs", "-", str(target), "-tar", "-no-progress", "-quiet", "-mem", "512M"]
    words += ["-comp", "zstd", "-Xcompression-level", str(level)]
    with (
        tempfile.TemporaryFile() as errors,
        _program(["zstd", "-dcq", str(base)], stdout=subprocess.PIPE) as unpacking,
        _program(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors) as packing,
    ):
        if unpacking.stdout is None or packing.stdin is None:
            raise RootFailed("no pipe")
        try:
            _merge(unpacking.stdout, added, kept, packing.stdin)
            packing.stdin.close()
        except (BrokenPipeError, tarfile.TarError) as broken:
            packing.kill()
            raise RootFailed(f"the packages could not be packed: {broken} {_tail(errors)}") from broken
        if packing.wait() or unpacking.wait():
            raise RootFailed(f"mksquashfs failed: {_tail(errors)}")


@contextmanager
def _program(words: Sequence[str], **streams: int | IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        program = subprocess.Popen(words, **streams)  # type: ignore[call-overload]
    except FileNotFoundError as missing:
        raise RootFailed(f"{words[0]} is not installed") from missing
    try:
        yield program
    finally:
        for stream in (program.stdin, program.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        with suppress(subprocess.TimeoutExpired):
            program.wait(60)
        if program.poll() is None:
            program.kill()
            program.wait()


def _tail(errors: IO[bytes]) -> str:
    errors.seek(0)
    return errors.read()[-400:].decode(errors="replace").strip()


def _merge(source: IO[bytes], added: Path, kept: Filter, out: IO[bytes]) -> None:
    ours = {str(path.relative_to(added)) for path in added.rglob("*")}
    with (
        tarfile.open(fileobj=source, mode="r|") as packages,
        tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as result,
    ):
        theirs = set()
        for member in packages:
            path = member.name.removeprefix("./")
            folder = member.isdir()
            if not kept.keeps(path) or (path in ours and not folder):
                continue
            if folder:
                theirs.add(path)
            member.pax_headers = {}
            result.addfile(member, packages.extractfile(member) if member.isreg() else None)
        for name in sorted(ours):
            if name not in theirs:
                _add(result, added / name, f"./{name}")


def _add(result: tarfile.TarFile, path: Path, name: str) -> None:
    """One of our own files: root's, and readable by all."""
    member = result.gettarinfo(str(path), name)
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mode = 0o755 if member.isdir() or member.mode & 0o111 else 0o644
    if member.isreg():
        # Two of our own files may be one by a hard link; in the image each stands for itself.
        member.type, member.linkname = tarfile.REGTYPE, ""
        with path.open("rb") as file:
            result.addfile(member, file)
    else:
        result.addfile(member)
