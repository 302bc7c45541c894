"""The one door to files whose names came from outside: TFTP and HTTP names, and the names in the import
folder.

A name is first brought to one form (`clean_name`), then opened under a directory that the kernel does not let
it leave: openat2(2) with RESOLVE_BENEATH, without symbolic links and without the magic links of /proc. Only
regular files are handed out, and a FIFO or a device never blocks the caller. Where a sandbox forbids openat2
(old seccomp profiles answer EPERM or ENOSYS), the same is done step by step, one openat(O_NOFOLLOW) a
directory.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

NAME_LIMIT = 1024
"""Bytes of the longest name looked at; longer ones come from no boot client."""

# linux/openat2.h. The call has the same number on every architecture that was added to Linux's common table.
_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_RESOLVE = _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_SYMLINKS
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
# A rename elsewhere in the tree makes openat2 answer EAGAIN (openat2(2), RESOLVE_BENEATH); a few tries are
# plenty.
_RACE_TRIES = 8

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def clean_name(raw: bytes | str) -> str | None:
    """The one form of a client's file name: relative, single slashes, no leading slash; None for a name
    nobody may use.

    Refused are: empty or over-long names, what is not UTF-8, control characters, backslashes (a Windows
    separator), `.` and `..` as steps. Doubled and leading slashes are dropped: shim asks for `//grubx64.efi`.
    """
    if isinstance(raw, bytes):
        try:
            raw = raw.decode()
        except UnicodeDecodeError:
            return None
    if len(raw) > NAME_LIMIT or "\\" in raw or not raw.isprintable():
        return None
    steps = [step for step in raw.split("/") if step]
    if not steps or "." in steps or ".." in steps:
        return None
    return "/".join(steps)


class Root:
    """A directory from which files are opened by name, and which no name leaves."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._fd = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._open: Callable[[str], int] = self._openat2

    def open(self, name: bytes | str) -> int:
        """A descriptor of the regular file `name`, read-only, to be closed by the caller.

        FileNotFoundError where there is none, or where the name leads outside, through a symbolic link or to
        something that is no regular file: a client learns no more than "not found". Other OSErrors are the
        machine's own trouble (EMFILE, EIO) and are not disguised as a missing file.
        """
        clean = clean_name(name)
        if clean is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", os.fsdecode(name)[:100])
        try:
            fd = self._open(clean)
        except OSError as exc:
            if exc.errno in _NOT_THERE:
                raise FileNotFoundError(errno.ENOENT, "no such file", clean) from None
            raise
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise FileNotFoundError(errno.ENOENT, "no regular file", clean)
        except OSError:
            os.close(fd)
            raise
        return fd

    def close(self) -> None:
        """Close the directory; closing twice is harmless."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _openat2(self, name: str) -> int:
        how = _OpenHow(_FLAGS, 0, _RESOLVE)
        code = 0
        for _ in range(_RACE_TRIES):
            fd = _libc.syscall(
                ctypes.c_long(_SYS_OPENAT2),
                ctypes.c_int(self._fd),
                ctypes.c_char_p(os.fsencode(name)),
                ctypes.byref(how),
                ctypes.c_size_t(ctypes.sizeof(how)),
            )
            if fd >= 0:
                return int(fd)
            code = ctypes.get_errno()
            if code not in (errno.EAGAIN, errno.EINTR):
                break
        if code in (errno.ENOSYS, errno.EPERM):
            self._open = self._step_by_step
            return self._step_by_step(name)
        raise OSError(code, os.strerror(code), name)

    def _step_by_step(self, name: str) -> int:
        *directories, last = name.split("/")
        here = os.dup(self._fd)
        try:
            for step in directories:
                deeper = os.open(step, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
                os.close(here)
                here = deeper
            return os.open(last, _FLAGS | os.O_NOFOLLOW, dir_fd=here)
        finally:
            os.close(here)


_NOT_THERE = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.ELOOP,
        errno.EXDEV,
        errno.EAGAIN,
        errno.ENAMETOOLONG,
        errno.EACCES,
        errno.EINVAL,
        errno.ENXIO,
        errno.ENODEV,
    }
)
"""What a wrong name can make the kernel say: missing, a link, outside, raced, too long, a socket or device
without a driver.
"""
