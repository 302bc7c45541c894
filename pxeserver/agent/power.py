"""Switching the machine off and over, and starting another kernel without the firmware
(kexec_file_load(2)).
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Sequence
from pathlib import Path

SYS_KEXEC_FILE_LOAD = {"x86_64": 320, "aarch64": 294}
SYS_REBOOT = {"x86_64": 169, "aarch64": 142}
KEXEC_FILE_NO_INITRAMFS = 4
# reboot(2)
MAGIC1, MAGIC2 = 0xFEE1DEAD, 0x28121969
RESTART, POWER_OFF, KEXEC = 0x01234567, 0x4321FEDC, 0x45584543

_libc = ctypes.CDLL(None, use_errno=True)


class KexecFailed(Exception):  # noqa: N818 - what happened
    """The kernel did not take the new one; the text has its reason."""


def reboot() -> None:
    """Restart through the firmware. Does not return."""
    _reboot(RESTART)


def power_off() -> None:
    """Switch off. Does not return."""
    _reboot(POWER_OFF)


def kexec(kernel: Path, initrds: Sequence[Path], arguments: str) -> None:
    """Start another kernel; KexecFailed where it is refused (kernel lockdown wants a signed one)."""
    number = SYS_KEXEC_FILE_LOAD.get(platform.machine())
    if number is None:
        raise KexecFailed(f"kexec is not known for {platform.machine()}")
    line = arguments.encode() + b"\0"
    flags = 0 if initrds else KEXEC_FILE_NO_INITRAMFS
    image = os.open(kernel, os.O_RDONLY | os.O_CLOEXEC)
    initrd = os.memfd_create("initrd") if initrds else -1
    try:
        for path in initrds:
            _append(initrd, path)
        argument_list = (
            ctypes.c_int(image),
            ctypes.c_int(initrd),
            ctypes.c_ulong(len(line)),
            line,
            ctypes.c_ulong(flags),
        )
        if _libc.syscall(ctypes.c_long(number), *argument_list) != 0:
            raise KexecFailed(os.strerror(ctypes.get_errno()))
    finally:
        os.close(image)
        if initrd >= 0:
            os.close(initrd)
    _reboot(KEXEC)


def _append(target: int, path: Path) -> None:
    """Add an initrd; each starts at a multiple of 4 bytes, where the kernel looks for the next (initramfs
    buffer format).
    """
    data = path.read_bytes()
    with os.fdopen(os.dup(target), "wb") as out:
        out.write(data + bytes(-len(data) % 4))


def _reboot(command: int) -> None:
    os.sync()
    number = ctypes.c_long(SYS_REBOOT[platform.machine()])
    words = (ctypes.c_int(MAGIC1 - (1 << 32)), ctypes.c_int(MAGIC2), ctypes.c_uint(command), None)
    if _libc.syscall(number, *words) != 0:
        raise KexecFailed(os.strerror(ctypes.get_errno()))
