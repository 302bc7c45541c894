"""Giving root away for good: user, groups, capabilities, and the promises of prctl(2).

A child of the supervisor starts as root with its sockets already bound, and calls `settle` before it
reads anything that came from the network. Only the capabilities named there survive.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_SET_NAME = 15
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
CAP_NET_BIND_SERVICE = 10


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc().prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value}): {os.strerror(ctypes.get_errno())}")


def _set_capabilities(mask: int) -> None:
    sets = (_Sets * 2)(_Sets(mask & 0xFFFFFFFF, mask & 0xFFFFFFFF, 0), _Sets(mask >> 32, mask >> 32, 0))
    header = _Header(_CAPABILITY_VERSION_3, 0)
    if _libc().capset(ctypes.byref(header), ctypes.byref(sets)) != 0:
        raise OSError(ctypes.get_errno(), f"capset: {os.strerror(ctypes.get_errno())}")


def set_name(name: str) -> None:
    """What `ps` and `top` call this process: at most 15 bytes of it."""
    _libc().prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()), 0, 0, 0)


def account(user: str) -> pwd.struct_passwd | None:
    """The account to become; None where there is nothing to change: `user` is empty or root, or we are
    not root.

    LookupError where there is no such user.
    """
    if user in ("", "root") or os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise LookupError(user) from None


def become(user: str, keep: frozenset[int] = frozenset()) -> None:
    """Change from root to `user` and its groups, keeping only the capabilities `keep`. Nothing where
    `account` is None.
    """
    entry = account(user)
    if entry is None:
        return
    _drop_bounding_set(keep)
    _prctl(_PR_SET_KEEPCAPS, 1 if keep else 0)
    os.initgroups(entry.pw_name, entry.pw_gid)
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    _set_capabilities(sum(1 << number for number in keep))
    os.environ["HOME"] = entry.pw_dir
    os.environ["USER"] = os.environ["LOGNAME"] = entry.pw_name


def _drop_bounding_set(keep: frozenset[int]) -> None:
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for number in range(last + 1):
        if number not in keep:
            _libc().prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(number), 0, 0, 0)


def settle(user: str, *, keep: frozenset[int] = frozenset(), parent: int | None = None) -> None:
    """Become `user`, never gain a privilege again, and die with `parent` (its pid) where that is given."""
    os.umask(0o077)
    become(user, keep)
    _libc().prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if parent is not None:
        # After the change of user: that clears the setting (prctl(2)).
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            raise SystemExit(0)


def first_closed_folder(path: Path, user: str) -> Path | None:
    """The first folder on the way to `path` that `user` may not enter; None where the way is open."""
    entry = account(user)
    if entry is None:
        return None
    groups = {entry.pw_gid, *os.getgrouplist(entry.pw_name, entry.pw_gid)}
    for place in [*reversed(path.resolve().parents), path.resolve()]:
        try:
            status = place.stat()
        except OSError:
            return None
        bit = 0o100 if status.st_uid == entry.pw_uid else 0o010 if status.st_gid in groups else 0o001
        if place.is_dir() and not status.st_mode & bit:
            return place
    return None
