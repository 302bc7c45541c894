"""Many datagrams in one system call: recvmmsg(2) and sendmmsg(2), which the socket module does not have.

The buffers, and the kernel's descriptions of them, are laid out once; a call then costs the same as one
recvmsg. What the kernel writes is read through flat views, since ctypes' own attributes cost ten times as
much.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import sys
from typing import Final


class _Part(ctypes.Structure):
    """struct iovec (readv(2))."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """struct msghdr (recvmsg(2))."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("parts", ctypes.c_void_p),
        ("part_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """struct mmsghdr (recvmmsg(2))."""

    _fields_ = (("header", _Header), ("length", ctypes.c_uint))


_WORD: Final = 4
_MESSAGE_SIZE: Final = ctypes.sizeof(_Message)
_WORDS: Final = _MESSAGE_SIZE // _WORD
_CONTROL_LENGTH: Final = _Header.control_length.offset // _WORD
_FLAGS: Final = _Header.flags.offset // _WORD
_LENGTH: Final = _Message.length.offset // _WORD
_NAME_SIZE: Final = 16  # struct sockaddr_in
_NAME: Final = struct.Struct("=2s2s4s8x")
_PKTINFO: Final = struct.Struct("=i4s4s")
_CONTROL: Final = struct.Struct(f"@Nii{_PKTINFO.size}s")
_CONTROL_SIZE: Final = socket.CMSG_SPACE(_PKTINFO.size)
_CONTROL_USED: Final = socket.CMSG_LEN(_PKTINFO.size)
_INFO_AT: Final = socket.CMSG_LEN(0)
_INFO_INDEX, _INFO_STEP = _INFO_AT // _WORD, _CONTROL_SIZE // _WORD
_EVERYBODY: Final = -1
_IP_PKTINFO: Final = 8
_CUT: Final = socket.MSG_TRUNC | socket.MSG_CTRUNC

# PyDLL keeps the interpreter's lock: none of these calls waits, and giving the lock away would hand it to a
# thread that computes, for five milliseconds.
_LIBC: Final = ctypes.PyDLL(None, use_errno=True)
_RECEIVE: Final = _LIBC.recvmmsg
_SEND: Final = _LIBC.sendmmsg


def pktinfo(ifindex: int, source: str | None) -> bytes:
    """Out of which interface (0: by route), and with which address of ours, an answer leaves (ip(7), struct
    in_pktinfo)."""
    return _PKTINFO.pack(ifindex, socket.inet_aton(source or "0.0.0.0"), bytes(4))


class _Vector:
    """`count` messages of at most `size` bytes, each with an address and one IP_PKTINFO."""

    def __init__(self, count: int, size: int) -> None:
        self.count, self.size = count, size
        self._data = bytearray(count * size)
        self._names = bytearray(count * _NAME_SIZE)
        self._controls = bytearray(count * _CONTROL_SIZE)
        self._parts = bytearray(count * ctypes.sizeof(_Part))
        self._messages = bytearray(count * _MESSAGE_SIZE)
        data, names, controls, parts_at = map(
            _address, (self._data, self._names, self._controls, self._parts)
        )
        parts = (_Part * count).from_buffer(self._parts)
        messages = (_Message * count).from_buffer(self._messages)
        for i in range(count):
            parts[i] = _Part(data + i * size, size)
            messages[i].header = _Header(
                names + i * _NAME_SIZE, _NAME_SIZE, parts_at + i * ctypes.sizeof(_Part), 1,
                controls + i * _CONTROL_SIZE, _CONTROL_SIZE,
            )  # fmt: skip
        self._pointer = _address(self._messages)
        self._view = memoryview(self._data)


def _address(buffer: bytearray) -> int:
    return ctypes.addressof((ctypes.c_char * len(buffer)).from_buffer(buffer))


class Received(_Vector):
    """Where datagrams come in."""

    def __init__(self, count: int, size: int) -> None:
        super().__init__(count, size)
        self._fresh = bytes(self._messages)
        self._words = memoryview(self._messages).cast("I")
        self._sources = memoryview(self._names).cast("I")
        self._infos = memoryview(self._controls).cast("i")
        self._start = ctypes.c_void_p(self._pointer)

    def receive(self, fd: int) -> int:
        """Take as many datagrams as there are and fit; their number, 0 where there are none.

        OSError as recvmsg raises it, for an ICMP error of an earlier answer.
        """
        self._messages[:] = self._fresh  # the kernel leaves the lengths it used
        got: int = _RECEIVE(fd, self._start, self.count, socket.MSG_DONTWAIT, None)
        if got >= 0:
            return got
        number = ctypes.get_errno()
        if number in (errno.EAGAIN, errno.EINTR):
            return 0
        raise OSError(number, os.strerror(number))

    def take(self, i: int) -> tuple[bytes | None, int, bool]:
        """Datagram `i`: its bytes, the interface it came in on, and whether it was sent to everybody on the
        link (255.255.255.255) or by somebody without an address.

        No bytes where it was longer than the room, or came without its interface.
        """
        words, at = self._words, i * _WORDS
        if words[at + _FLAGS] & _CUT or words[at + _CONTROL_LENGTH] < _CONTROL_USED:
            return None, 0, False
        start = i * self.size
        data = bytes(self._view[start : start + words[at + _LENGTH]])
        at = i * _INFO_STEP + _INFO_INDEX
        infos = self._infos
        return data, infos[at], infos[at + 2] == _EVERYBODY or not self._sources[i * 4 + 1]

    def source(self, i: int) -> tuple[str, int]:
        """Who sent it."""
        at = i * _NAME_SIZE
        port = int.from_bytes(self._names[at + 2 : at + 4], "big")
        return (socket.inet_ntoa(self._names[at + 4 : at + 8]), port)

    def destination(self, i: int) -> str:
        """The address that it was sent to."""
        at = i * _CONTROL_SIZE + _INFO_AT + 8
        return socket.inet_ntoa(self._controls[at : at + 4])


class Sent(_Vector):
    """Answers on their way out, all to one address."""

    def __init__(self, count: int, size: int, to: tuple[str, int]) -> None:
        super().__init__(count, size)
        family, port = socket.AF_INET.to_bytes(2, sys.byteorder), to[1].to_bytes(2, "big")
        self._names[:] = _NAME.pack(family, port, socket.inet_aton(to[0])) * count
        self._lengths = memoryview(self._parts).cast("P")
        self._infos = [b""] * count
        self.waiting = 0
        """How many there are to send."""

    def add(self, data: bytes, info: bytes) -> None:
        """Put an answer behind those that wait. `info` is its pktinfo. ValueError where it is too long, or
        `count` wait already."""
        i = self.waiting
        start, length = i * self.size, len(data)
        if length > self.size or i >= self.count:
            raise ValueError("no room for the answer")
        self._view[start : start + length] = data
        self._lengths[i * 2 + 1] = length
        if self._infos[i] is not info:
            _CONTROL.pack_into(
                self._controls, i * _CONTROL_SIZE, _CONTROL_USED, socket.IPPROTO_IP, _IP_PKTINFO, info
            )
            self._infos[i] = info
        self.waiting = i + 1

    def send(self, fd: int) -> list[OSError]:
        """Send what waits; an error for each that the kernel did not take. Nothing waits afterwards."""
        faults: list[OSError] = []
        at, end, self.waiting = 0, self.waiting, 0
        while at < end:
            # The pointer of the first header that is still to go.
            start = ctypes.c_void_p(self._pointer + at * _MESSAGE_SIZE)
            done: int = _SEND(fd, start, end - at, socket.MSG_DONTWAIT)
            if done < 0:
                number = ctypes.get_errno()
                faults.append(OSError(number, os.strerror(number)))
                done = 1
            at += done
        return faults
