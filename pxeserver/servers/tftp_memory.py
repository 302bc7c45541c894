"""Memory as the kernel is told of it: addresses of buffers, and the calls that take many datagrams at once.

recvmmsg(2) and sendmmsg(2) are in no module of the standard library, so they are called through ctypes, with
vectors that lie in arrays of 64-bit words. That fits the C library's structures on 64-bit little-endian Linux
and nowhere else; elsewhere, and where the calls are missing, `find_calls` returns None.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass

Call = Callable[[int, int, int], int]
"""(descriptor, address of the vector, its length) to how many were taken, or the negative error number."""

_MSG_DONTWAIT = 0x40


@dataclass(frozen=True, slots=True)
class Calls:
    """The two system calls. Neither waits."""

    receive: Call
    send: Call


class _Buffer(ctypes.Structure):
    """Py_buffer of Python's C interface."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


def address_of(content: bytes | memoryview) -> int:
    """Where the bytes lie, for as long as the object lives: the caller keeps it. 0 for nothing at all."""
    if not len(content):
        return 0
    buffer = _Buffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(content), ctypes.byref(buffer), 0)
    address = int(buffer.buf)
    ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))
    return address


def find_calls() -> Calls | None:
    """The calls, where this machine has them in the shape that is known here."""
    if sys.byteorder != "little" or ctypes.sizeof(ctypes.c_void_p) != 8 or sys.platform != "linux":
        return None
    try:
        library = ctypes.CDLL(None, use_errno=True)
        receive, send = library.recvmmsg, library.sendmmsg
    except (OSError, AttributeError):
        return None
    receive.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
    send.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
    failed = ctypes.get_errno

    def receive_many(descriptor: int, vector: int, length: int) -> int:
        taken: int = receive(descriptor, vector, length, _MSG_DONTWAIT, None)
        return taken if taken >= 0 else -failed()

    def send_many(descriptor: int, vector: int, length: int) -> int:
        taken: int = send(descriptor, vector, length, _MSG_DONTWAIT)
        return taken if taken >= 0 else -failed()

    return Calls(receive_many, send_many)
