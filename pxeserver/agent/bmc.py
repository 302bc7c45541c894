"""The address of the management controller, asked through the kernel's IPMI device (linux/ipmi.h)."""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import socket
from pathlib import Path
from typing import Any

IPMI_SYSTEM_INTERFACE_ADDR_TYPE, IPMI_BMC_CHANNEL = 0x0C, 0x0F
NETFN_TRANSPORT, GET_LAN_CONFIGURATION = 0x0C, 0x02
PARAM_ADDRESS, PARAM_MAC = 3, 5
CHANNELS = (1, 2, 3, 8)
"""LAN channels in use by vendors; the first that has an address is taken."""
PATIENCE = 2.0
"""Seconds to wait for one answer of the controller."""


class _Address(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_int), ("channel", ctypes.c_short), ("lun", ctypes.c_ubyte))


class _Message(ctypes.Structure):
    _fields_ = (
        ("netfn", ctypes.c_ubyte),
        ("command", ctypes.c_ubyte),
        ("length", ctypes.c_ushort),
        ("data", ctypes.c_void_p),
    )


class _Request(ctypes.Structure):
    _fields_ = (
        ("address", ctypes.c_void_p),
        ("address_length", ctypes.c_uint),
        ("id", ctypes.c_long),
        ("message", _Message),
    )


class _Reply(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_int),
        ("address", ctypes.c_void_p),
        ("address_length", ctypes.c_uint),
        ("id", ctypes.c_long),
        ("message", _Message),
    )


def _ioctl_number(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | ord("i") << 8 | number


SEND = _ioctl_number(2, 13, ctypes.sizeof(_Request))
RECEIVE = _ioctl_number(3, 11, ctypes.sizeof(_Reply))


def bmc(announced: bool, devices: tuple[str, ...] = ("/dev/ipmi0", "/dev/ipmi/0")) -> dict[str, Any] | None:
    """The controller's address and MAC, as far as it tells them; None where there is no controller at all."""
    path = next((Path(one) for one in devices if Path(one).exists()), None)
    if path is None:
        return {"device": False, "address": None, "mac": None} if announced else None
    address = mac = None
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return {"device": False, "address": None, "mac": None}
    try:
        for channel in CHANNELS:
            raw = _ask(fd, bytes((channel, PARAM_ADDRESS, 0, 0)))
            if len(raw) >= 6 and any(raw[2:6]):
                address = socket.inet_ntoa(raw[2:6])
                hardware = _ask(fd, bytes((channel, PARAM_MAC, 0, 0)))
                mac = hardware[2:8].hex(":") if len(hardware) >= 8 else None
                break
    except OSError:
        address = mac = None
    finally:
        os.close(fd)
    return {"device": True, "address": address, "mac": mac}


def _ask(fd: int, data: bytes) -> bytes:
    """One request; the answer begins with the completion code, and is empty when the controller refused or
    was silent.
    """
    to = _Address(IPMI_SYSTEM_INTERFACE_ADDR_TYPE, IPMI_BMC_CHANNEL, 0)
    body = ctypes.create_string_buffer(data, len(data))
    message = _Message(NETFN_TRANSPORT, GET_LAN_CONFIGURATION, len(data), ctypes.addressof(body))
    fcntl.ioctl(fd, SEND, _Request(ctypes.addressof(to), ctypes.sizeof(to), 1, message))
    if not select.select([fd], [], [], PATIENCE)[0]:
        return b""
    space, source = ctypes.create_string_buffer(64), ctypes.create_string_buffer(64)
    answer = _Message(0, 0, len(space), ctypes.addressof(space))
    reply = _Reply(0, ctypes.addressof(source), len(source), 0, answer)
    fcntl.ioctl(fd, RECEIVE, reply)
    raw = space.raw[: reply.message.length]
    return raw if raw[:1] == b"\0" else b""
